//! The mesh's CA, in the world outside of the nodes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::lab::{WIRE_V4, WIRE_V6};
use crate::process::Process;
use crate::program::{daemon_command, run};
use crate::spec::merge;
use crate::{Answer, Lab, LabError, MeshOptions, Node, Pod, admin, eventually};

/// A running `ztunnel ca`.
#[derive(Debug)]
pub struct Authority {
    program: PathBuf,
    folder: PathBuf,
    process: Process,
}

impl Authority {
    /// Makes a key for each node, a token for each that is not ours, and starts the CA, which makes itself a root unless
    /// the options bring one.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(lab: &Lab, program: &Path, options: &MeshOptions) -> Result<Self, LabError> {
        let foreign = &options.foreign;
        let folder = lab.folder().join("ca");
        for part in ["nodes", "root"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(LabError::file(part))?;
        }
        for node in lab.nodes() {
            make_node_key(program, &folder, node)?;
            if foreign.iter().any(|it| it == node.name()) {
                make_token(program, node)?;
            }
        }
        for (name, text) in &options.root {
            let path = folder.join("root").join(name);
            fs::write(&path, text).map_err(LabError::file(path))?;
        }
        let bearers = if foreign.is_empty() { "off" } else { TOKEN_LIFETIME };
        let mut config = json!({
            "root": { "folder": folder.join("root"), "publish": folder.join("roots.pem") },
            "trust": { "nodes": folder.join("nodes"), "manifests": lab.manifests(), "bearerTokens": bearers },
            "listen": { "address": format!("[::]:{PORT}"), "adminSocket": folder.join("admin.sock") },
        });
        merge(&mut config, &options.ca);
        let path = folder.join("ca.yaml");
        fs::write(&path, config.to_string()).map_err(LabError::file(path))?;
        let process = Self::run(lab, program, &folder)?;
        let mut authority = Self { program: program.to_owned(), folder, process };
        authority.wait(lab)?;
        Ok(authority)
    }

    /// The program that it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Ends the CA and starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.process.kill()?;
        self.process = Self::run(lab, &self.program, &self.folder)?;
        self.wait(lab)
    }

    /// Ends the CA at once.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.process.kill()
    }

    /// What `ztunnel ca rotate` says, by this CA's configuration.
    ///
    /// # Errors
    /// When it refuses; what it says is in the error.
    pub fn rotate(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = daemon_command(&self.program);
        command.args(["ca", "rotate", "--config"]).arg(self.folder.join("ca.yaml"));
        run(command.args(words), None)
    }

    /// The file of the roots that it signs under.
    pub fn roots(&self) -> PathBuf {
        self.folder.join("roots.pem")
    }

    /// The folder of its key and roots.
    pub fn root_folder(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Asks its admin server.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer, LabError> {
        admin::request(&self.admin_socket(), "GET", path)
    }

    /// Its admin server's Unix socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// What it logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String, LabError> {
        let path = log_of(&self.folder);
        fs::read_to_string(&path).map_err(LabError::file(path))
    }

    /// Where the daemon of a node finds it.
    pub fn address(node: &Node) -> String {
        if node.ip().is_ipv4() { format!("{WIRE_V4}:{PORT}") } else { format!("[{WIRE_V6}]:{PORT}") }
    }

    /// Where a pod finds it.
    pub fn address_for(pod: &Pod) -> String {
        if pod.ip().is_ipv4() { format!("{WIRE_V4}:{PORT}") } else { format!("[{WIRE_V6}]:{PORT}") }
    }

    /// A name that its server's certificate has.
    pub const NAME: &str = "istiod.istio-system.svc";

    /// The private key by which it knows a node.
    pub fn node_key(node: &Node) -> PathBuf {
        node.folder().join("node.key")
    }

    /// The token by which a daemon proves to be on a node that is not ours.
    pub fn token(node: &Node) -> PathBuf {
        node.folder().join("node.token")
    }

    fn run(lab: &Lab, program: &Path, folder: &Path) -> Result<Process, LabError> {
        let path = log_of(folder);
        let log = File::options().create(true).append(true).open(&path).map_err(LabError::file(path))?;
        let mut command = daemon_command(program);
        command.arg("ca").arg("--config").arg(folder.join("ca.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Process::new("the CA", lab.wire().spawn(&mut command)?))
    }

    /// It is up when it has a root and listens.
    fn wait(&mut self, lab: &Lab) -> Result<(), LabError> {
        eventually("the CA did not come up", || {
            if let Some(status) = self.process.ended()? {
                let (command, status) = ("ztunnel ca".to_owned(), status.to_string());
                return Err(LabError::Program { command, status, output: self.log()? });
            }
            let listens = || std::net::TcpStream::connect((WIRE_V4, PORT));
            Ok((self.roots().exists() && lab.wire().within(listens).is_ok()).then_some(()))
        })
    }
}

fn make_node_key(program: &Path, folder: &Path, node: &Node) -> Result<(), LabError> {
    let mut command = Command::new(program);
    command.args(["ca", "node-key", "--node", node.name(), "--nodes"]).arg(folder.join("nodes"));
    run(command.arg("--out").arg(Authority::node_key(node)), None).map(drop)
}

fn make_token(program: &Path, node: &Node) -> Result<(), LabError> {
    let mut command = Command::new(program);
    command.args(["ca", "node-token", "--node", node.name(), "--lifetime", TOKEN_LIFETIME, "--key"]);
    command.arg(Authority::node_key(node)).arg("--out").arg(Authority::token(node));
    run(&mut command, None).map(drop)
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("ca.log")
}

/// Longer than any test.
const TOKEN_LIFETIME: &str = "1h";

/// Istio's port of the same service.
const PORT: u16 = 15012;
