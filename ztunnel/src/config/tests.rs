use std::collections::{HashMap, HashSet};
use std::path::Path;

use clap::Parser;

use super::*;

#[test]
fn a_small_file_is_enough() {
    let config = resolve(SMALL).unwrap();
    assert_eq!(config.node, "node-1");
    assert_eq!(config.source.manifests, Path::new("/etc/mesh"));
    assert_eq!(config.ca.node_key, Path::new("/etc/ca/node.key"));
    assert_eq!(config.timeouts, Timeouts::default());
}

#[test]
fn what_is_missing_is_said_at_once() {
    let errors = resolve("").unwrap_err();
    let keys: Vec<_> =
        errors.to_string().lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(keys, ["node", "source.manifests", "ca.address", "ca.roots", "ca.nodeKey"]);
}

#[test]
fn the_proxy_of_a_single_pod_needs_no_node_where_it_has_a_token() {
    let small = SMALL.replace("node: node-1", "pod: shop/cart");
    assert!(resolve(&small).unwrap_err().to_string().starts_with("node: is missing"));
    let config = resolve(&small.replace("nodeKey: /etc/ca/node.key", "tokenFile: /token")).unwrap();
    assert_eq!(config.pod.map(|pod| pod.to_string()).as_deref(), Some("shop/cart"));
    for wrong in ["cart", "shop/cart/default", "/cart"] {
        let errors = resolve(&SMALL.replace("node: node-1", &format!("pod: {wrong}"))).unwrap_err();
        assert!(errors.to_string().contains("NAMESPACE/NAME"), "{wrong}: {errors}");
    }
}

#[test]
fn inside_of_a_pod_the_admin_address_is_off_unless_it_is_set() {
    let small = SMALL.replace("node: node-1", "node: node-1\npod: shop/cart");
    assert_eq!(resolve(&small).unwrap().listen.admin, None);
    let set = resolve(&format!("{small}listen:\n  admin: 127.0.0.1:15000\n")).unwrap();
    assert_eq!(set.listen.admin, Some(([127, 0, 0, 1], 15000).into()));
    assert!(resolve(SMALL).unwrap().listen.admin.is_some());
}

#[test]
fn examples_of_daemons_have_whole_configurations() {
    let pod = configured(include_str!("../../../deploy/examples/dedicated/pod.yaml"));
    assert_eq!(pod.pod.map(|pod| pod.to_string()).as_deref(), Some("bank/ledger"));
    let node = configured(include_str!("../../../deploy/examples/metrics/daemonset.yaml"));
    assert_eq!(node.listen.metrics_pod.as_ref().map(ToString::to_string).as_deref(), Some("bank/ledger"));
    assert_eq!((&*node.node, node.listen.metrics_port()), ("node-1", 15020));
    assert!(node.listen.metrics.is_some_and(|it| it.ip().is_loopback()), "nobody gets them in plaintext");
}

/// What the environment of an example makes, in a pod that is called bank/ledger.
fn configured(example: &str) -> Config {
    let variables = example.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("- { name: ")?.split_once(", value")?;
        let value = match value.split_once("fieldPath: ") {
            Some((_, "spec.nodeName } } }")) => "node-1",
            Some(_) => return None,
            None => value.strip_prefix(": ")?.trim_end_matches(" }").trim_matches('"'),
        };
        Some((name, value))
    });
    let variables: HashMap<_, _> = variables.collect();
    let known = |name: &&str| OPTIONS.iter().any(|option| option.env == *name);
    assert!(variables.len() > 5 && variables.keys().all(known), "{variables:?}");
    let env = |name: &str| {
        let value = variables.get(name)?.replace("$(POD_NAMESPACE)", "bank").replace("$(POD_NAME)", "ledger");
        Some(value)
    };
    Config::resolve(None, env, &Flags::default()).unwrap()
}

#[test]
fn an_unknown_key_is_refused_with_line_and_suggestion() {
    let errors = resolve(&format!("{SMALL}timeouts:\n  hanshake: 5s\n")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "proxy.yaml:8:3: unknown key \"timeouts.hanshake\", did you mean \"timeouts.handshake\"?"
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (more, complaint) in [
        ("listen:\n  admin: 0.0.0.0:15000\n", "listen.admin: 0.0.0.0:15000 is not a loopback address"),
        ("listen:\n  metrics: 10.0.0.1:15021\n", "listen.readiness: port 15021 is taken by listen.metrics"),
        (
            "pod: shop/cart\nlisten:\n  metricsPod: shop/cart\n",
            "listen.metricsPod: must not be set beside pod, whose metrics are reached in tunnels as all that it serves",
        ),
        ("  tokenFile: /token\n", "ca.tokenFile: must not be set beside ca.nodeKey"),
        ("timeouts:\n  handshake: 0\n", "timeouts.handshake: must be more than zero"),
        (
            "timeouts:\n  unacknowledged: 9s\n",
            "timeouts.unacknowledged: must not be less than timeouts.connect: it would end connections before they are up",
        ),
        (
            "timeouts:\n  request: 5s\n",
            "timeouts.request: must not be less than timeouts.connect: the peer dials before it answers",
        ),
        ("limits:\n  handshakes: 0\n", "limits.handshakes: must be 1 or more"),
        (
            "log:\n  level: loud\n",
            "log.level: \"loud\" is not a level: want one like info, or hbone=debug,info",
        ),
        ("mesh:\n  clusterId: \"\"\n", "mesh.clusterId: must not be empty"),
        ("trust:\n  federated: cluster.local=/x\n", "trust.federated: must not contain mesh.trustDomain"),
        (
            "trust:\n  federatedCrls: a.example=/x\n",
            "trust.federatedCrls: a.example is not in trust.federated",
        ),
    ] {
        assert_eq!(resolve(&format!("{SMALL}{more}")).unwrap_err().to_string(), complaint);
    }
}

#[test]
fn other_trust_domains_are_read_with_their_files() {
    let config =
        resolve(&format!("{SMALL}trust:\n  federated: [a.example=/a.pem, b.example=/b.pem]\n")).unwrap();
    let files: Vec<_> =
        config.trust.federated.iter().map(|(domain, path)| (domain.as_str(), path.as_path())).collect();
    assert_eq!(files, [("a.example", Path::new("/a.pem")), ("b.example", Path::new("/b.pem"))]);
    for wrong in ["a.example", "a.example=", "=/a.pem", "a b=/a.pem", "[a.example=/a, a.example=/b]"] {
        let errors = resolve(&format!("{SMALL}trust:\n  federated: {wrong}\n")).unwrap_err();
        assert!(errors.to_string().contains("trust.federated"), "{wrong}: {errors}");
    }
}

#[test]
fn metrics_in_tunnels_are_asked_for_at_the_port_of_the_others() {
    for (listen, port) in [
        ("", 15020),
        ("metrics: off, ", 15020),
        ("metrics: \"127.0.0.1:9100\", ", 9100),
        ("metrics: \"[::]:0\", ", 15020),
    ] {
        let config = resolve(&format!("{SMALL}listen: {{{listen}metricsPod: mesh/ztunnel-a}}\n")).unwrap();
        assert_eq!(config.listen.metrics_pod.as_ref().unwrap().to_string(), "mesh/ztunnel-a");
        assert_eq!(config.listen.metrics_port(), port, "{listen}");
    }
    let errors = resolve(&format!("{SMALL}listen: {{metricsPod: ztunnel}}\n")).unwrap_err();
    assert!(errors.to_string().contains("listen.metricsPod"), "{errors}");
}

#[test]
fn a_ca_address_needs_a_port() {
    for address in ["ca", "ca:", ":1", "ca:0", "ca:x", "http://ca:1", "https://ca:1/path"] {
        let file = SMALL.replace("127.0.0.1:15012", &format!("\"{address}\""));
        assert!(resolve(&file).unwrap_err().to_string().starts_with("ca.address"), "{address}");
    }
    for address in ["ca:15012", "https://istiod.istio-system.svc:15012", "[::1]:15012"] {
        assert!(resolve(&SMALL.replace("127.0.0.1:15012", &format!("\"{address}\""))).is_ok(), "{address}");
    }
}

#[test]
fn the_documented_defaults_read_back_to_the_defaults() {
    let text = OPTIONS.document(&Config::default());
    let path = Path::new("defaults.yaml");
    let read =
        OPTIONS.resolve(Config::default(), Some(File { path, text: &text }), |_| None, &Flags::default());
    assert_eq!(read.unwrap(), Config::default(), "{text}");
}

#[test]
fn defaults_are_those_that_operators_and_other_parts_count_on() {
    let defaults = Config::default();
    let shown = OPTIONS.iter().map(|option| (option.key, (option.show)(&defaults)));
    let shown: Vec<_> = shown.filter(|(key, value)| !value.is_empty() && !key.starts_with("otlp.")).collect();
    let shown: Vec<_> = shown.iter().map(|(key, value)| (*key, value.as_str())).collect();
    assert_eq!(shown, DEFAULTS);
}

/// Of every option that has one. Istio's are its ports, its names, and how long certificates are to last.
const DEFAULTS: &[(&str, &str)] = &[
    ("pod", "off"),
    ("workers", "auto"),
    ("source.status", "/run/ambient/status"),
    ("state.folder", "/run/ambient"),
    ("state.enrolSocket", "/run/ambient/enrol.sock"),
    ("state.netns", "/run/netns"),
    ("mesh.trustDomain", "cluster.local"),
    ("mesh.clusterDomain", "cluster.local"),
    ("mesh.clusterId", "Kubernetes"),
    ("mesh.rootNamespace", "istio-system"),
    ("mesh.excludedNamespaces", "kube-system"),
    ("ca.serverName", "istiod.istio-system.svc"),
    ("ca.tokenFile", "off"),
    ("ca.certificateTtl", "24h"),
    ("ca.cache", "off"),
    ("trust.crl", "off"),
    ("listen.adminSocket", "/run/ambient/admin.sock"),
    ("listen.admin", "127.0.0.1:15000"),
    ("listen.metrics", "[::]:15020"),
    ("listen.metricsPod", "off"),
    ("listen.readiness", "[::]:15021"),
    ("dns.enabled", "true"),
    ("dns.resolvConf", "/etc/resolv.conf"),
    ("path.nodeLocal", "true"),
    ("path.originalSource", "true"),
    ("path.networkPolicies", "false"),
    ("path.strangers", "accept"),
    ("path.linger", "150us"),
    ("path.tunnelCongestionControl", "cubic"),
    ("timeouts.handshake", "10s"),
    ("timeouts.connect", "10s"),
    ("timeouts.request", "15s"),
    ("timeouts.idleTunnel", "5m"),
    ("timeouts.idleInbound", "6m"),
    ("timeouts.unacknowledged", "off"),
    ("timeouts.drain", "25s"),
    ("limits.handshakes", "1024"),
    ("limits.handshakesPerSource", "128"),
    ("limits.connectionsPerPod", "16384"),
    ("limits.metricSeries", "10000"),
    ("limits.tunnels", "65536"),
    ("limits.tunnelsPerSource", "1024"),
    ("log.level", "info"),
    ("log.format", "text"),
    ("log.access", "all"),
];

#[test]
fn no_two_options_share_a_key_a_flag_or_a_variable() {
    let all: Vec<_> = OPTIONS.iter().collect();
    let distinct = |of: fn(&daemon::config::Opt<Config>) -> String| {
        all.iter().map(|option| of(option)).collect::<HashSet<_>>().len()
    };
    assert_eq!(distinct(|option| option.key.to_owned()), all.len());
    assert_eq!(distinct(|option| option.env.to_owned()), all.len());
    assert_eq!(distinct(daemon::config::Opt::flag), all.len());
}

#[test]
fn every_option_has_a_flag_and_says_what_it_means() {
    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        proxy: ProxyArgs,
    }
    let cli = Cli::parse_from([
        "ztunnel",
        "--check",
        "--node",
        "node-2",
        "--workers",
        "50%",
        "--dns-enabled=false",
    ]);
    assert!(cli.proxy.check);
    let text = cli.proxy.config.document().unwrap();
    assert!(text.contains("\nnode: node-2\n") && text.contains("\nworkers: 50%\n"), "{text}");
    assert!(text.contains("\n  enabled: false\n"), "{text}");
    let help = <Cli as clap::CommandFactory>::command().render_long_help().to_string();
    for option in OPTIONS.iter() {
        assert!(help.contains(&option.flag()), "{}", option.key);
        assert!(option.help.ends_with('.') && option.help.len() > 20, "{}", option.key);
    }
}

fn resolve(file: &str) -> Result<Config, ConfigErrors> {
    let path = Path::new("proxy.yaml");
    Config::resolve(Some(File { path, text: file }), |_| None, &Flags::default())
}

const SMALL: &str = "\
node: node-1
source: {manifests: /etc/mesh}
ca:
  address: 127.0.0.1:15012
  roots: /etc/ca/roots.pem
  nodeKey: /etc/ca/node.key
";
