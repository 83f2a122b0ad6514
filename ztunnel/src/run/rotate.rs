//! Renewed certificates reach the tunnels.

use std::sync::Arc;

use certs::IdentityChanges;

use crate::proxy::Workers;

/// Has workers look at their tunnels whenever an identity changes.
pub(super) async fn follow(mut changes: IdentityChanges, workers: Arc<Workers>) {
    while let Some(change) = changes.next().await {
        tracing::debug!(?change, "certificates changed");
        workers.rotated();
    }
}
