//! Handing a ruleset to the kernel: one `nft -f -`, one transaction.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::netns::{PodNetns, in_netns};

/// Why a ruleset is not in force. Nothing of it is then: transactions are all or nothing.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// nft refused it, with nft's words.
    #[error("nft refused the ruleset: {0}")]
    Refused(String),
    /// nft could not be started or talked to.
    #[error("nft could not be run")]
    Run(#[source] io::Error),
}

/// Applies `ruleset` inside the namespace.
pub(super) fn apply(netns: &PodNetns, ruleset: &str) -> Result<(), NftError> {
    let output = run(netns, ruleset).map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused(words.trim().chars().take(MAX_WORDS).collect()))
}

fn run(netns: &PodNetns, ruleset: &str) -> io::Result<Output> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A child is born in the namespace of the thread that starts it.
    let mut child = in_netns(netns, || command.spawn())?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that ends early has said why on stderr.
        let _broken_pipe = stdin.write_all(ruleset.as_bytes());
    }
    child.wait_with_output()
}

/// Longest part of nft's message that is kept: it repeats the ruleset otherwise.
const MAX_WORDS: usize = 500;
