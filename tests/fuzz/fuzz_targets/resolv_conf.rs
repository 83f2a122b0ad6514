//! A node's resolver configuration, and what a pod's resolver makes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ztunnel::dns::{ClusterNames, DnsPolicy, PodResolver, ResolvConf};

fuzz_target!(|text: &str| {
    let conf = ResolvConf::parse(text);
    assert!(conf.servers.len() <= 3 && conf.ndots.is_none_or(|ndots| ndots <= 15));
    for policy in [DnsPolicy::ClusterFirst, DnsPolicy::Default, DnsPolicy::None] {
        let pod = PodResolver { policy, ..PodResolver::default() };
        let cluster = ClusterNames { domain: "cluster.local".to_owned(), servers: Vec::new() };
        let view = pod.view("shop", &cluster, &conf);
        assert!(view.servers.len() <= 3 && view.searches.len() <= 32);
        assert!(view.searches.iter().all(|it| !it.is_empty() && *it == it.to_ascii_lowercase()));
    }
});
