//! Another mesh on the same network: node2 with a CA of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Lab, LabError, Process, eventually, ztunnel};
use serde_json::{Value, json};

/// The partner's CA, on its node.
pub(crate) struct Partner {
    folder: PathBuf,
    address: String,
    process: Process,
}

/// The name of the mesh.
pub(crate) const OURS: &str = "ours.example";

/// The name of the other one.
pub(crate) const THEIRS: &str = "partner.example";

impl Partner {
    /// Starts the CA, which makes itself a root. It also signs names of the domains in `aliases`.
    pub(crate) fn start(lab: &Lab, aliases: &[&str]) -> Result<Self, LabError> {
        let node = lab.node("node2");
        let folder = lab.folder().join("partner");
        // The key by which its node is known is the one that the lab makes.
        let nodes = lab.folder().join("ca/nodes");
        for folder in [&folder, &nodes] {
            fs::create_dir_all(folder)?;
        }
        let config = json!({
            "root": { "folder": folder.join("root"), "publish": folder.join("roots.pem") },
            "trust": { "domain": THEIRS, "aliases": aliases, "nodes": nodes, "manifests": lab.manifests() },
            "listen": {
                "address": format!("[::]:{PORT}"),
                "adminSocket": folder.join("admin.sock"),
                "admin": "off",
                "metrics": "off",
                "readiness": "off",
            },
        });
        fs::create_dir_all(folder.join("root"))?;
        fs::write(folder.join("ca.yaml"), config.to_string())?;
        let log = File::create(folder.join("ca.log"))?;
        let mut command = Command::new(ztunnel()?);
        command.args(["ca", "--config"]).arg(folder.join("ca.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = node.spawn(&mut command)?;
        let address = format!("{}:{PORT}", node.ip());
        let mut partner = Self { folder, address, process };
        eventually("the partner's CA did not come up", || {
            let log = || fs::read_to_string(partner.folder.join("ca.log"));
            if let Some(status) = partner.process.ended()? {
                let (command, status) = ("ztunnel ca".to_owned(), status.to_string());
                return Err(LabError::Program { command, status, output: log()? });
            }
            let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, PORT));
            Ok((partner.roots().exists() && node.netns().within(listens).is_ok()).then_some(()))
        })?;
        Ok(partner)
    }

    /// The file of its roots.
    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.join("roots.pem")
    }

    /// The folder of its root and key.
    pub(crate) fn root_folder(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// How its node's daemon asks it, and comes to know it by the roots in a file.
    pub(crate) fn asked(&self, roots: &Path) -> Value {
        json!({ "address": self.address, "roots": roots })
    }
}

/// Manifests without the pods of a node, in a folder of their own.
pub(crate) fn without_pods(lab: &Lab, names: &[&str]) -> Result<PathBuf, LabError> {
    let folder = lab.folder().join(format!("manifests-without-{}", names.join("-")));
    fs::create_dir(&folder)?;
    let hidden: Vec<_> = names.iter().map(|name| format!("pod-shop-{name}.yaml")).collect();
    for entry in fs::read_dir(lab.manifests())? {
        let entry = entry?;
        if !hidden.iter().any(|name| *entry.file_name() == **name) {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(folder)
}

/// Istio's port of the certificate service.
const PORT: u16 = 15012;
