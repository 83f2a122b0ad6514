//! Another mesh, of a kind: what the client sends to the server's port crosses the wire with each byte changed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::thread;

use harness::{LabError, Netns};

/// Whether this program was started as the peer.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(PEER).is_some()
}

/// The command that the bench is given: this very program, in which `test` finds that it is to be the peer.
pub(crate) fn command(test: &str) -> io::Result<String> {
    let itself = std::env::current_exe()?;
    Ok(format!("{PEER}=1 exec {} --exact {test} --nocapture", itself.display()))
}

/// Looks whether it is told what it is to be told, and carries requests until it is ended.
pub(crate) fn run() -> Result<(), LabError> {
    let nodes =
        [1, 2].map(|node| (told(&format!("BENCH_NODE{node}_NETNS")), told(&format!("BENCH_NODE{node}_IP"))));
    for (netns, ip) in nodes {
        Netns::open(netns)?;
        ip.parse::<IpAddr>().expect("a node's address");
    }
    assert_eq!(std::env::var_os("BENCH_SCALE"), None);
    let manifests = told("BENCH_MANIFESTS");
    for (role, node) in [("CLIENT", "node1"), ("LOCAL", "node1"), ("SERVER", "node2")] {
        let of = |fact: &str| told(&format!("BENCH_POD_{role}_{fact}"));
        let name = role.to_lowercase();
        assert_eq!(
            (of("NAME"), of("NAMESPACE"), of("ACCOUNT"), of("NODE")),
            (name.clone(), "bench".into(), name.clone(), node.into())
        );
        let manifest = std::fs::read_to_string(format!("{manifests}/pod-bench-{name}.yaml"))?;
        assert!(manifest.contains(&of("UID")) && manifest.contains(&of("IP")), "{manifest}");
    }
    let pod = |role: &str| Netns::open(told(&format!("BENCH_POD_{role}_NETNS")));
    let server = told("BENCH_POD_SERVER_IP").parse().expect("a pod's address");
    let relay = Relay { client: pod("CLIENT")?, server: pod("SERVER")?, ip: server };
    relay.start(HTTP)?;
    println!("\npid {}\nready", std::process::id());
    loop {
        thread::park();
    }
}

/// Both ends of it, in pods' namespaces.
struct Relay {
    client: Netns,
    server: Netns,
    ip: IpAddr,
}

impl Relay {
    /// Carries what the client sends to that port of the server.
    fn start(self, port: u16) -> Result<(), LabError> {
        let near = self.client.within(|| TcpListener::bind(("0.0.0.0", CAPTURED)))?;
        let far = self.server.within(|| TcpListener::bind(("0.0.0.0", TUNNEL)))?;
        let rules = format!(
            "nft 'add table ip relay; add chain ip relay out {{ type nat hook output priority -100; }}; \
             add rule ip relay out ip daddr {} tcp dport {port} redirect to :{CAPTURED}'",
            self.ip
        );
        assert!(self.client.shell(&rules).status()?.success(), "{rules}");
        let Self { client, server, ip } = self;
        serve(near, move || client.within(|| TcpStream::connect((ip, TUNNEL))));
        serve(far, move || server.within(|| TcpStream::connect((ip, port))));
        Ok(())
    }
}

/// Joins each connection with one that is made for it.
fn serve(listener: TcpListener, dial: impl Fn() -> io::Result<TcpStream> + Send + 'static) {
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = dial() else { continue };
            for (from, to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))] {
                let (Ok(from), Ok(to)) = (from, to) else { continue };
                thread::spawn(move || copy(&from, &to));
            }
        }
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    to.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        buffer[..count].iter_mut().for_each(|byte| *byte ^= MASK);
        to.write_all(&buffer[..count])?;
    }
}

/// What the environment says.
fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

/// Set where this program is to be the peer.
const PEER: &str = "BENCH_TEST_PEER";

/// Where the bench's servers answer.
const HTTP: u16 = 8080;

/// Where what the client sends there is redirected to.
const CAPTURED: u16 = 15001;

/// What comes over the wire goes here.
const TUNNEL: u16 = 15008;

/// What bytes differ in on the wire.
const MASK: u8 = 0x5a;
