//! The mesh that both sides serve: one node is ours, one is the peer's, and on one the suite itself speaks for the pods.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use harness::serve::{self, Handler, Server};
use harness::{Authority, Cluster, Foreign, LabError, Mesh, MeshOptions, Pod, PodSpec, ServiceSpec, Stack};

/// Ours and the peer's daemon in one mesh.
pub(crate) struct World {
    // The peer ends before its namespaces do.
    peer: Foreign,
    servers: Vec<(Pod, Server)>,
    pub(crate) mesh: Mesh,
}

/// Whose manifests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Ours,
    Peers,
}

impl World {
    /// Brings up the mesh and the peer, with an echo on [`APP`] and what resets on [`RESETTER`] in every pod of theirs.
    ///
    /// # Panics
    /// When nobody has said what the peer is.
    pub(crate) fn up() -> Result<Self, LabError> {
        let command =
            std::env::var("INTEROP_PEER").expect("run by: cargo xtask test interop --peer \"<command>\"");
        let foreign = vec![PEERS_NODE.to_owned(), BARE_NODE.to_owned()];
        let options = MeshOptions { foreign, ..MeshOptions::default() };
        let mesh = Mesh::with(&cluster(View::Ours), &options)?;
        let mut servers = Vec::new();
        for pod in mesh.pods().into_iter().filter(|pod| pod.node().name() != BARE_NODE) {
            servers.push((pod.clone(), pod.serve(APP, serve::echo())?));
            servers.push((pod.clone(), pod.serve(RESETTER, resetter())?));
        }
        let peer = start(&command, &mesh)?;
        Ok(Self { peer, servers, mesh })
    }

    pub(crate) fn pod(&self, name: &str) -> Pod {
        self.mesh.pod(&format!("shop/{name}"))
    }

    /// Whom a pod's servers have seen.
    pub(crate) fn callers_of(&self, name: &str) -> Vec<IpAddr> {
        let of_it = self.servers.iter().filter(|(pod, _)| pod.name() == name);
        of_it.flat_map(|(_, server)| server.peers()).map(|caller| caller.ip().to_canonical()).collect()
    }

    /// Has another daemon of the peer's take over.
    pub(crate) fn upgrade_peer(&mut self) -> Result<(), LabError> {
        self.peer.tell("upgrade", PATIENCE)
    }
}

/// What `view` believes the mesh to be: they differ in who the liars are.
pub(crate) fn cluster(view: View) -> Cluster {
    let mut cluster = Cluster::with_stack(Stack::Dual);
    cluster.node(BARE_NODE);
    cluster.ambient("shop");
    let seen_by = |side: View, real: &'static str| if view == side { "honest" } else { real };
    let pods = [
        ("ours", "node1", "ours"),
        ("theirs", PEERS_NODE, "theirs"),
        ("bare", BARE_NODE, "bare"),
        // Each is somebody else's in the eyes of the other side, whose certificate they have.
        ("our-liar", "node1", seen_by(View::Peers, "ours")),
        ("their-liar", PEERS_NODE, seen_by(View::Ours, "theirs")),
    ];
    for (name, node, account) in pods {
        let pod = PodSpec::new("shop", name).node(node).account(account);
        let pod = match name {
            "theirs" => pod.addresses(&THEIRS.map(address)),
            "bare" => pod.addresses(&BARE.map(address)),
            _ => pod,
        };
        // What Istio's node agent says of pods that it has captured.
        cluster.pod(pod.annotation("ambient.istio.io/redirection", "enabled"));
    }
    for name in ["ours", "theirs", "bare"] {
        cluster.service(ServiceSpec::new("shop", name).port(80, APP));
    }
    cluster
}

/// Resets the connection at the first byte.
fn resetter() -> Handler {
    Handler::each(|mut app| {
        app.read_exact(&mut [0])?;
        socket2::SockRef::from(app).set_linger(Some(Duration::ZERO))
    })
}

/// Both addresses of a pod.
pub(crate) fn both(pod: &Pod, port: u16) -> Vec<SocketAddr> {
    pod.ips().iter().map(|ip| SocketAddr::new(*ip, port)).collect()
}

/// Sends a byte and has it sent back.
pub(crate) fn beat(stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn start(command: &str, mesh: &Mesh) -> Result<Foreign, LabError> {
    let node = mesh.node(PEERS_NODE);
    let manifests = mesh.folder().join("peers-manifests");
    cluster(View::Peers).write(&manifests)?;
    let path = |path: PathBuf| path.display().to_string();
    let mut variables = vec![
        ("INTEROP_NODE_NAME".to_owned(), node.name().to_owned()),
        ("INTEROP_NODE_NETNS".to_owned(), node.netns().name().to_owned()),
        ("INTEROP_NODE_IP".to_owned(), node.ip().to_string()),
        ("INTEROP_MANIFESTS".to_owned(), path(manifests)),
        ("INTEROP_CA_ADDRESS".to_owned(), Authority::address(node)),
        ("INTEROP_CA_NAME".to_owned(), Authority::NAME.to_owned()),
        ("INTEROP_CA_ROOTS".to_owned(), path(mesh.ca().roots())),
        ("INTEROP_CA_TOKEN".to_owned(), path(Authority::token(node))),
    ];
    let pods: Vec<_> = mesh.pods().into_iter().filter(|pod| pod.node().name() == PEERS_NODE).collect();
    variables.push(("INTEROP_PODS".to_owned(), pods.len().to_string()));
    for (number, pod) in pods.iter().enumerate() {
        let mut facts = Foreign::variables(&format!("INTEROP_POD_{}", number + 1), pod);
        if pod.name() == "their-liar" {
            let account = facts.iter_mut().find(|(name, _)| name.ends_with("_ACCOUNT"));
            account.expect("a pod has an account").1 = "theirs".to_owned();
        }
        variables.extend(facts);
    }
    Foreign::start(command, &variables, PATIENCE)
}

/// The node that the peer serves.
const PEERS_NODE: &str = "node2";

/// The node whose pods the suite speaks for.
const BARE_NODE: &str = "node3";

/// The port of the pods behind port 80 of the Services.
pub(crate) const APP: u16 = 8080;

/// The port that resets.
pub(crate) const RESETTER: u16 = 8081;

/// Addresses of the peer's pod; given, because transcripts name them.
pub(crate) const THEIRS: [&str; 2] = ["10.244.2.20", "fd00:244:2::20"];

/// Addresses of the pod that the suite speaks for.
pub(crate) const BARE: [&str; 2] = ["10.244.3.20", "fd00:244:3::20"];

/// Address of the third Service, which is of that pod.
pub(crate) const BARE_SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 3));

/// How long a peer may take to be ready: it is somebody else's program, and may be slow to start.
const PATIENCE: Duration = Duration::from_secs(60);
