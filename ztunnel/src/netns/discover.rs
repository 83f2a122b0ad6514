//! Finding the namespace of a pod that nobody handed over, by the addresses in it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::{PodNetns, in_netns};

/// Where the namespaces of pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Mounted in a folder.
    In(PathBuf),
    /// The daemon's own is that of its only pod.
    Own,
}

/// The namespaces that were found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Index into `found` by address. An address that two namespaces hold names neither.
    by_address: BTreeMap<IpAddr, Option<usize>>,
    found: Vec<Option<PodNetns>>,
    /// There is one pod, and what was found is its namespace, whatever its addresses.
    only: bool,
    /// Files in the folder that could not be entered, with the reason.
    pub unreadable: Vec<(String, io::Error)>,
}

/// Enters each namespace in `folder` (container runtimes mount them in `/run/netns`) and notes its addresses.
///
/// # Errors
/// When the folder cannot be listed. A single file that cannot be entered is noted instead.
pub fn discover(folder: &Path) -> io::Result<Discovery> {
    let mut discovery = Discovery::default();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match look_inside(&path) {
            Ok((netns, addresses)) => discovery.note(netns, addresses),
            Err(error) => discovery.unreadable.push((path.display().to_string(), error)),
        }
    }
    Ok(discovery)
}

impl Namespaces {
    /// Where they are looked for.
    pub fn path(&self) -> &Path {
        match self {
            Self::In(folder) => folder,
            Self::Own => Path::new("/proc/self/ns/net"),
        }
    }

    /// Looks for the namespaces of pods, as [`discover`] does.
    ///
    /// # Errors
    /// As there, or when the daemon's own cannot be told.
    pub fn look(&self) -> io::Result<Discovery> {
        match self {
            Self::In(folder) => discover(folder),
            Self::Own => {
                Ok(Discovery { found: vec![Some(PodNetns::own()?)], only: true, ..Discovery::default() })
            }
        }
    }
}

impl Discovery {
    /// Takes the one namespace that holds all of `addresses`.
    pub fn take(&mut self, addresses: &[IpAddr]) -> Option<PodNetns> {
        if self.only {
            return self.found.first_mut()?.take();
        }
        let mut at = addresses.iter().map(|address| self.by_address.get(address).copied().flatten());
        let first = at.next()??;
        if at.any(|other| other != Some(first)) {
            return None;
        }
        self.found.get_mut(first)?.take()
    }

    /// Takes the namespace that `is_it` knows again.
    pub fn take_known(&mut self, is_it: impl Fn(&PodNetns) -> bool) -> Option<PodNetns> {
        self.found.iter_mut().find(|slot| slot.as_ref().is_some_and(&is_it))?.take()
    }

    fn note(&mut self, netns: PodNetns, addresses: Vec<IpAddr>) {
        let known = |slot: &Option<PodNetns>| slot.as_ref().is_some_and(|it| it.inode() == netns.inode());
        if self.found.iter().any(known) {
            return;
        }
        let at = self.found.len();
        self.found.push(Some(netns));
        for address in addresses {
            self.by_address.entry(address).and_modify(|holder| *holder = None).or_insert(Some(at));
        }
    }
}

impl PodNetns {
    /// Whether one of these addresses is in the namespace; true when there is none to look for.
    ///
    /// # Errors
    /// When the namespace cannot be entered or asked.
    pub fn holds_any(&self, addresses: &[IpAddr]) -> io::Result<bool> {
        Ok(addresses.is_empty() || addresses_in(self)?.iter().any(|ip| addresses.contains(ip)))
    }
}

fn look_inside(path: &Path) -> io::Result<(PodNetns, Vec<IpAddr>)> {
    let netns = PodNetns::open(path)?;
    let addresses = addresses_in(&netns)?;
    Ok((netns, addresses))
}

fn addresses_in(netns: &PodNetns) -> io::Result<Vec<IpAddr>> {
    in_netns(netns, || Ok(getifaddrs()?.filter_map(|it| ip_of(&it.address?)).collect()))
}

/// The address, unless it is one that every namespace has.
pub(crate) fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => IpAddr::V4(v4.ip()),
        (_, Some(v6)) => IpAddr::V6(v6.ip()),
        _ => return None,
    };
    let of_every_namespace = ip.is_loopback() || matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!of_every_namespace).then_some(ip)
}
