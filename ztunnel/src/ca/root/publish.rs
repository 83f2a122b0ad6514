//! Telling the nodes which roots are trusted: they have no business where the key is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{describe, pem_of};
use cluster::kubernetes::{Kubernetes, NamespacedName};
use tokio::time::sleep;

use super::{FollowedRoot, ROOT_CERTIFICATE, Root};
use crate::ca::files::{self, FileError, Readers};

/// Keeps the file at `path` as the trusted roots, also when somebody changes it.
pub async fn to_file(mut root: FollowedRoot, path: PathBuf) {
    let mut faults = Faults::default();
    loop {
        // A few kilobytes: not worth a thread.
        let written = write(&path, &root.current()).map_err(|error| describe(&error));
        faults.note(written.err(), &path.display().to_string());
        tokio::select! {
            () = root.changed() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Keeps the entry `root-cert.pem` of a ConfigMap as the trusted roots, also when somebody changes it.
pub async fn to_config_map(mut root: FollowedRoot, kubernetes: Kubernetes, name: NamespacedName) {
    let mut faults = Faults::default();
    loop {
        let text = pem_of(&root.current().trusted);
        let told = kubernetes.tell(&name, ROOT_CERTIFICATE, &text).await.map_err(|error| describe(&error));
        let again = if told.is_ok() { ASK_AGAIN } else { TRY_AGAIN };
        faults.note(told.err(), &format!("ConfigMap {name}"));
        tokio::select! {
            () = root.changed() => {}
            () = sleep(again) => {}
        }
    }
}

/// Says what is wrong once, not each time.
#[derive(Default)]
struct Faults(Option<String>);

impl Faults {
    fn note(&mut self, fault: Option<String>, place: &str) {
        if let Some(cause) = fault.as_ref().filter(|_| fault != self.0) {
            tracing::warn!(place, cause, "roots are not published");
        }
        self.0 = fault;
    }
}

fn write(path: &Path, root: &Root) -> Result<(), FileError> {
    let text = pem_of(&root.trusted);
    if files::read(path)?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(FileError::on("make", folder))?;
    }
    files::write(path, text.as_bytes(), Readers::All)
}

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How often the ConfigMap is asked for, and how soon it is tried again where it could not be written: another CA may have
/// written at the same time.
const ASK_AGAIN: Duration = Duration::from_mins(1);
const TRY_AGAIN: Duration = Duration::from_secs(2);
