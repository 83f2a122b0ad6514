//! The nodes that a CA knows, by their keys.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use certs::{NodeClaims, NodePublicKey, NodeToken};
use rustls_pki_types::UnixTime;

use crate::ca::refusal::Refusal;

/// A folder with the public key of each node, `<node>.pem`. Read for each call: a node that is registered or taken out
/// is so at once.
#[derive(Clone, Debug)]
pub struct NodeFolder {
    path: PathBuf,
    /// How long bearer tokens may last; none are accepted otherwise.
    bearers: Option<Duration>,
}

/// A text is not a node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not the name of a node")]
pub struct InvalidNodeName {
    name: String,
}

impl NodeFolder {
    /// The folder at `path`.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, bearers: None }
    }

    /// Accepts bearer tokens that last no longer than that too; none: no bearer tokens.
    pub fn accepting_bearers(self, longest: Option<Duration>) -> Self {
        Self { bearers: longest, ..self }
    }

    /// Where the public key of `node` is.
    ///
    /// # Errors
    /// When that is not a node's name.
    pub fn key_path(&self, node: &str) -> Result<PathBuf, InvalidNodeName> {
        check_name(node)?;
        Ok(self.path.join(format!("{node}.pem")))
    }

    /// Who made `token` for the certificate request `csr`.
    ///
    /// # Errors
    /// When it was no node that is registered here.
    pub fn authenticate(&self, token: &str, csr: &str, now: UnixTime) -> Result<NodeClaims, Refusal> {
        let token = NodeToken::parse(token)?;
        let node = token.claimed_node();
        let unknown = || Refusal::UnknownNode { node: node.chars().take(MAX_NAME).collect() };
        let key = self.key(node).ok_or_else(unknown)?;
        Ok(match self.bearers.filter(|_| token.is_bearer()) {
            Some(longest) => token.verify_bearer(&key, longest, now)?,
            None => token.verify(&key, csr, now)?,
        })
    }

    fn key(&self, node: &str) -> Option<NodePublicKey> {
        let path = self.key_path(node).ok()?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "node's key cannot be read");
                return None;
            }
        };
        let key = NodePublicKey::from_pem(&text);
        key.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "node's key is unusable")).ok()
    }
}

/// Node names are DNS subdomains (RFC 1123), so that none of them leads out of the folder.
fn check_name(name: &str) -> Result<(), InvalidNodeName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let fits = bytes.len() <= MAX_NAME && bytes.iter().all(|b| allowed(*b));
    if fits && edge(bytes.first()) && edge(bytes.last()) {
        return Ok(());
    }
    Err(InvalidNodeName { name: name.chars().take(MAX_NAME).collect() })
}

/// Longest name of a Kubernetes object.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let folder = NodeFolder::new("/nodes".into());
        for name in ["", ".", "..", "../etc/shadow", "a/b", "a\0b", "-a", "a-", "A", &"a".repeat(254)] {
            assert!(folder.key_path(name).is_err(), "{name:?}");
        }
        for name in ["node-1", "ip-10-0-0-1.ec2.internal", "a..b"] {
            assert!(folder.key_path(name).is_ok(), "{name:?}");
        }
    }
}
