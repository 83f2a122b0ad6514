//! A pod.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::cluster::Document;
use crate::lab::{WIRE_V4, WIRE_V6};
use crate::process::Process;
use crate::serve::{Handler, Server};
use crate::sweep::Tag;
use crate::wiring::{self, Plug};
use crate::{Finished, LabError, Netns, Node, PATIENCE, netns, program};

/// A pod: a namespace plugged into its node. Clones are the same pod; gone with its lab.
#[derive(Clone, Debug)]
pub struct Pod(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    namespace: String,
    name: String,
    uid: String,
    account: String,
    node: Node,
    /// Its interface on the node.
    link: String,
    netns: Netns,
    addresses: Vec<IpAddr>,
    /// Where the daemon of its node finds the namespace.
    mounted: PathBuf,
}

impl Pod {
    /// Makes pods real, on their nodes, each with an interface of that number.
    pub(crate) fn start_all(specs: &[(&Document, &Node, usize)], tag: &Tag) -> Result<Vec<Self>, LabError> {
        // The number keeps a pod apart from its predecessor of the same name, whose namespace may live on.
        let name = |(document, _, link): &(&Document, &Node, usize)| {
            tag.netns(&format!("{}-{}-{link}", document.namespace(), document.name()))
        };
        netns::create(&specs.iter().map(name).collect::<Vec<_>>())?;
        let pod =
            |spec: &(&Document, &Node, usize)| Self::of(spec.0, spec.1, Netns::open(name(spec))?, spec.2);
        let pods = specs.iter().map(pod).collect::<Result<Vec<_>, _>>()?;
        let plug = |Self(it): &Self| Plug::new(&it.node, &it.link, it.netns.name(), &it.addresses);
        let plugs: Vec<_> = pods.iter().map(|it| (&it.0.node, &it.0.netns, plug(it))).collect();
        wiring::plug(&plugs)?;
        pods.iter().zip(specs).try_for_each(|(pod, (document, ..))| pod.furnish(document))?;
        Ok(pods)
    }

    fn of(document: &Document, node: &Node, netns: Netns, link: usize) -> Result<Self, LabError> {
        let addresses = document.addresses("/status/podIPs", "ip")?;
        if addresses.is_empty() {
            return Err(document.wrong("a lab's pod needs status.podIPs"));
        }
        Ok(Self(Arc::new(Parts {
            namespace: document.namespace().to_owned(),
            name: document.name().to_owned(),
            uid: document.text("/metadata/uid").to_owned(),
            account: document.text("/spec/serviceAccountName").to_owned(),
            node: node.clone(),
            link: format!("pod{link}"),
            mounted: node.pod_netns().join(netns.name()),
            netns,
            addresses,
        })))
    }

    /// Gives it its files, and its daemon its namespace.
    fn furnish(&self, document: &Document) -> Result<(), LabError> {
        let Parts { netns, addresses, mounted, .. } = &*self.0;
        netns::write_etc(netns.name(), "resolv.conf", &resolv_conf(document, addresses))?;
        bind(&netns.path(), mounted)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// Its service account.
    pub fn account(&self) -> &str {
        &self.0.account
    }

    /// Its SPIFFE id in the default trust domain.
    pub fn identity(&self) -> String {
        format!("spiffe://cluster.local/ns/{}/sa/{}", self.0.namespace, self.0.account)
    }

    /// The node that it runs on.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.0.netns
    }

    /// Where the daemon of its node finds its network namespace.
    pub fn mounted(&self) -> &Path {
        &self.0.mounted
    }

    /// Its addresses, primary first.
    pub fn ips(&self) -> &[IpAddr] {
        &self.0.addresses
    }

    /// Its primary address.
    pub fn ip(&self) -> IpAddr {
        self.0.addresses[0]
    }

    /// Its IPv6 address, if it has one.
    pub fn v6(&self) -> Option<IpAddr> {
        self.0.addresses.iter().copied().find(IpAddr::is_ipv6)
    }

    /// A port of its primary address.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// Connects from inside the pod. Reads and writes give up after [`PATIENCE`].
    ///
    /// # Errors
    /// What connect(2) reports.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.attempt(to)?.1
    }

    /// [`Pod::connect`], and the own address that it is tried from: a connection may be reset before it can be asked.
    ///
    /// # Errors
    /// When there is no socket for it.
    pub fn attempt(&self, to: SocketAddr) -> io::Result<(SocketAddr, io::Result<TcpStream>)> {
        let own = self.0.addresses.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).copied();
        let own = if to.ip().is_loopback() { None } else { own };
        let socket = self.0.netns.within(|| Socket::new(Domain::for_address(to), Type::STREAM, None))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_tcp_nodelay(true)?;
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(own.unwrap_or(any), 0).into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let connected = socket.connect_timeout(&to.into(), PATIENCE);
        Ok((local, connected.map(|()| socket.into())))
    }

    /// Listens on all addresses of the pod; port 0 is any.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let any = self.any();
        self.0.netns.within(|| TcpListener::bind((any, port)))
    }

    /// A UDP socket of the pod; port 0 is any. Reads give up after [`PATIENCE`].
    ///
    /// # Errors
    /// When the port is taken.
    pub fn udp(&self, port: u16) -> io::Result<UdpSocket> {
        let any = self.any();
        let socket = self.0.netns.within(|| UdpSocket::bind((any, port)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// Serves on a port of the pod; port 0 is any.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn serve(&self, port: u16, handler: Handler) -> Result<Server, LabError> {
        Server::start(&self.0.netns, self.any(), port, handler)
    }

    /// What a shell's command prints, run in the pod.
    ///
    /// # Errors
    /// When it reports a failure.
    pub fn sh(&self, command: &str) -> Result<String, LabError> {
        program::run(&mut self.0.netns.shell(command), None)
    }

    /// How a shell's command ends, run in the pod.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, command: &str) -> Result<Finished, LabError> {
        self.spawn(command)?.finish()
    }

    /// Starts a shell's command in the pod.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &str) -> Result<Process, LabError> {
        piped(&self.0.netns, command, &format!("exec {command}"))
    }

    /// Starts a program in the pod.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Process, LabError> {
        let name = format!("{} in {}/{}", command.get_program().display(), self.namespace(), self.name());
        Ok(Process::new(name, self.0.netns.spawn(command)?))
    }

    /// The pod's own resolver configuration.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        netns::etc_of(self.0.netns.name()).join("resolv.conf")
    }

    /// Takes the namespaces of pods away, as a runtime does that removes them; what their processes hold of them lives on.
    pub(crate) fn remove_all(pods: &[Self]) {
        for Self(pod) in pods {
            let _unmounted = umount2(&pod.mounted, MntFlags::MNT_DETACH);
            let _removed = fs::remove_file(&pod.mounted);
        }
        // The interface goes first: a namespace that is held open would keep the address on the node.
        wiring::unplug(pods.iter().map(|Self(pod)| (&pod.node, &*pod.link)));
        pods.iter().for_each(|Self(pod)| netns::delete(pod.netns.name()));
    }

    fn any(&self) -> IpAddr {
        if self.v6().is_some() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
    }
}

/// Starts a line of the shell in the namespace. It is there from its first moment: whoever clears the namespace finds it.
pub(crate) fn piped(netns: &Netns, name: &str, line: &str) -> Result<Process, LabError> {
    let mut shell = netns.shell(line);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Process::new(name, netns.spawn(&mut shell)?))
}

/// What a kubelet writes for `dnsPolicy: ClusterFirst`, where the cluster's DNS service is the one outside; with the
/// policy `None`, what `dnsConfig` says.
fn resolv_conf(document: &Document, addresses: &[IpAddr]) -> String {
    if document.text("/spec/dnsPolicy") == "None" {
        let list =
            |pointer| document.value().pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let texts = |pointer| list(pointer).filter_map(Value::as_str);
        let servers = texts("/spec/dnsConfig/nameservers").map(|server| format!("nameserver {server}\n"));
        let searches = texts("/spec/dnsConfig/searches").map(|domain| format!("search {domain}\n"));
        return servers.chain(searches).collect();
    }
    let (server, domain) = (if addresses[0].is_ipv4() { WIRE_V4 } else { WIRE_V6 }, "cluster.local");
    let search = format!("{}.svc.{domain} svc.{domain} {domain}", document.namespace());
    format!("nameserver {server}\nsearch {search}\noptions ndots:5\n")
}

fn bind(from: &Path, to: &Path) -> Result<(), LabError> {
    File::create(to).map_err(LabError::file(to))?;
    let none: Option<&str> = None;
    let bound = mount(Some(from), to, none, MsFlags::MS_BIND, none);
    bound.map_err(|errno| LabError::File { path: to.to_owned(), source: errno.into() })
}
