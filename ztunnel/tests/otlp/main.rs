//! Spans of connections reach a collector, and W3C context goes along in the tunnel.
//!
//! The collector is a gRPC server of the real service, with the messages that OpenTelemetry publishes: ours are written
//! by hand, and read by theirs.

mod collector;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use harness::{
    Cluster, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, WIRE_V4, WIRE_V6, eventually, serve,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use collector::{Collector, number, text};

#[test]
fn both_ends_of_a_tunnel_tell_spans_of_one_trace() -> Result<(), LabError> {
    let mesh = mesh(&json!({ "sampled": 10_000 }))?;
    let collectors = [Collector::start(mesh.node("node1"))?, Collector::start(mesh.node("node2"))?];
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    talk(&client, &server, echo.port())?;
    let of = |collector: &Collector, kind: i32| {
        eventually("the span reaches its collector", || {
            Ok(collector.spans().into_iter().find(|span: &Span| span.kind == kind))
        })
    };
    let (ours, theirs) = (of(&collectors[0], CLIENT)?, of(&collectors[1], SERVER)?);
    assert_eq!(ours.trace_id.len(), 16);
    assert_eq!(theirs.trace_id, ours.trace_id);
    assert_eq!(theirs.parent_span_id, ours.span_id);
    assert!(ours.parent_span_id.is_empty(), "nobody is above the first span of a trace");
    assert_ne!(theirs.span_id, ours.span_id);
    for span in [&ours, &theirs] {
        assert_eq!(text(span, "ambient.source.identity"), Some(client.identity()));
        assert_eq!(text(span, "ambient.destination.identity"), Some(server.identity()));
        assert_eq!(text(span, "ambient.path").as_deref(), Some("hbone"));
        assert_eq!(number(span, "ambient.bytes_sent"), Some(5));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
        assert_eq!(span.status.as_ref().map_or(0, |status| status.code), 0);
    }
    let record = mesh.daemon("node1").log()?;
    let trace: String = ours.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(record.contains(&trace), "the record names the trace");
    mesh.daemon("node1").wait_metric("ambient_spans_exported_total", &[], |count| count >= 1.0)?;
    Ok(())
}

#[test]
fn a_failed_connection_is_a_failed_span() -> Result<(), LabError> {
    let mesh = mesh(&json!({ "sampled": 10_000 }))?;
    let collector = Collector::start(mesh.node("node1"))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    assert!(talk(&client, &server, 1).is_err());
    let failed = eventually("the span reaches its collector", || {
        Ok(collector.spans().into_iter().find(|span| span.kind == CLIENT))
    })?;
    let status = failed.status.expect("a failed span has a status");
    assert_eq!(status.code, ERROR);
    assert!(!status.message.is_empty());
    Ok(())
}

#[test]
fn spans_of_a_pods_own_proxy_leave_the_pod_past_its_capture() -> Result<(), LabError> {
    for (stack, wire) in [(Stack::V4, WIRE_V4), (Stack::V6, WIRE_V6)] {
        let mut cluster = Cluster::with_stack(stack);
        cluster.ambient("shop");
        cluster.pod(PodSpec::new("shop", "client").node("node1").dedicated());
        cluster.pod(PodSpec::new("shop", "server").node("node2"));
        let endpoint = format!("http://{}", SocketAddr::new(wire, collector::PORT));
        let options = options(&json!({ "sampled": 10_000, "endpoint": endpoint }));
        let mesh =
            Mesh::with(&cluster, &MeshOptions { dedicated: vec!["shop/client".to_owned()], ..options })?;
        let collector = Collector::listen(mesh.wire(), wire)?;
        let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
        let echo = server.serve(0, serve::echo())?;
        talk(&client, &server, echo.port())?;
        let span = eventually("the span reaches the collector", || {
            Ok(collector.spans().into_iter().find(|span: &Span| span.kind == CLIENT))
        })?;
        assert_eq!(text(&span, "ambient.source.identity"), Some(client.identity()));
        let records = mesh.daemon_in("shop/client").records()?;
        let to: Vec<_> = records.iter().map(|it| it.destination.port()).collect();
        assert_eq!(to, [echo.port()], "the pod has opened nothing else");
    }
    Ok(())
}

#[test]
fn connections_that_are_not_sampled_have_no_span_and_a_dead_collector_costs_spans_only()
-> Result<(), LabError> {
    let mesh = mesh(&json!({ "sampled": 10_000 }))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    for _ in 0..5 {
        talk(&client, &server, echo.port())?;
    }
    let of = [("reason", "export")];
    mesh.daemon("node1").wait_metric("ambient_spans_dropped_total", &of, |count| count >= 5.0)?;
    drop(mesh);
    let mesh = self::mesh(&json!({ "sampled": 0 }))?;
    let collector = Collector::start(mesh.node("node1"))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    talk(&client, &server, echo.port())?;
    mesh.daemon("node1").wait_record(|it| it.direction == "outbound")?;
    let scrape = mesh.daemon("node1").scrape()?;
    assert_eq!(scrape.sum("ambient_spans_exported_total", &[]), Some(0.0));
    assert_eq!(scrape.sum("ambient_spans_dropped_total", &[]), Some(0.0));
    assert!(collector.spans().is_empty());
    Ok(())
}

/// Two nodes with a pod each, whose daemons send spans to a collector on their own node.
fn mesh(otlp: &Value) -> Result<Mesh, LabError> {
    let mut cluster = Cluster::two_nodes();
    cluster.ambient("shop");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    let mut otlp = otlp.clone();
    otlp["endpoint"] = json!(format!("http://127.0.0.1:{}", collector::PORT));
    Mesh::with(&cluster, &options(&otlp))
}

fn options(otlp: &Value) -> MeshOptions {
    let program = Some(Path::new(env!("CARGO_BIN_EXE_ztunnel")).to_owned());
    MeshOptions { program, config: json!({ "otlp": otlp }), ..MeshOptions::default() }
}

fn talk(from: &Pod, to: &Pod, port: u16) -> std::io::Result<()> {
    let mut stream = from.connect(to.at(port))?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;
