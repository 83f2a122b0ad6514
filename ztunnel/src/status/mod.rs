//! `ztunnel status`: what a person should know of a node's daemon, and above all what is not in force as it is written.

mod ask;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

pub use ask::AskError;
use report::Report;

/// Prints which pods are captured, what of the manifests is not in force as it is written, and what is ignored.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The daemon's admin socket.
    #[arg(
        long,
        value_name = "PATH",
        env = "ZTUNNEL_ADMIN_SOCKET",
        default_value = "/run/ambient/admin.sock"
    )]
    socket: PathBuf,
    /// Fails when a pod is not captured that should be, or a manifest is broken or not followed to the letter.
    #[arg(long)]
    check: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no status, or why it is bad.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The daemon.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The daemon said what cannot be understood.
    #[error("daemon's answer is not understood")]
    Answer(#[from] serde_json::Error),
    /// Standard output.
    #[error("status cannot be printed")]
    Print(#[from] io::Error),
    /// `--check` found something.
    #[error("{0} findings")]
    Findings(usize),
}

impl StatusArgs {
    /// Asks the daemon and prints what it says to `out`.
    ///
    /// # Errors
    /// When no daemon answers; with `--check`, when there is something to mend.
    pub fn run(self, out: &mut impl Write) -> Result<(), StatusError> {
        let Self { socket, check, json } = self;
        let source = ask::get(&socket, "/config_dump/source")?;
        let pods = ask::get(&socket, "/config_dump/pods")?;
        let report = Report::read(&source, &pods)?;
        if json {
            writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        } else {
            write!(out, "{report}")?;
        }
        match report.findings() {
            findings if check && findings > 0 => Err(StatusError::Findings(findings)),
            _ => Ok(()),
        }
    }
}
