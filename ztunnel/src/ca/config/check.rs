//! What no single value can tell.

use std::path::Path;

use daemon::config::{ConfigError, ConfigErrors};
use daemon::logs::Level;

use super::CaServerConfig;

/// Checks a configuration as a whole.
pub(super) fn check(config: &CaServerConfig) -> Result<(), ConfigErrors> {
    let found = missing(config).chain(amounts(config)).chain(texts(config));
    let errors: Vec<_> = found.map(|(key, problem)| ConfigError::Conflict { key, problem }).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.into_iter().collect()) }
}

fn missing(config: &CaServerConfig) -> impl Iterator<Item = (&'static str, String)> {
    let (root, trust) = (&config.root, &config.trust);
    let from_files = [
        ("trust.nodes", &trust.nodes, "the public keys of the nodes"),
        ("trust.manifests", &trust.manifests, "who runs on which node"),
    ];
    let is_empty = |path: &Path| path.as_os_str().is_empty();
    let by_files = trust.kubernetes.is_none();
    let absent = from_files.into_iter().filter(move |(_, path, _)| by_files && is_empty(path));
    let folder = ("root.folder", &root.folder, "where the CA's key and certificates are");
    let no_root = is_empty(&root.folder) && root.secret.is_none();
    let absent = [folder].into_iter().filter(move |_| no_root).chain(absent);
    let both = from_files.into_iter().filter(move |(_, path, _)| !by_files && !is_empty(path));
    let absent = absent.map(|(key, _, what)| (key, format!("is missing: {what}")));
    let both = both.map(|(key, ..)| (key, "must not be set where trust.kubernetes is on"));
    let twice = root.secret.is_some() && !is_empty(&root.folder);
    let twice = twice.then_some(("root.secret", "must not be set beside root.folder"));
    let named = [("root.secret", &root.secret), ("root.publishConfigMap", &root.config_map)];
    let nowhere = named.into_iter().filter(move |(_, name)| name.is_some() && by_files);
    let nowhere = nowhere.map(|(key, _)| (key, "needs trust.kubernetes: where it is"));
    let wrong = both.chain(twice).chain(nowhere).map(|(key, problem)| (key, problem.to_owned()));
    absent.chain(wrong)
}

fn amounts(config: &CaServerConfig) -> impl Iterator<Item = (&'static str, String)> {
    let (leaf, limits) = (&config.leaf, &config.limits);
    let durations =
        [("leaf.ttl", leaf.ttl), ("leaf.maxTtl", leaf.max_ttl), ("root.lifetime", config.root.lifetime)];
    let bearers = config.trust.bearers.map(|longest| ("trust.bearerTokens", longest));
    let zero = durations.into_iter().chain(bearers).filter(|(_, duration)| duration.is_zero());
    let zero = zero.map(|(key, _)| (key, "must be more than zero".to_owned()));
    let long =
        (leaf.ttl > leaf.max_ttl).then(|| ("leaf.ttl", "must not be more than leaf.maxTtl".to_owned()));
    let counts = [
        ("limits.callsPerSecond", limits.calls_per_second),
        ("limits.burst", limits.burst),
        ("limits.connections", limits.connections),
    ];
    let none = counts.into_iter().filter(|(_, count)| *count == 0);
    zero.chain(long).chain(none.map(|(key, _)| (key, "must be 1 or more".to_owned())))
}

fn texts(config: &CaServerConfig) -> impl Iterator<Item = (&'static str, String)> {
    let level = Level::check(&config.log.level).err().map(|error| ("log.level", error.to_string()));
    let public = config.listen.admin.filter(|addr| !addr.ip().to_canonical().is_loopback());
    let public = public.map(|addr| ("listen.admin", format!("{addr} is not a loopback address")));
    let nameless = config.listen.names.is_empty();
    let nameless = nameless.then(|| ("listen.names", "must not be empty: callers go by a name".to_owned()));
    let own = config.trust.aliases.contains(&config.trust.domain);
    let own = own.then(|| ("trust.aliases", "must not contain trust.domain".to_owned()));
    let audience = config.trust.audience.is_empty();
    let audience =
        audience.then(|| ("trust.audience", "must not be empty: tokens are for somebody".to_owned()));
    level.into_iter().chain(audience).chain(public).chain(nameless).chain(own)
}
