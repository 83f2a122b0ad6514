//! How a pod resolves names: `dnsPolicy` and `dnsConfig` of its spec, as a kubelet reads them.

use std::net::IpAddr;

use super::ResolvConf;

/// What a pod's spec says about resolving names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodResolver {
    /// `dnsPolicy`.
    pub policy: DnsPolicy,
    /// `dnsConfig.nameservers`.
    pub nameservers: Vec<IpAddr>,
    /// `dnsConfig.searches`.
    pub searches: Vec<String>,
    /// `dnsConfig.options`, `ndots`.
    pub ndots: Option<u8>,
}

/// `dnsPolicy` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's name servers.
    #[default]
    ClusterFirst,
    /// The same, for pods in their node's network.
    ClusterFirstWithHostNet,
    /// The node's name servers.
    Default,
    /// Only what `dnsConfig` says.
    None,
}

/// What the cluster says about resolving names: the same for all pods of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNames {
    /// DNS suffix of the cluster.
    pub domain: String,
    /// Addresses of the cluster's name servers; may be empty.
    pub servers: Vec<IpAddr>,
}

/// What a pod's resolver does in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverView {
    /// Where it asks, in this order; empty when nothing says.
    pub servers: Vec<IpAddr>,
    /// What it appends to names, in this order; in lower case, without dots around.
    pub searches: Vec<String>,
    /// Names with fewer dots are searched for.
    pub ndots: usize,
}

impl PodResolver {
    /// What the pod's resolver does, in `namespace` on a node with this configuration.
    pub fn view(&self, namespace: &str, cluster: &ClusterNames, node: &ResolvConf) -> ResolverView {
        let mut view = match self.policy {
            DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet => {
                let domain = &cluster.domain;
                let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
                let searches = own.iter().chain(&node.searches).cloned().collect();
                ResolverView { servers: cluster.servers.clone(), searches, ndots: CLUSTER_NDOTS }
            }
            DnsPolicy::Default => ResolverView {
                servers: node.servers.clone(),
                searches: node.searches.clone(),
                ndots: node.ndots.map_or(PLAIN_NDOTS, usize::from),
            },
            DnsPolicy::None => ResolverView { ndots: PLAIN_NDOTS, ..ResolverView::default() },
        };
        view.servers.extend_from_slice(&self.nameservers);
        view.searches.extend_from_slice(&self.searches);
        view.ndots = self.ndots.map_or(view.ndots, usize::from);
        view.servers = distinct(view.servers.into_iter().filter(|ip| is_reachable(*ip)), MAX_SERVERS);
        if view.servers.is_empty() {
            let rest = cluster.servers.iter().chain(&node.servers).copied().filter(|ip| is_reachable(*ip));
            view.servers = distinct(rest, MAX_SERVERS);
        }
        view.searches = distinct(view.searches.iter().filter_map(|it| search_domain(it)), MAX_SEARCHES);
        view
    }
}

/// Whether a name server can be asked from within a pod: the node's loopback is not the pod's.
pub(super) const fn is_reachable(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

fn search_domain(text: &str) -> Option<String> {
    let domain = text.trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if kept.len() < most && !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

/// What a kubelet writes for cluster names.
const CLUSTER_NDOTS: usize = 5;
/// resolv.conf(5).
const PLAIN_NDOTS: usize = 1;
/// `MAXNS` of resolv.conf(5), and what Kubernetes admits.
const MAX_SERVERS: usize = 3;
/// What Kubernetes admits.
const MAX_SEARCHES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_first_searches_the_namespace_then_the_cluster_then_what_the_node_does() {
        let view = PodResolver::default().view("shop", &cluster(), &node());
        assert_eq!(view.servers, [ip("10.96.0.10")]);
        assert_eq!(view.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"]);
        assert_eq!(view.ndots, 5);
        let host = PodResolver { policy: DnsPolicy::ClusterFirstWithHostNet, ..PodResolver::default() };
        assert_eq!(host.view("shop", &cluster(), &node()), view);
    }

    #[test]
    fn policy_default_is_the_nodes_own_configuration() {
        let pod = PodResolver { policy: DnsPolicy::Default, ..PodResolver::default() };
        let view = pod.view("shop", &cluster(), &node());
        assert_eq!(view.servers, [ip("192.0.2.53")], "the node's loopback is out of reach");
        assert_eq!((view.searches, view.ndots), (vec!["corp".to_owned()], 2));
    }

    #[test]
    fn policy_none_is_the_pods_own_configuration_alone() {
        let pod = PodResolver {
            policy: DnsPolicy::None,
            nameservers: vec![ip("1.1.1.1"), ip("1.1.1.1")],
            searches: vec!["Example.COM.".to_owned(), ".".to_owned()],
            ndots: Some(3),
        };
        let view = pod.view("shop", &cluster(), &node());
        assert_eq!(view.servers, [ip("1.1.1.1")]);
        assert_eq!((view.searches, view.ndots), (vec!["example.com".to_owned()], 3));
    }

    #[test]
    fn dns_config_adds_to_the_policy() {
        let pod = PodResolver {
            nameservers: vec![ip("1.1.1.1"), ip("10.96.0.10")],
            searches: vec!["example.com".to_owned(), "corp".to_owned()],
            ndots: Some(1),
            ..PodResolver::default()
        };
        let view = pod.view("shop", &cluster(), &node());
        assert_eq!(view.servers, [ip("10.96.0.10"), ip("1.1.1.1")]);
        assert_eq!(view.searches[3..], ["corp", "example.com"]);
        assert_eq!(view.ndots, 1);
    }

    #[test]
    fn without_name_servers_of_its_own_a_pod_has_the_clusters_then_the_nodes() {
        let none = PodResolver { policy: DnsPolicy::None, ..PodResolver::default() };
        let servers = [ip("10.96.0.10"), ip("192.0.2.53")];
        assert_eq!(none.view("shop", &cluster(), &node()).servers, servers);
        let bare = ClusterNames { servers: Vec::new(), ..cluster() };
        assert_eq!(PodResolver::default().view("shop", &bare, &node()).servers, [ip("192.0.2.53")]);
    }

    fn cluster() -> ClusterNames {
        ClusterNames { domain: "cluster.local".to_owned(), servers: vec![ip("10.96.0.10")] }
    }

    fn node() -> ResolvConf {
        ResolvConf {
            servers: vec![ip("127.0.0.53"), ip("192.0.2.53")],
            searches: vec!["corp".to_owned()],
            ndots: Some(2),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
