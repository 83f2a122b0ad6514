//! Who says that a step has arrived.

use std::path::{Path, PathBuf};

use cluster::kubernetes::{Kubernetes, NamespacedName};
use daemon::admin;
use serde_json::Value;

use super::RotateError;
use super::rotation::{parse, serial};
use crate::ca::config::CaServerConfig;
use crate::ca::files;
use crate::ca::root::ROOT_CERTIFICATE;

/// CAs, what they publish, and daemons.
pub(super) struct Witnesses<'a> {
    cas: Vec<&'a Path>,
    daemons: &'a [PathBuf],
    /// Trust domain of the root.
    domain: &'a str,
    file: Option<&'a Path>,
    config_map: Option<(&'a Kubernetes, &'a NamespacedName)>,
}

impl<'a> Witnesses<'a> {
    pub(super) fn of(
        config: &'a CaServerConfig,
        kubernetes: Option<&'a Kubernetes>,
        cas: &'a [PathBuf],
        daemons: &'a [PathBuf],
    ) -> Self {
        let own = config.listen.admin_socket.as_deref();
        Self {
            cas: own.into_iter().chain(cas.iter().map(PathBuf::as_path)).collect(),
            daemons,
            domain: config.trust.domain.as_str(),
            file: config.root.publish.as_deref(),
            config_map: kubernetes.zip(config.root.config_map.as_ref()),
        }
    }

    /// Whether the root (in PEM) is trusted by all.
    pub(super) async fn trust(&self, root: &str) -> Result<(), RotateError> {
        let serial = serial(root)?;
        let mut lacking = Vec::new();
        for ca in self.cas()? {
            let status = ask(ca, "/config_dump/ca")?;
            if !has(&status["trusted_roots"], &serial) {
                lacking.push(format!("the CA at {} does not trust it", ca.display()));
            }
        }
        for daemon in self.daemons {
            let domains = ask(daemon, "/config_dump/trust")?;
            let mut own = domains.as_array().into_iter().flatten().filter(|it| it["domain"] == self.domain);
            if !own.any(|domain| has(&domain["roots"], &serial)) {
                lacking.push(format!("the daemon at {} does not trust it", daemon.display()));
            }
        }
        if let Some(path) = self.file {
            let text = files::read(path)?.unwrap_or_default();
            lacking.extend(published(root, &text, &path.display().to_string())?);
        }
        if let Some((kubernetes, name)) = self.config_map {
            let text = kubernetes.told(name, ROOT_CERTIFICATE).await?.unwrap_or_default();
            lacking.extend(published(root, text.as_bytes(), &format!("ConfigMap {name}"))?);
        }
        everywhere(lacking)
    }

    /// Whether all CAs sign with the root (in PEM).
    pub(super) fn sign_with(&self, root: &str) -> Result<(), RotateError> {
        let serial = serial(root)?;
        let mut lacking = Vec::new();
        for ca in self.cas()? {
            let chain = ask(ca, "/config_dump/ca")?["chain"].take();
            if chain.as_array().and_then(|chain| chain.last()).is_none_or(|it| it["serial"] != serial) {
                lacking.push(format!("the CA at {} signs with another root", ca.display()));
            }
        }
        everywhere(lacking)
    }

    fn cas(&self) -> Result<&[&'a Path], RotateError> {
        if self.cas.is_empty() { Err(RotateError::NobodyToAsk) } else { Ok(&self.cas) }
    }
}

/// What an admin server says.
fn ask(socket: &Path, page: &str) -> Result<Value, RotateError> {
    let failed = |source| RotateError::Ask { who: socket.to_owned(), source };
    let said = admin::ask(socket, "GET", page).map_err(failed)?;
    serde_json::from_slice(&said).map_err(|_| failed(admin::AskError::Malformed))
}

/// Whether that number is one of those certificates'.
fn has(certificates: &Value, serial: &str) -> bool {
    certificates.as_array().into_iter().flatten().any(|it| it["serial"] == serial)
}

/// Says so if the root is not among those of a text.
fn published(root: &str, text: &[u8], place: &str) -> Result<Option<String>, RotateError> {
    let wanted = parse(root.as_bytes(), String::new)?;
    let there = parse(text, || place.to_owned())?;
    let lacks = !wanted.iter().all(|root| there.contains(root));
    Ok(lacks.then(|| format!("{place} does not have it")))
}

fn everywhere(lacking: Vec<String>) -> Result<(), RotateError> {
    if lacking.is_empty() { Ok(()) } else { Err(RotateError::NotEverywhere { who: lacking }) }
}
