//! A node.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::cluster::Document;
use crate::process::Process;
use crate::serve::{Handler, Server};
use crate::sweep::Tag;
use crate::{Finished, LabError, Netns, Pod};

/// A node: the namespace where its daemon runs and that its pods' packets pass. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    netns: Netns,
    addresses: Vec<IpAddr>,
    ranges: Vec<Range>,
    folder: PathBuf,
}

/// The addresses of a node's pods.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    /// As it is written: `10.244.1.0/24`.
    pub(crate) text: String,
    /// Its first address, which every pod's way out goes by.
    pub(crate) gateway: IpAddr,
}

impl Node {
    pub(crate) fn new(document: &Document, tag: &Tag) -> Result<Self, LabError> {
        let name = document.name().to_owned();
        let folder = tag.folder().join(&name);
        for part in ["netns", "state"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(LabError::file(part))?;
        }
        let ranges = document.value().pointer("/spec/podCIDRs").and_then(|it| it.as_array());
        let texts = ranges.into_iter().flatten().filter_map(|it| it.as_str());
        let range =
            |text: &str| Range::parse(text).ok_or_else(|| document.wrong(format!("{text:?} is no range")));
        Ok(Self(Arc::new(Parts {
            netns: Netns::open(tag.netns(&name))?,
            addresses: document.addresses("/status/addresses", "address")?,
            ranges: texts.map(range).collect::<Result<_, _>>()?,
            name,
            folder,
        })))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.0.netns
    }

    /// Its addresses on the wire.
    pub fn ips(&self) -> &[IpAddr] {
        &self.0.addresses
    }

    /// Its first address.
    ///
    /// # Panics
    /// When its manifest has none.
    pub fn ip(&self) -> IpAddr {
        *self.0.addresses.first().expect("a lab's node has an address")
    }

    /// Its address of the family that a pod prefers.
    ///
    /// # Panics
    /// When it has none of that family.
    pub fn ip_for(&self, pod: &Pod) -> IpAddr {
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == pod.ip().is_ipv4();
        *self.ips().iter().find(of_family).expect("a lab's node has both families")
    }

    /// A port of its first address.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// Where the daemon of this node has its files.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Where the namespaces of its pods are mounted.
    pub fn pod_netns(&self) -> PathBuf {
        self.0.folder.join("netns")
    }

    /// What a shell's command prints, run on the node.
    ///
    /// # Errors
    /// When it reports a failure.
    pub fn sh(&self, command: &str) -> Result<String, LabError> {
        crate::program::run(&mut self.0.netns.shell(command), None)
    }

    /// How a shell's command ends, run on the node.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, command: &str) -> Result<Finished, LabError> {
        crate::pod::piped(&self.0.netns, command, command)?.finish()
    }

    /// Starts a program on the node.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Process, LabError> {
        let name = format!("{} on {}", command.get_program().display(), self.name());
        Ok(Process::new(name, self.0.netns.spawn(command)?))
    }

    /// Serves on a port of the node itself.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn serve(&self, port: u16, handler: Handler) -> Result<Server, LabError> {
        Server::start(&self.0.netns, std::net::Ipv6Addr::UNSPECIFIED.into(), port, handler)
    }

    /// Its end of the wire, as it is called in the wire's namespace.
    pub(crate) fn port(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn ranges(&self) -> &[Range] {
        &self.0.ranges
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (network, _) = text.split_once('/')?;
        let gateway = match network.parse().ok()? {
            IpAddr::V4(ip) => IpAddr::from((u32::from(ip) + 1).to_be_bytes()),
            IpAddr::V6(ip) => IpAddr::from((u128::from(ip) + 1).to_be_bytes()),
        };
        Some(Self { text: text.to_owned(), gateway })
    }
}
