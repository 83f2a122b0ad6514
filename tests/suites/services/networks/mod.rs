//! Services on another network, whose pods have the same addresses as pods here: two meshes, and a gateway between them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use certs::Authority;
use e2e::hbone_server::{Beyond, HBONE, HboneServer};
use harness::{
    Cluster, Lab, LabError, Mesh, MeshOptions, PodSpec, Stack, WIRE_V4, WIRE_V6, eventually, serve,
};
use serde_json::{Value, json};

mod around;
mod reach;
mod trouble;

/// Two meshes of one root, on networks of their own.
pub(crate) struct Networks {
    pub(crate) west: Mesh,
    pub(crate) east: Mesh,
    /// Knows [`GATE`] as the world outside of the west.
    _dns: serve::Dns,
    authority: Authority,
    /// Where gateways take tunnels, one after the other: a socket that is closed may live on for a moment in a process that
    /// another test has just forked.
    listener: TcpListener,
    stack: Stack,
}

impl Networks {
    pub(crate) fn up(stack: Stack) -> Result<Self, LabError> {
        Self::with(stack, json!({}))
    }

    /// The same; the west's daemon differs from the usual by `config`.
    pub(crate) fn with(stack: Stack, mut config: Value) -> Result<Self, LabError> {
        let lab = Lab::up(&west(stack))?;
        let wire = if stack.v4() { WIRE_V4 } else { WIRE_V6 };
        // Nothing takes tunnels at the first address of the second name.
        let both = [lab.pod("legacy/decoy").ip(), wire];
        let dns = serve::Dns::start(lab.wire(), &[(GATE, &[wire]), (GATES, &both)])?;
        let resolvers = lab.folder().join("resolv.conf");
        fs::write(&resolvers, format!("nameserver {wire}\n"))?;
        config["dns"] = json!({ "resolvConf": resolvers });
        let listener = lab.wire().within(|| TcpListener::bind((wire, HBONE)))?;
        let west = Mesh::on(lab, &options("west", config, Vec::new(), "node2"))?;
        let root = |name: &str| fs::read_to_string(west.ca().root_folder().join(name));
        let (certificate, key) = (root("root-cert.pem")?, root("root-key.pem")?);
        let authority = Authority::from_pem(&certificate, &key).map_err(io::Error::other)?;
        let files = vec![("root-cert.pem".to_owned(), certificate), ("root-key.pem".to_owned(), key)];
        let path = json!({ "path": { "strangers": "refuse" } });
        let east = Mesh::with(&east(stack), &options("east", path, files, "node1"))?;
        east.apply(&example("east")?)?;
        let node = east.daemon("node2");
        eventually("the gateway and its clients are known", || {
            let workloads = node.get("/config_dump/workloads")?.json()?;
            let is = |wanted: &dyn Fn(&Value) -> bool| {
                workloads.as_array().is_some_and(|all| all.iter().any(|it| wanted(&it["profile"])))
            };
            let knows = is(&|it| it["network_gateway"] == true) && is(&|it| it["network"] == "west");
            Ok(knows.then_some(()))
        })?;
        Ok(Self { west, east, _dns: dns, authority, listener, stack })
    }

    /// A gateway into the east, that shows itself as that.
    pub(crate) fn gateway(&self, identity: &str) -> Result<HboneServer, LabError> {
        self.gateway_to(identity, self.east.pod("shop/server").at(HBONE))
    }

    /// The same, that leads somewhere else there.
    pub(crate) fn gateway_to(&self, identity: &str, to: SocketAddr) -> Result<HboneServer, LabError> {
        let listener = self.listener.try_clone()?;
        let beyond = Beyond { from: self.east.pod("istio-system/gateway"), to, baggage: None };
        Ok(HboneServer::start(listener, &self.authority, identity, beyond)?)
    }

    /// Ends tunnels at the gateway's pod, shows itself as that, and says that it is somebody.
    pub(crate) fn server(
        &self,
        identity: &str,
        to: SocketAddr,
        baggage: Option<&str>,
    ) -> Result<HboneServer, LabError> {
        let from = self.east.pod("istio-system/gateway");
        let (listener, baggage) = (from.listen(0)?, baggage.map(str::to_owned));
        Ok(HboneServer::start(listener, &self.authority, identity, Beyond { from, to, baggage })?)
    }

    /// Tells the west what is in the east, and through which gateway; waits until its daemon knows.
    pub(crate) fn describe(&self, gateway: Option<&HboneServer>, account: &str) -> Result<(), LabError> {
        let server = self.east.pod("shop/server").ip();
        let vip = if self.stack.v4() { VIP_V4 } else { VIP_V6 }.ip();
        let ip = gateway.map(|gateway| gateway.address().ip().to_string());
        let text = example("west")?
            .replace("203.0.113.10", ip.as_deref().unwrap_or_default())
            .replace("10.96.9.1", &vip.to_string())
            .replace("IPv4", if self.stack.v4() { "IPv4" } else { "IPv6" })
            .replace("10.244.2.11", &server.to_string())
            .replace("serviceAccount: server", &format!("serviceAccount: {account}"));
        let mut documents = text.split("---\n").skip(usize::from(gateway.is_none()));
        documents.try_for_each(|document| self.west.apply(document))?;
        let node = self.west.daemon("node1");
        eventually("the west knows", || {
            let workloads = node.get("/config_dump/workloads")?.json()?;
            let entry = workloads.as_array().into_iter().flatten().find(|it| it["name"] == "remote").cloned();
            let entry = entry.unwrap_or_default();
            let knows = entry["profile"]["service_account"] == account
                && entry["services"].as_array().is_some_and(|services| !services.is_empty());
            Ok(knows.then_some(()))
        })
    }
}

/// A client, one whom the east does not know, and a pod that has the address of the east's server.
fn west(stack: Stack) -> Cluster {
    let mut cluster = Cluster::with_stack(stack);
    cluster.ambient("shop");
    cluster.namespace("legacy");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("legacy", "decoy").node("node2"));
    cluster.pod(PodSpec::new("shop", "stranger").node("node1"));
    cluster
}

/// The server, and where the gateway stands.
fn east(stack: Stack) -> Cluster {
    let mut cluster = Cluster::with_stack(stack);
    cluster.ambient("shop");
    cluster.namespace("istio-system");
    let gateway = PodSpec::new("istio-system", "gateway").account("eastwest").node("node1");
    cluster.pod(gateway.label("gateway.networking.k8s.io/gateway-name", "eastwest"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster
}

/// What an operator is given to begin with.
fn example(name: &str) -> io::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/networks");
    fs::read_to_string(folder.join(name).with_extension("yaml"))
}

fn options(network: &str, more: Value, root: Vec<(String, String)>, foreign: &str) -> MeshOptions {
    // Each worker has tunnels of its own: one makes them countable.
    let mut config = json!({ "workers": 1, "mesh": { "network": network } });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    MeshOptions { config, root, foreign: vec![foreign.to_owned()], ..MeshOptions::default() }
}

/// Whom the west expects at the gateway.
pub(crate) const EASTWEST: &str = "spiffe://cluster.local/ns/istio-system/sa/eastwest";

/// Where the west calls the service.
pub(crate) const VIP_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 9, 1)), 80);

/// The same, where there is IPv6 only.
pub(crate) const VIP_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 9, 1)), 80);

/// A name of the world outside of the west.
pub(crate) const GATE: &str = "gate.test";

/// Another one, of two addresses.
pub(crate) const GATES: &str = "gates.test";
