//! Who is measured, each with nodes and pods of its own.

use std::path::PathBuf;
use std::time::Duration;

use harness::{
    Cluster, Foreign, Lab, LabError, Marker, Mesh, MeshOptions, Pod, PodSpec, Process, eventually,
};

use crate::bench::peer;
use crate::error::XtaskError;

/// Who is measured.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Without a mesh.
    Direct,
    /// Through a build of our own.
    Ours { name: &'static str, program: PathBuf },
    /// Through what a command of the caller's puts there.
    Peer { command: String },
}

/// A contender with everything running.
pub(super) struct Contender {
    pub(super) name: String,
    // Servers and daemons end before their namespaces do.
    _servers: Vec<Process>,
    world: World,
}

pub(super) enum World {
    Direct(Lab),
    Ours(Mesh),
    Peer { peer: Foreign, lab: Lab },
}

impl Kind {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Ours { name, .. } => name,
            Self::Peer { .. } => "peer",
        }
    }
}

impl Contender {
    /// Brings up nodes, pods, servers and the mesh, and makes sure that it carries what it should.
    pub(super) fn start(kind: &Kind) -> Result<Self, XtaskError> {
        println!("starting {}", kind.name());
        let lab = Lab::up(&cluster())?;
        // The same for all, whatever this machine prefers: what paces its packets would be measured instead of proxies.
        let congestion = format!("sysctl -qw net.ipv4.tcp_congestion_control={CONGESTION}");
        lab.pods().iter().try_for_each(|pod| pod.sh(&congestion).map(drop))?;
        lab.nodes().iter().try_for_each(|node| node.sh(&congestion).map(drop))?;
        let servers =
            [SERVER, LOCAL].iter().map(|key| serve(&lab.pod(key))).collect::<Result<Vec<_>, _>>()?;
        let servers = servers.into_iter().flatten().collect();
        let contender =
            Self { name: kind.name().to_owned(), _servers: servers, world: World::start(kind, lab, false)? };
        contender.check()?;
        Ok(contender)
    }

    pub(super) fn client(&self) -> Pod {
        self.world.lab().pod(CLIENT)
    }

    /// The server on the other node.
    pub(super) fn server(&self) -> Pod {
        self.world.lab().pod(SERVER)
    }

    /// The server on the client's node.
    pub(super) fn local(&self) -> Pod {
        self.world.lab().pod(LOCAL)
    }

    /// The processes that carry what is measured.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.world.pids()
    }

    /// A mark in a request is on the wire between the nodes exactly if nobody encrypts.
    fn check(&self) -> Result<(), XtaskError> {
        let (lab, mark) = (self.world.lab(), Marker::random()?);
        let capture = lab.capture()?;
        self.client().sh(&format!("curl -sS -m 10 http://{}/{mark}", self.server().at(HTTP)))?;
        let packets = capture.stop(lab)?;
        let (marked, direct) = (packets.holding(mark.as_bytes()), matches!(self.world, World::Direct(_)));
        if (marked > 0) == direct {
            return Ok(());
        }
        let problem = format!("{marked} of {} packets held a request in plaintext", packets.len());
        Err(XtaskError::Unreadable { what: format!("what {} does", self.name), problem })
    }
}

impl World {
    /// Brings up the mesh in a lab. With `scale`, that has taken in many more manifests.
    pub(super) fn start(kind: &Kind, lab: Lab, scale: bool) -> Result<Self, XtaskError> {
        Ok(match kind {
            Kind::Direct => Self::Direct(lab),
            Kind::Ours { program, .. } => {
                let patience = if scale { SCALE_PATIENCE } else { harness::PATIENCE };
                let program = Some(program.clone());
                Self::Ours(Mesh::on(
                    lab,
                    &MeshOptions { program, patience, large: scale, ..MeshOptions::default() },
                )?)
            }
            Kind::Peer { command } => {
                let pods =
                    [("CLIENT", lab.pod(CLIENT)), ("SERVER", lab.pod(SERVER)), ("LOCAL", lab.pod(LOCAL))];
                Self::Peer { peer: peer::start(command, &lab, &pods, scale)?, lab }
            }
        })
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        match self {
            Self::Direct(_) => Vec::new(),
            Self::Ours(mesh) => mesh.daemons().iter().filter_map(harness::Daemon::pid).collect(),
            Self::Peer { peer, .. } => peer.pids().to_vec(),
        }
    }

    pub(super) const fn lab(&self) -> &Lab {
        match self {
            Self::Direct(lab) | Self::Peer { lab, .. } => lab,
            Self::Ours(mesh) => mesh.lab(),
        }
    }
}

/// A client and a server on the first node, a server on the second.
pub(super) fn cluster() -> Cluster {
    let mut cluster = Cluster::two_nodes();
    cluster.ambient("bench");
    for (key, node) in [(CLIENT, "node1"), (LOCAL, "node1"), (SERVER, "node2")] {
        let name = key.trim_start_matches("bench/");
        cluster.pod(PodSpec::new("bench", name).node(node));
    }
    cluster
}

fn serve(pod: &Pod) -> Result<[Process; 2], XtaskError> {
    // A new connection for each request uses up ports faster than they come free.
    pod.sh("sysctl -qw net.ipv4.ip_local_port_range='1024 65000' net.ipv4.tcp_tw_reuse=1")?;
    let this = std::env::current_exe()?;
    let http = pod.spawn(&format!("{} serve {HTTP} >/dev/null", this.display()))?;
    let iperf = pod.spawn("iperf3 -s >/dev/null")?;
    let listens = |port| {
        let connected = move || Ok::<_, LabError>(pod.connect(pod.at(port)).ok());
        eventually("a server did not come up", connected)
    };
    listens(HTTP)?;
    listens(IPERF)?;
    Ok([http, iperf])
}

/// The congestion control of all namespaces: what every kernel allows in any. It does not pace, and as nothing is lost on
/// the way it does what Linux's own default does.
pub(super) const CONGESTION: &str = "reno";

/// Where wrk asks.
pub(super) const HTTP: u16 = 8080;

/// Where iperf3 sends.
pub(super) const IPERF: u16 = 5201;

const CLIENT: &str = "bench/client";
const SERVER: &str = "bench/server";
const LOCAL: &str = "bench/local";

/// For taking in 100,000 manifests.
const SCALE_PATIENCE: Duration = Duration::from_secs(120);
