//! A pod and a peer: two network namespaces, joined by a veth pair, gone when the lab is dropped.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ztunnel::netns::{PodNetns, in_netns};
use ztunnel::redirect::{Capture, CaptureOptions, Marks, PodListeners, PodSockets, SocketTuning};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    V4,
    V6,
    Dual,
}

/// `pod` is captured, `peer` stands for everything outside of it.
pub(crate) struct Lab {
    pub(crate) pod: Arc<PodNetns>,
    pub(crate) peer: Arc<PodNetns>,
    stack: Stack,
    names: [String; 3],
}

pub(crate) struct Captured {
    pub(crate) capture: Capture,
    pub(crate) listeners: PodListeners,
    pub(crate) sockets: PodSockets,
}

impl Lab {
    pub(crate) fn new(stack: Stack) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("rdt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let names = ["p", "q", "r"].map(|it| format!("{tag}{it}"));
        for name in &names[..2] {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        let [pod, peer, _] = &names;
        ip(&format!("-n {pod} link add eth0 type veth peer name eth0 netns {peer}"));
        for (name, host) in [(pod, 2), (peer, 1)] {
            if stack == Stack::V4 {
                sh(&format!("ip netns exec {name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"));
            } else {
                ip(&format!("-n {name} addr add fd00:77::{host}/64 dev eth0 nodad"));
            }
            if stack != Stack::V6 {
                ip(&format!("-n {name} addr add 10.77.0.{host}/24 dev eth0"));
            }
            ip(&format!("-n {name} link set eth0 up"));
        }
        if stack != Stack::V6 {
            ip(&format!("-n {pod} route add default via 10.77.0.1"));
        }
        if stack != Stack::V4 {
            ip(&format!("-n {pod} -6 route add default via fd00:77::1"));
        }
        let open = |name: &String| Arc::new(PodNetns::open(&netns_path(name)).unwrap());
        Self { pod: open(pod), peer: open(peer), stack, names }
    }

    pub(crate) fn pod_name(&self) -> &str {
        &self.names[0]
    }

    pub(crate) fn pod_path(&self) -> PathBuf {
        netns_path(self.pod_name())
    }

    /// Takes the pod's namespace away from where it is mounted.
    pub(crate) fn delete_pod(&self) {
        ip(&format!("netns del {}", self.pod_name()));
    }

    /// Descriptors of this process that hold the pod's namespace; one is the lab's own.
    pub(crate) fn open_descriptors(&self) -> usize {
        let holds = |link: PathBuf| std::fs::metadata(link).is_ok_and(|it| it.ino() == self.pod.inode());
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        links.filter(|link| link.as_ref().is_ok_and(|it| holds(it.path()))).count()
    }

    /// Addresses of the pod, one of each family that it has.
    pub(crate) fn pod_ips(&self) -> Vec<IpAddr> {
        self.of_stack("10.77.0.2", "fd00:77::2")
    }

    /// Addresses of the peer, one of each family that it has.
    pub(crate) fn peer_ips(&self) -> Vec<IpAddr> {
        self.of_stack("10.77.0.1", "fd00:77::1")
    }

    pub(crate) fn capture(&self) -> Captured {
        self.capture_with(CaptureOptions::default())
    }

    pub(crate) fn capture_with(&self, options: CaptureOptions) -> Captured {
        let marks = Marks::random().unwrap();
        let listeners = PodListeners::open(&self.pod, options.dns, &SocketTuning::default()).unwrap();
        let capture = Capture::install(self.pod.clone(), marks, options).unwrap();
        capture.verify(&listeners).unwrap();
        let sockets = PodSockets::new(self.pod.clone(), marks, SocketTuning::default());
        Captured { capture, listeners, sockets }
    }

    /// What `command` prints, run in the pod.
    pub(crate) fn in_pod(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} {command}", self.pod_name()))
    }

    /// What `command` prints, run in the peer.
    pub(crate) fn in_peer(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} {command}", self.names[1]))
    }

    /// A machine inside the pod, at 10.79.0.2 behind the pod's interface k6t0.
    pub(crate) fn behind_the_pod(&self) -> PodNetns {
        let [pod, _, machine] = &self.names;
        ip(&format!("netns add {machine}"));
        ip(&format!("-n {machine} link add eth0 type veth peer name k6t0 netns {pod}"));
        ip(&format!("-n {machine} addr add 10.79.0.2/24 dev eth0"));
        ip(&format!("-n {pod} addr add 10.79.0.1/24 dev k6t0"));
        ip(&format!("-n {pod} link set k6t0 up"));
        ip(&format!("-n {machine} link set eth0 up"));
        ip(&format!("-n {machine} route add default via 10.79.0.1"));
        PodNetns::open(&netns_path(machine)).unwrap()
    }

    /// A client at 10.78.0.2 that reaches the pod through the peer, at 10.78.0.1.
    pub(crate) fn behind_the_peer(&self) -> PodNetns {
        let [_, peer, client] = &self.names;
        ip(&format!("netns add {client}"));
        ip(&format!("-n {client} link add eth0 type veth peer name eth1 netns {peer}"));
        ip(&format!("-n {client} addr add 10.78.0.2/24 dev eth0"));
        ip(&format!("-n {peer} addr add 10.78.0.1/24 dev eth1"));
        ip(&format!("-n {peer} link set eth1 up"));
        ip(&format!("-n {client} link set eth0 up"));
        PodNetns::open(&netns_path(client)).unwrap()
    }

    fn of_stack(&self, v4: &str, v6: &str) -> Vec<IpAddr> {
        let both = [(Stack::V6, v4), (Stack::V4, v6)];
        both.iter().filter(|(without, _)| *without != self.stack).map(|(_, ip)| ip.parse().unwrap()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            let _already_gone = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

pub(crate) fn listen(netns: &PodNetns, ip: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = in_netns(netns, || TcpListener::bind((ip, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn dial(netns: &PodNetns, to: SocketAddr) -> io::Result<TcpStream> {
    let stream = in_netns(netns, || TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

pub(crate) fn accept(listener: &socket2::Socket) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(false).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let (socket, from) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket.into(), from.as_socket().unwrap())
}

/// Sends a word each way.
pub(crate) fn assert_talk(one: &mut TcpStream, other: &mut TcpStream) {
    say(one, other, b"ping");
    say(other, one, b"pong");
}

fn say(from: &mut TcpStream, to: &mut TcpStream, word: &[u8; 4]) {
    let mut heard = [0; 4];
    from.write_all(word).unwrap();
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, word);
}

pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip(arguments: &str) {
    sh(&format!("ip {arguments}"));
}

fn netns_path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// How long anything may take that should take no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
