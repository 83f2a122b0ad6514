use std::path::PathBuf;
use std::sync::Arc;

use ::daemon::metrics::Metrics;
use mesh::Family;
use tokio::task::JoinSet;
use ztunnel::dns::{LookupError, NodeResolver, Resolver};
use ztunnel::netns::in_netns;

use super::scene::Scene;
use super::server::Server;
use crate::lab::{Lab, Stack};

/// The pod's resolver configuration, where `ip netns exec` finds it.
struct ResolvConf(PathBuf);

impl ResolvConf {
    fn write(lab: &Lab, text: &str) -> Self {
        let folder = PathBuf::from("/etc/netns").join(lab.pod_name());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("resolv.conf"), text).unwrap();
        Self(folder)
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_systems_own_resolver_finds_what_it_looks_for() {
    for stack in [Stack::V4, Stack::V6] {
        let scene = Scene::new(stack);
        let text = format!(
            "nameserver {}\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
            scene.servers()[0].ip()
        );
        let _written = ResolvConf::write(&scene.lab, &text);
        for (name, ip) in [
            ("web", "10.96.0.1"),
            ("api.front", "10.96.0.2"),
            ("api.front.svc.cluster.local", "10.96.0.2"),
            ("www.up.test", "2001:db8::53"),
        ] {
            let found = scene.lab.in_pod(&format!("getent hosts {name}"));
            assert!(found.starts_with(&format!("{ip} ")), "{name}: {found}");
        }
        let found = scene.lab.in_pod("getent hosts wub.shop || echo nothing");
        assert_eq!(found, "nothing\n");
    }
}

#[test]
fn the_daemon_finds_addresses_of_names_and_keeps_them() {
    let lab = Lab::new(Stack::Dual);
    let server = Server::bind(&lab.peer, &lab.peer_ips());
    let metrics = Metrics::new("test", "0", 1).unwrap();
    let node = Arc::new(NodeResolver::new("/nonexistent".into()));
    let resolver = Resolver::new(node, lab.peer_ips(), &metrics).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let look_up = async {
        let mut tasks = JoinSet::new();
        server.serve(&mut tasks);
        let both: [std::net::IpAddr; 2] = ["2001:db8::53", "203.0.113.4"].map(|it| it.parse().unwrap());
        assert_eq!(resolver.lookup("www.up.test", Family::V6).await.unwrap(), both);
        assert_eq!(resolver.lookup("www.up.test", Family::V4).await.unwrap(), [both[1], both[0]]);
        let many = resolver.lookup("long.up.test", Family::V4).await.unwrap();
        assert_eq!(many.len(), 200, "cut short in a datagram, whole over TCP");
        assert_eq!(resolver.lookup("nothing.up.test", Family::V4).await, Err(LookupError::NoAddresses));
        assert_eq!(resolver.lookup("unwilling.up.test", Family::V4).await, Err(LookupError::Unanswered));
    };
    in_netns(&lab.pod, || {
        runtime.block_on(look_up);
        Ok(())
    })
    .unwrap();
    assert!(metrics.render().contains("\nistio_on_demand_dns_total 4\n"));
}
