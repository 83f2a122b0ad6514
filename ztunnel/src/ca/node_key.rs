//! `ztunnel ca node-key`: registers a node.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use certs::{NodeKey, NodeKeyError};
use clap::Args;

use super::files::{self, FileError, Readers};
use super::gate::{InvalidNodeName, NodeFolder};

/// Makes a node's key: the private half for its daemon, the public half for the CA.
#[derive(Clone, Debug, Args)]
pub struct NodeKeyArgs {
    /// Name of the node, as Pods name it in spec.nodeName.
    #[arg(long, value_name = "NAME")]
    node: String,
    /// Folder in which the CA keeps the public keys of its nodes.
    #[arg(long, value_name = "FOLDER", env = "ZTUNNEL_CA_NODES")]
    nodes: PathBuf,
    /// File for the private key, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replaces a key that is there.
    #[arg(long)]
    replace: bool,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyCliError {
    /// There is one.
    #[error("{path} exists: --replace makes another one", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// The node's name.
    #[error(transparent)]
    Name(#[from] InvalidNodeName),
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[from] io::Error),
}

impl NodeKeyArgs {
    /// Does it and says so to `out`.
    ///
    /// # Errors
    /// When there are keys already, or they cannot be written.
    pub fn run(&self, out: &mut impl Write) -> Result<(), NodeKeyCliError> {
        let public = NodeFolder::new(self.nodes.clone()).key_path(&self.node)?;
        let existing = [&self.out, &public].into_iter().find(|path| path.exists());
        if let Some(path) = existing.filter(|_| !self.replace) {
            return Err(NodeKeyCliError::Exists { path: path.clone() });
        }
        let pair = NodeKey::generate()?;
        let folders = [Some(self.nodes.as_path()), self.out.parent()];
        for folder in folders.into_iter().flatten().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(FileError::on("make", folder))?;
        }
        files::write(&self.out, pair.private.as_bytes(), Readers::Owner)?;
        files::write(&public, pair.public.as_bytes(), Readers::All)?;
        writeln!(out, "registered {}: {}", self.node, public.display())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use certs::{NodePublicKey, NodeToken, TokenSource};
    use rustls_pki_types::UnixTime;

    use super::*;

    #[test]
    fn both_halves_are_written_and_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path().join("nodes"), folder.path().join("keys/node.pem"));
        args.run(&mut Vec::new()).unwrap();
        let mode = fs::metadata(&args.out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = NodeKey::from_pem("node-1", &fs::read_to_string(&args.out).unwrap()).unwrap();
        let public = fs::read_to_string(folder.path().join("nodes/node-1.pem")).unwrap();
        let token = key.token("csr", UnixTime::now()).unwrap();
        let token = NodeToken::parse(&token).unwrap();
        token.verify(&NodePublicKey::from_pem(&public).unwrap(), "csr", UnixTime::now()).unwrap();
    }

    #[test]
    fn a_key_that_is_there_is_kept_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args(folder.path().join("nodes"), folder.path().join("node.pem"));
        args.run(&mut Vec::new()).unwrap();
        let first = fs::read(&args.out).unwrap();
        assert!(matches!(args.run(&mut Vec::new()), Err(NodeKeyCliError::Exists { .. })));
        assert_eq!(fs::read(&args.out).unwrap(), first);
        args.replace = true;
        args.run(&mut Vec::new()).unwrap();
        assert_ne!(fs::read(&args.out).unwrap(), first);
    }

    fn args(nodes: PathBuf, out: PathBuf) -> NodeKeyArgs {
        NodeKeyArgs { node: "node-1".to_owned(), nodes, out, replace: false }
    }
}
