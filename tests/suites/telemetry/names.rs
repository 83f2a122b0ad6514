//! Whoever has boards and alerts for Istio's ztunnel finds its metrics here, under the same names and labels.

use std::collections::BTreeSet;

use harness::{LabError, WIRE_V4, serve};
use serde_json::json;

use crate::scene::{mesh, talk};

#[test]
fn every_metric_of_istios_ztunnel_is_there_but_for_those_of_what_we_do_not_have() -> Result<(), LabError> {
    let mesh = mesh(json!({ "dns": { "clusterResolvers": [WIRE_V4.to_string()] } }))?;
    let (client, server, here) = (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.daemon("node1"));
    let echo = server.serve(0, serve::echo())?;
    drop(talk(&client, server.at(echo.port()), 10)?);
    // Of a name server that is not there, and then of one that is.
    let asked = || client.output("dig +tries=1 +time=1 outside.example");
    asked()?;
    here.wait_metric("istio_dns_upstream_failures_total", &[], |count| count >= 1.0)?;
    let _names = serve::Dns::start(mesh.wire(), &[("outside.example", &[WIRE_V4])])?;
    assert!(asked()?.stdout.contains(&WIRE_V4.to_string()));
    let scrape = here.get("/metrics")?.body;
    let told: BTreeSet<(&str, &str)> =
        scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let missing: Vec<_> = NAMES.iter().filter(|metric| !told.contains(metric)).collect();
    let absent: Vec<_> = ABSENT.iter().map(|(metric, _)| metric).collect();
    assert_eq!(missing, absent, "{scrape}");
    assert!(told.iter().any(|(name, _)| name.starts_with("tokio_")), "{scrape}");

    let sample = scrape.lines().find(|line| line.starts_with("istio_tcp_connections_opened_total{"));
    let labels = sample.unwrap_or_default().split(['{', ',']).skip(1);
    let labels: BTreeSet<_> = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
    let peer = |side: &'static str| PEER.iter().map(move |label| format!("{side}_{label}"));
    let own = LABELS.iter().map(|&label| label.to_owned());
    assert_eq!(labels, peer("source").chain(peer("destination")).chain(own).collect());
    Ok(())
}

/// All that Istio's ztunnel tells, with what they are; in the order of its documentation.
const NAMES: &[(&str, &str)] = &[
    ("istio_tcp_connections_opened_total", "counter"),
    ("istio_tcp_connections_closed_total", "counter"),
    ("istio_tcp_connections_failed_total", "counter"),
    ("istio_tcp_sent_bytes_total", "counter"),
    ("istio_tcp_received_bytes_total", "counter"),
    ("istio_tcp_sockets_open", "gauge"),
    ("istio_on_demand_dns_total", "counter"),
    ("istio_dns_requests_total", "counter"),
    ("istio_dns_upstream_requests_total", "counter"),
    ("istio_dns_upstream_failures_total", "counter"),
    ("istio_dns_upstream_request_duration_seconds", "histogram"),
    ("istio_crl_policy_rejections_total", "counter"),
    ("istio_crl_untracked_connections_total", "counter"),
    ("istio_xds_connection_terminations_total", "counter"),
    ("istio_xds_message_total", "counter"),
    ("istio_xds_message_bytes_total", "counter"),
    ("istio_build", "gauge"),
    ("workload_manager_active_proxy_count", "gauge"),
    ("workload_manager_pending_proxy_count", "gauge"),
    ("workload_manager_proxies_started_total", "counter"),
    ("workload_manager_proxies_stopped_total", "counter"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
];

/// Those that are not told, and why.
const ABSENT: &[((&str, &str), &str)] = &[
    (("istio_xds_connection_terminations_total", "counter"), NO_XDS),
    (("istio_xds_message_total", "counter"), NO_XDS),
    (("istio_xds_message_bytes_total", "counter"), NO_XDS),
];

const NO_XDS: &str = "the mesh is read from manifests: there is no xDS client";

/// Labels of each end of a connection.
const PEER: &[&str] = &[
    "workload",
    "workload_namespace",
    "principal",
    "app",
    "version",
    "cluster",
    "region",
    "zone",
    "canonical_service",
    "canonical_revision",
];

/// Its other labels.
const LABELS: &[&str] = &[
    "reporter",
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
];
