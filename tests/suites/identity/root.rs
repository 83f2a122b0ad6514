//! The root that a CA makes for itself.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{LabError, eventually};
use serde_json::json;

#[test]
fn two_cas_that_start_together_on_nothing_make_one_root() -> Result<(), LabError> {
    for _ in 0..8 {
        let folder = tempfile::tempdir()?;
        for part in ["nodes", "manifests"] {
            fs::create_dir(folder.path().join(part))?;
        }
        let (mut one, mut other) = (Ca::start(folder.path(), "one")?, Ca::start(folder.path(), "other")?);
        let (first, second) = (one.root()?, other.root()?);
        assert!(first.contains("BEGIN CERTIFICATE"), "{first}");
        assert_eq!(first, second);

        let kept = fs::read_to_string(folder.path().join("root/root-cert.pem"))?;
        assert_eq!(kept.matches("BEGIN CERTIFICATE").count(), 1);
        assert_eq!(kept.trim(), first.trim());
        for entry in fs::read_dir(folder.path().join("root"))? {
            let path = entry?.path();
            let is_key = fs::read_to_string(&path)?.contains("PRIVATE KEY");
            let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
            assert!(!is_key || mode == 0o600, "{} has mode {mode:o}", path.display());
        }
    }
    Ok(())
}

/// A CA of its own configuration and ports, on a folder that it shares.
struct Ca {
    process: Child,
    folder: PathBuf,
    name: &'static str,
}

impl Ca {
    fn start(folder: &Path, name: &'static str) -> Result<Self, LabError> {
        let config = json!({
            "root": { "folder": folder.join("root"), "publish": folder.join(name).with_extension("pem") },
            "trust": { "nodes": folder.join("nodes"), "manifests": folder.join("manifests") },
            "listen": {
                "address": "127.0.0.1:0", "admin": "off", "metrics": "off", "readiness": "off",
            },
        });
        let path = folder.join(name).with_extension("yaml");
        fs::write(&path, config.to_string())?;
        let log = File::create(folder.join(name).with_extension("log"))?;
        let mut command = Command::new(harness::ztunnel()?);
        command.arg("ca").arg("--config").arg(path);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { process, folder: folder.to_owned(), name })
    }

    /// The roots that it says are to be trusted.
    fn root(&mut self) -> Result<String, LabError> {
        let published = self.folder.join(self.name).with_extension("pem");
        eventually("the CA publishes no root", || {
            if let Some(status) = self.process.try_wait()? {
                let (command, status) = ("ztunnel ca".to_owned(), status.to_string());
                let output = fs::read_to_string(self.folder.join(self.name).with_extension("log"))?;
                return Err(LabError::Program { command, status, output });
            }
            Ok(fs::read_to_string(&published).ok())
        })
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
