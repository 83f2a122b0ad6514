//! How much may come to the daemon's own pod. It is at the node's own addresses, where all reach it that reach the node: what
//! they take there must not be missing to pods.

use std::net::IpAddr;
use std::sync::Arc;

use daemon::limits::source_of;

use super::limits::Limit;
use super::shares::{Share, Shares};

/// Places among what leads to the daemon's own pod.
///
/// Sources of IPv6 are networks, of which who has one has all addresses. (At pods they are not: pods of a node may be one
/// network, and then one of them could shut out the others.)
#[derive(Debug)]
pub(super) struct OwnLimits {
    /// TLS handshakes in progress.
    handshakes: Arc<Shares<IpAddr>>,
    /// Peers' tunnels.
    tunnels: Arc<Shares<IpAddr>>,
}

impl OwnLimits {
    /// A place among the handshakes in progress.
    pub(super) fn handshake(&self, source: IpAddr) -> Result<Share<IpAddr>, Limit> {
        self.handshakes.take(&source_of(source)).map_err(|_full| Limit::MetricsPod)
    }

    /// A place among the tunnels.
    pub(super) fn tunnel(&self, source: IpAddr) -> Result<Share<IpAddr>, Limit> {
        self.tunnels.take(&source_of(source)).map_err(|_full| Limit::MetricsPod)
    }
}

impl Default for OwnLimits {
    fn default() -> Self {
        Self {
            handshakes: Shares::new(HANDSHAKES, HANDSHAKES_EACH),
            tunnels: Shares::new(TUNNELS, TUNNELS_EACH),
        }
    }
}

/// Handshakes in progress: some of each of several that scrape, and little memory however slow they are.
const HANDSHAKES: usize = 128;

/// Handshakes in progress of one source: as many workers of a node may begin at once to scrape it.
const HANDSHAKES_EACH: usize = 16;

/// Tunnels: several for each of the connections that the server of metrics takes.
const TUNNELS: usize = 256;

/// Tunnels of one source.
const TUNNELS_EACH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_source_and_an_address_of_ipv4_is_one() {
        let limits = OwnLimits::default();
        let six = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, host]);
        let taken: Vec<_> = (0..1000).filter_map(|host| limits.handshake(six(host)).ok()).collect();
        assert_eq!(taken.len(), HANDSHAKES_EACH);
        let tunnels: Vec<_> = (0..1000).filter_map(|host| limits.tunnel(six(host)).ok()).collect();
        assert_eq!(tunnels.len(), TUNNELS_EACH);
        let four = |host| limits.handshake([192, 0, 2, host].into());
        let others: Vec<_> = (0..50).map(four).collect();
        assert!(others.iter().all(Result::is_ok));
        assert!(limits.handshake([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1].into()).is_ok());
    }
}
