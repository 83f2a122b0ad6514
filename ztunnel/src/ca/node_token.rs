//! `ztunnel ca node-token`: a token for a daemon that isn't ours.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use certs::{NodeKey, NodeKeyError};
use clap::Args;
use daemon::config::Value;
use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use super::files::{self, FileError, Readers};

/// Makes a bearer token of a node, for a daemon that presents the same one with each request, as Istio's does. The CA
/// accepts it only where `trust.bearerTokens` allows so long a life.
#[derive(Clone, Debug, Args)]
pub struct NodeTokenArgs {
    /// Name of the node, as Pods name it in spec.nodeName.
    #[arg(long, value_name = "NAME")]
    node: String,
    /// The node's private key, as `ztunnel ca node-key` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long the token lasts.
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = duration)]
    lifetime: Duration,
    /// File for the token, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum NodeTokenCliError {
    /// The token's file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key is unusable.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[from] io::Error),
    /// The key's file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl NodeTokenArgs {
    /// Does it and says so to `out`.
    ///
    /// # Errors
    /// When the key is unusable or the token cannot be written.
    pub fn run(&self, out: &mut impl Write) -> Result<(), NodeTokenCliError> {
        let text = fs::read_to_string(&self.key)
            .map_err(|source| NodeTokenCliError::Read { path: self.key.clone(), source })?;
        let key = NodeKey::from_pem(&self.node, &Zeroizing::new(text))?;
        let token = key.bearer(self.lifetime, UnixTime::now())?;
        files::write(&self.out, token.as_bytes(), Readers::Owner)?;
        writeln!(out, "token of {}, good for {}: {}", self.node, self.lifetime.show(), self.out.display())?;
        Ok(())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text).ok_or_else(|| format!("want {}", Duration::WANT))
}
