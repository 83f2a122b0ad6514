//! What no single value can tell: missing options, and options that contradict each other.

use std::time::Duration;

use daemon::config::{ConfigError, ConfigErrors};
use daemon::logs::Level;

use crate::config::Config;

/// Checks a configuration as a whole.
pub(super) fn check(config: &Config) -> Result<(), ConfigErrors> {
    let found = missing(config).chain(addresses(config)).chain(amounts(config)).chain(texts(config));
    let errors: Vec<_> = found.map(|(key, problem)| ConfigError::Conflict { key, problem }).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.into_iter().collect()) }
}

fn missing(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let is_unknown = is_empty(&config.ca.node_key) && config.ca.token_file.is_none();
    // What has a token and one pod proves itself by the one, and is told of the other's node.
    let needs_node = config.pod.is_none() || config.ca.token_file.is_none();
    let needed = [
        ("node", needs_node && config.node.is_empty(), "the name of this node, as Pods name it"),
        ("source.manifests", is_empty(&config.source.manifests), "where the mesh is described"),
        ("ca.address", config.ca.address.is_empty(), "who signs certificates"),
        ("ca.roots", is_empty(&config.ca.roots), "the roots that the CA's certificate comes from"),
        ("ca.nodeKey", is_unknown, "the key by which the CA knows this node, or a ca.tokenFile"),
    ];
    let absent = needed.into_iter().filter(|(_, absent, _)| *absent);
    let absent = absent.map(|(key, _, what)| (key, format!("is missing: {what}")));
    let both = config.ca.token_file.is_some() && !is_empty(&config.ca.node_key);
    let both = both.then(|| ("ca.tokenFile", "must not be set beside ca.nodeKey".to_owned()));
    let own = config.pod.is_some() && config.listen.metrics_pod.is_some();
    let own = own.then(|| {
        let problem =
            "must not be set beside pod, whose metrics are reached in tunnels as all that it serves";
        ("listen.metricsPod", problem.to_owned())
    });
    absent.chain(both).chain(own)
}

fn addresses(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let listen = &config.listen;
    let public = listen.admin.filter(|addr| !addr.ip().to_canonical().is_loopback());
    let public = public.map(|addr| ("listen.admin", format!("{addr} is not a loopback address")));
    let all = [
        ("listen.admin", listen.admin),
        ("listen.metrics", listen.metrics),
        ("listen.readiness", listen.readiness),
    ];
    let mut taken: Vec<(&str, u16)> = Vec::new();
    let mut twice = Vec::new();
    for (key, addr) in all {
        let Some(port) = addr.map(|addr| addr.port()).filter(|port| *port != 0) else { continue };
        match taken.iter().find(|(_, other)| *other == port) {
            Some((other, _)) => twice.push((key, format!("port {port} is taken by {other}"))),
            None => taken.push((key, port)),
        }
    }
    let ca = &config.ca.address;
    let host = ca.strip_prefix("https://").unwrap_or(ca);
    let port = host.rsplit_once(':').and_then(|(name, port)| (!name.is_empty()).then(|| port.parse::<u16>()));
    let wrong_ca = !ca.is_empty() && (!matches!(port, Some(Ok(1..))) || host.contains('/'));
    let wrong_ca =
        wrong_ca.then(|| ("ca.address", format!("{ca:?} is neither host:port nor https://host:port")));
    public.into_iter().chain(twice).chain(wrong_ca)
}

fn amounts(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let (timeouts, limits) = (&config.timeouts, &config.limits);
    let durations = [
        ("timeouts.handshake", timeouts.handshake),
        ("timeouts.connect", timeouts.connect),
        ("timeouts.request", timeouts.request),
        ("timeouts.idleInbound", timeouts.idle_inbound),
        ("timeouts.idleTunnel", timeouts.idle_tunnel),
        ("ca.certificateTtl", config.ca.certificate_ttl),
    ];
    let zero = durations.into_iter().filter(|(_, duration)| duration.is_zero());
    let zero = zero.map(|(key, _)| (key, "must be more than zero".to_owned()));
    let counts = [
        ("limits.handshakes", limits.handshakes),
        ("limits.handshakesPerSource", limits.handshakes_per_source),
        ("limits.connectionsPerPod", limits.connections_per_pod),
        ("limits.metricSeries", limits.metric_series),
        ("limits.tunnels", limits.tunnels),
        ("limits.tunnelsPerSource", limits.tunnels_per_source),
    ];
    let none = counts.into_iter().filter(|(_, count)| *count == 0);
    let none = none.map(|(key, _)| (key, "must be 1 or more".to_owned()));
    let short = (timeouts.request < timeouts.connect).then(|| {
        let problem = "must not be less than timeouts.connect: the peer dials before it answers";
        ("timeouts.request", problem.to_owned())
    });
    let hasty = timeouts.unacknowledged.is_some_and(|limit| limit < timeouts.connect).then(|| {
        let problem = "must not be less than timeouts.connect: it would end connections before they are up";
        ("timeouts.unacknowledged", problem.to_owned())
    });
    let eager = (timeouts.idle_inbound <= timeouts.idle_tunnel).then(|| {
        let problem = "must be more than timeouts.idleTunnel: who opened a tunnel is to close it first";
        ("timeouts.idleInbound", problem.to_owned())
    });
    let long = (config.path.linger > MAX_LINGER)
        .then(|| ("path.linger", "must be 1ms or less: the processor is busy all the while".to_owned()));
    let brief = config.ca.certificate_ttl < MIN_TTL && !config.ca.certificate_ttl.is_zero();
    let brief = brief.then(|| ("ca.certificateTtl", format!("must be {}s or more", MIN_TTL.as_secs())));
    zero.chain(none).chain(short).chain(hasty).chain(eager).chain(long).chain(brief)
}

fn texts(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let level = Level::check(&config.log.level).err().map(|error| ("log.level", error.to_string()));
    let mesh = &config.mesh;
    let names = [
        ("mesh.clusterDomain", &mesh.cluster_domain),
        ("mesh.clusterId", &mesh.cluster_id),
        ("mesh.rootNamespace", &mesh.root_namespace),
        ("ca.serverName", &config.ca.server_name),
    ];
    let empty = names.into_iter().filter(|(_, name)| name.is_empty());
    let own = config.trust.federated.contains_key(&mesh.trust_domain);
    let own = own.then(|| ("trust.federated", "must not contain mesh.trustDomain".to_owned()));
    let alias = mesh.trust_domain_aliases.contains(&mesh.trust_domain);
    let alias = alias.then(|| ("mesh.trustDomainAliases", "must not contain mesh.trustDomain".to_owned()));
    let unknown =
        config.trust.federated_crls.keys().find(|domain| !config.trust.federated.contains_key(*domain));
    let unknown =
        unknown.map(|domain| ("trust.federatedCrls", format!("{domain} is not in trust.federated")));
    let empty = empty.map(|(key, _)| (key, "must not be empty".to_owned()));
    level.into_iter().chain(empty).chain(own).chain(alias).chain(unknown)
}

fn is_empty(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}

/// Lingering longer than this gains nothing that a sleep would lose.
const MAX_LINGER: Duration = Duration::from_millis(1);

/// A certificate is renewed at half its life, with some room for a CA that is slow.
const MIN_TTL: Duration = Duration::from_secs(10);
