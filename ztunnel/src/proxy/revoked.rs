//! Tunnels whose peers' certificates are revoked, before or while they live.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;

use certs::{Bundles, PeerError, describe};
use hbone::tunnel::{Ended, Tunnel};
use slab::Slab;

use super::counts::TunnelEnd;
use super::worker::Worker;

/// The tunnels of one worker that are open. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenTunnels(Rc<RefCell<Slab<(Tunnel, TunnelEnd)>>>);

/// Keeps a tunnel among those that are open.
#[derive(Debug)]
pub(super) struct OpenTunnel {
    all: OpenTunnels,
    key: usize,
}

impl Worker {
    /// Lists a tunnel, so that it is cut when its peer's certificate is revoked; that may have happened while it came up.
    pub(super) fn opened(&self, tunnel: &Tunnel, end: TunnelEnd) -> OpenTunnel {
        let key = self.open.0.borrow_mut().insert((tunnel.clone(), end));
        self.cut_if_revoked(tunnel, end, &self.shared.identities.bundles());
        OpenTunnel { all: self.open.clone(), key }
    }

    /// Cuts the tunnels whose peers' certificates are revoked. Costs a look-up by number for each tunnel, and that only
    /// where there are revocation lists.
    pub(super) fn cut_revoked(&self) {
        let bundles = self.shared.identities.bundles();
        for (_, (tunnel, end)) in &*self.open.0.borrow() {
            self.cut_if_revoked(tunnel, *end, &bundles);
        }
    }

    fn cut_if_revoked(&self, tunnel: &Tunnel, end: TunnelEnd, bundles: &Bundles) {
        if let Err(error) = bundles.check_revocation(tunnel.peer_certificates()) {
            tunnel.cut_for(Ended::Revoked);
            self.shared.counts.cuts.with_label_values(&["revoked"]).inc();
            self.shared.counts.revoked(end);
            tracing::warn!(error = describe(&error), "tunnel is cut");
        }
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(self.key);
    }
}

/// Whether something failed since a certificate was revoked.
pub(super) fn is_revoked(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(Ended::Revoked))
            || matches!(error.downcast_ref(), Some(PeerError::Revoked { .. }))
        {
            return true;
        }
        cause = error.source();
    }
    false
}
