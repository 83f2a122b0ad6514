//! Addresses for hosts of ServiceEntries that have none.
//!
//! An address that a status has counts. Else it comes of a hash of namespace, name and host, so that all readers find
//! the same; where it is taken, the next one is tried, older objects first, so that newcomers take nobody's.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;

use super::{hash, names};
use crate::objects::{EntryResolution, Objects, ServiceEntry};

/// Addresses by namespace, name and host.
pub(super) struct Vips<'a>(HashMap<(&'a str, &'a str, &'a str), Vec<IpAddr>, RandomState>);

impl<'a> Vips<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        let mut taken: HashSet<IpAddr, RandomState> = HashSet::default();
        for object in &objects.service_entries {
            taken.extend(object.spec.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()));
            taken.extend(object.status.addresses.iter().filter_map(|it| it.value.parse::<IpAddr>().ok()));
        }
        let needy = objects.service_entries.iter().filter(|object| needs_any(object));
        let mut hosts: Vec<_> =
            needy.flat_map(|object| object.spec.hosts.iter().map(move |host| (object, &**host))).collect();
        hosts.sort_by_key(|(object, host)| {
            let metadata = &object.metadata;
            (metadata.creation_timestamp, &*metadata.namespace, &*metadata.name, *host)
        });
        let mut vips = HashMap::default();
        for (object, host) in hosts {
            let (namespace, name) = (&*object.metadata.namespace, &*object.metadata.name);
            let given = given(object, host);
            let addresses = match given.is_empty() && !host.starts_with('*') {
                true => allocated(hash::hash(&[namespace, name, host]), &mut taken),
                false => given,
            };
            vips.insert((namespace, name, host), addresses);
        }
        Self(vips)
    }

    pub(super) fn of(&self, object: &'a ServiceEntry, host: &'a str) -> &[IpAddr] {
        let key = (&*object.metadata.namespace, &*object.metadata.name, host);
        self.0.get(&key).map(Vec::as_slice).unwrap_or_default()
    }
}

fn needs_any(object: &ServiceEntry) -> bool {
    object.spec.addresses.is_empty()
        && object.spec.resolution != EntryResolution::None
        && object.metadata.label(names::ENABLE_AUTOALLOCATE) != Some("false")
}

/// The addresses that the status has for the host.
fn given(object: &ServiceEntry, host: &str) -> Vec<IpAddr> {
    let own = object.status.addresses.iter().filter(|it| it.host.is_empty() || *it.host == *host);
    own.filter_map(|it| it.value.parse().ok()).collect()
}

/// One address of each family.
fn allocated(hash: u128, taken: &mut HashSet<IpAddr, RandomState>) -> Vec<IpAddr> {
    let mut free = |address: IpAddr| taken.insert(address).then_some(address);
    let v4 = (0..V4_HOSTS).find_map(|probe| {
        let host = (fold(hash) + probe) % V4_HOSTS + 1;
        free(Ipv4Addr::from_bits(V4_BASE | u32::try_from(host).ok()?).into())
    });
    let v6 = (0..V4_HOSTS).find_map(|probe| {
        let host = hash.wrapping_add(u128::from(probe)) & V6_HOSTS;
        if host == 0 { None } else { free(Ipv6Addr::from_bits(V6_BASE | host).into()) }
    });
    v4.into_iter().chain(v6).collect()
}

/// Fewer bits, all of which all of the hash has a part in.
fn fold(hash: u128) -> u64 {
    let parts = [hash, hash >> 32, hash >> 64, hash >> 96];
    parts.iter().fold(0, |folded, part| folded ^ u64::try_from(part & 0xffff_ffff).unwrap_or_default())
}

/// 240.240.0.0/16, without its first and last address.
const V4_BASE: u32 = 0xf0f0_0000;
const V4_HOSTS: u64 = 65_534;

/// 2001:2::/48.
const V6_BASE: u128 = 0x2001_0002_0000_0000_0000_0000_0000_0000;
const V6_HOSTS: u128 = (1 << 80) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_leads_to_the_next() {
        let mut taken = HashSet::default();
        let first = allocated(65_533, &mut taken);
        let second = allocated(65_533, &mut taken);
        assert_eq!(first, ["240.240.255.254".parse::<IpAddr>().unwrap(), "2001:2::fffd".parse().unwrap()]);
        assert_eq!(second, ["240.240.0.1".parse::<IpAddr>().unwrap(), "2001:2::fffe".parse().unwrap()]);
    }
}
