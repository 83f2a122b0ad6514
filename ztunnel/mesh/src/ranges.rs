//! Address ranges of services, longest prefix first.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::index::Claims;
use crate::map::Map;
use crate::{Network, NetworkAddress, Service};

/// Services by the ranges that they claim. A look-up costs one probe for each prefix length in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges {
    claims: Map<Claims<(Network, IpNet), Service>>,
    /// How many ranges have a prefix length; few lengths are in use at a time.
    v4: Arc<BTreeMap<u8, usize>>,
    v6: Arc<BTreeMap<u8, usize>>,
}

impl Ranges {
    /// What `choose` takes from the longest range around `address` that has something for it.
    pub(crate) fn longest<'a, T>(
        &'a self,
        address: &NetworkAddress,
        choose: impl Fn(&'a [Arc<Service>]) -> Option<T>,
    ) -> Option<T> {
        let lengths = if address.ip.is_ipv4() { &self.v4 } else { &self.v6 };
        lengths.keys().rev().find_map(|&length| {
            let range = IpNet::new(address.ip, length).ok()?.trunc();
            match self.claims.claims(&(address.network.clone(), range)) {
                [] => None,
                claims => choose(claims),
            }
        })
    }

    pub(crate) fn insert(&mut self, service: &Arc<Service>) {
        for (network, range) in service.ranges.iter() {
            self.claims.claim(&(network.clone(), range.trunc()), service.clone(), |_| ());
            *self.lengths(*range).entry(range.prefix_len()).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, service: &Service) {
        for (network, range) in service.ranges.iter() {
            let key = (network.clone(), range.trunc());
            self.claims.unclaim(&key, |claim| claim.key == service.key);
            let lengths = self.lengths(*range);
            if let Some(count) = lengths.get_mut(&range.prefix_len()) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&range.prefix_len());
                }
            }
        }
    }

    fn lengths(&mut self, range: IpNet) -> &mut BTreeMap<u8, usize> {
        Arc::make_mut(match range {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        })
    }
}
