//! Tunnels whose peers' certificates are revoked, before or while they live.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use certs::{Bundles, PeerError, chain_numbers, describe};
use hbone::tunnel::{Ended, Tunnel};
use slab::Slab;

use super::counts::TunnelEnd;
use super::worker::Worker;

/// The tunnels of one worker that are open. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenTunnels(Rc<RefCell<Open>>);

#[derive(Debug, Default)]
struct Open {
    tunnels: Slab<(Tunnel, TunnelEnd)>,
    numbers: Numbers,
    /// What those that were open then were last looked at with.
    checked: Arc<Bundles>,
}

/// Keeps a tunnel among those that are open.
#[derive(Debug)]
pub(super) struct OpenTunnel {
    all: OpenTunnels,
    key: usize,
}

/// Who has a certificate of which number, with those of its issuers. Several CAs may give the same number: whether one
/// is revoked is to be asked of the chain itself.
#[derive(Debug, Default)]
struct Numbers(BTreeSet<(Box<[u8]>, usize)>);

impl Worker {
    /// Lists a tunnel, so that it is cut when its peer's certificate is revoked; that may have happened while it came up.
    pub(super) fn opened(&self, tunnel: &Tunnel, end: TunnelEnd) -> OpenTunnel {
        let chain = tunnel.peer_certificates();
        let numbers = chain_numbers(chain);
        if numbers.len() < chain.len() {
            self.shared.counts.untracked(end);
        }
        let mut open = self.open.0.borrow_mut();
        let key = open.tunnels.insert((tunnel.clone(), end));
        open.numbers.add(key, numbers);
        drop(open);
        self.cut_if_revoked(tunnel, end, &self.shared.identities.bundles());
        OpenTunnel { all: self.open.clone(), key }
    }

    /// Cuts the tunnels whose peers' certificates are revoked. Costs a look-up for each number on a list that is new,
    /// and a check for each tunnel that has one: not one for each that is open.
    pub(super) fn cut_revoked(&self) {
        let bundles = self.shared.identities.bundles();
        let mut open = self.open.0.borrow_mut();
        // A renewal changes nobody's trust. Roots do: a list may be of one that was not known.
        if *open.checked == *bundles {
            return;
        }
        let mut named = BTreeSet::new();
        bundles.each_revoked_number(|number| named.extend(open.numbers.of(number)));
        for (tunnel, end) in named.into_iter().filter_map(|key| open.tunnels.get(key)) {
            self.cut_if_revoked(tunnel, *end, &bundles);
        }
        open.checked = bundles;
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
        let mut open = self.all.0.borrow_mut();
        let (tunnel, _) = open.tunnels.remove(self.key);
        open.numbers.remove(self.key, chain_numbers(tunnel.peer_certificates()));
        // Nothing that goes with the tunnel finds the list taken.
        drop(open);
    }
}

impl Numbers {
    fn add(&mut self, key: usize, numbers: Vec<Box<[u8]>>) {
        self.0.extend(numbers.into_iter().map(|number| (number, key)));
    }

    fn remove(&mut self, key: usize, numbers: Vec<Box<[u8]>>) {
        for number in numbers {
            self.0.remove(&(number, key));
        }
    }

    fn of(&self, number: &[u8]) -> impl Iterator<Item = usize> {
        let bound = |key| (Box::<[u8]>::from(number), key);
        self.0.range(bound(usize::MIN)..=bound(usize::MAX)).map(|(_, key)| *key)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_those_who_have_it_and_nobody_else() {
        let chain = |numbers: &[&[u8]]| numbers.iter().map(|number| Box::from(*number)).collect::<Vec<_>>();
        let mut numbers = Numbers::default();
        let (one, two, other) = (chain(&[b"1", b"ca"]), chain(&[b"1", b"ca"]), chain(&[b"12", b"ca"]));
        for (key, chain) in [&one, &two, &other].into_iter().enumerate() {
            numbers.add(key, chain.clone());
        }
        let of = |numbers: &Numbers, number: &[u8]| numbers.of(number).collect::<Vec<_>>();
        assert_eq!(of(&numbers, b"1"), [0, 1]);
        assert_eq!(of(&numbers, b"ca"), [0, 1, 2]);
        assert!(of(&numbers, b"").is_empty());
        numbers.remove(0, one);
        assert_eq!(of(&numbers, b"1"), [1]);
        numbers.remove(1, two);
        numbers.remove(2, other);
        assert!(numbers.0.is_empty());
    }
}
