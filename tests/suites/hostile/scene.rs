//! The mesh that is attacked: a client on one node, a server on the other, and a node without a daemon of ours, where
//! peers live that speak the protocol themselves.

use std::io::{self, Read, Write};
use std::time::Duration;

use certs::Authority;
use e2e::hbone_server::authority_of;
use harness::serve::{self, Server};
use harness::{Cluster, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack};
use rustls_pki_types::UnixTime;
use serde_json::Value;

use crate::peer::{Credential, Peer};

/// A mesh under attack.
pub(crate) struct Scene {
    pub(crate) mesh: Mesh,
    /// The mesh's own CA, as somebody has it who broke into it.
    pub(crate) authority: Authority,
    /// Echoes at port [`ECHO`] of the server.
    pub(crate) echo: Server,
    pids: Vec<Option<u32>>,
}

impl Scene {
    /// A mesh whose daemons differ from the usual by `config`.
    pub(crate) fn up(config: Value) -> Result<Self, LabError> {
        Self::with(&cluster(Stack::V4), config)
    }

    /// The same, of a cluster of the caller's.
    pub(crate) fn with(cluster: &Cluster, config: Value) -> Result<Self, LabError> {
        let options = MeshOptions { config, foreign: vec!["node3".to_owned()], ..MeshOptions::default() };
        let mesh = Mesh::with(cluster, &options)?;
        let authority = authority_of(&mesh)?;
        let echo = mesh.pod("shop/server").serve(ECHO, serve::echo())?;
        let pids = mesh.daemons().iter().map(harness::Daemon::pid).collect();
        Ok(Self { mesh, authority, echo, pids })
    }

    /// The pod whose connections are not to suffer.
    pub(crate) fn client(&self) -> Pod {
        self.mesh.pod("shop/client")
    }

    /// The pod that is attacked.
    pub(crate) fn server(&self) -> Pod {
        self.mesh.pod("shop/server")
    }

    /// A tunnel to the server from a pod of the node without a daemon, under the pod's own identity.
    pub(crate) fn peer(&self, pod: &str) -> io::Result<Peer> {
        let pod = self.mesh.pod(pod);
        self.peer_as(&pod, &pod.identity())
    }

    /// The same under any identity.
    pub(crate) fn peer_as(&self, pod: &Pod, identity: &str) -> io::Result<Peer> {
        let credential = Credential::new(&self.authority, identity, UnixTime::now());
        Peer::shake(pod.connect(self.server().at(HBONE))?, Some(&credential))
    }

    /// That the client is served as ever, in a connection of its own, and that no daemon has ended.
    pub(crate) fn check_served(&self) -> Result<(), LabError> {
        let mut stream = self.client().connect(self.server().at(ECHO))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"served?")?;
        let mut heard = [0; 7];
        stream.read_exact(&mut heard)?;
        assert_eq!(&heard, b"served?");
        let pids: Vec<_> = self.mesh.daemons().iter().map(harness::Daemon::pid).collect();
        assert_eq!(pids, self.pids);
        for daemon in self.mesh.daemons() {
            assert_eq!(daemon.get("/healthz/ready")?.status, 200, "it still runs, and is ready");
        }
        Ok(())
    }
}

/// Two nodes with daemons, one without.
pub(crate) fn cluster(stack: Stack) -> Cluster {
    let mut cluster = Cluster::with_stack(stack);
    cluster.node("node3");
    cluster.ambient("shop");
    cluster.namespace("legacy");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster.pod(PodSpec::new("shop", "near").node("node2"));
    cluster.pod(PodSpec::new("shop", "attacker").node("node3"));
    cluster.pod(PodSpec::new("shop", "bystander").node("node3"));
    cluster.pod(PodSpec::new("legacy", "batch").node("node1"));
    cluster
}

/// Where the server echoes.
pub(crate) const ECHO: u16 = 8080;

/// Where peers' tunnels go.
pub(crate) const HBONE: u16 = 15008;

/// How long a client that is served as ever waits.
const SOON: Duration = Duration::from_secs(3);
