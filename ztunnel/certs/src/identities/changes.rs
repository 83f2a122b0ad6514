//! How others follow what becomes of identities.

use identity::SpiffeId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What became of an identity. Tunnels of other epochs take no new streams from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityChange {
    /// It has no certificate any more: the last one ended, or no local workload has it.
    Gone(SpiffeId),
    /// Changes were missed, or others than identities came about: look at all identities, and at what is trusted.
    Resync,
    /// It has another certificate, or trusts other roots.
    Renewed {
        /// The identity.
        identity: SpiffeId,
        /// The epoch of its TLS configurations from now on.
        epoch: u64,
    },
}

/// Follows changes from when it was made.
#[derive(Debug)]
pub struct IdentityChanges(pub(super) broadcast::Receiver<IdentityChange>);

impl IdentityChanges {
    /// The next change; none when there will be no more.
    ///
    /// # Cancel safety
    /// Safe: no change is lost.
    pub async fn next(&mut self) -> Option<IdentityChange> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(_)) => Some(IdentityChange::Resync),
        }
    }
}
