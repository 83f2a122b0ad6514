use std::net::SocketAddr;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::drain::{self, Drain, Phase};
use crate::ready::ReadyTask;
use crate::tasks::{OnPanic, Tasks};

#[tokio::test]
async fn readiness_is_503_with_what_is_outstanding_until_it_is_200() {
    let daemon = Daemon::start(Surface::Probes).await;
    let answer = daemon.ask("GET /healthz/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready, waiting for: source\n"), "{answer}");
    daemon.source.done();
    assert!(ask(daemon.addr, "GET /healthz/ready").await.starts_with("HTTP/1.1 200"));
    assert!(ask(daemon.addr, "GET /healthz/live").await.starts_with("HTTP/1.1 200"));
    assert!(ask(daemon.addr, "GET /metrics").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn metrics_have_a_listener_without_anything_else() {
    let daemon = Daemon::start(Surface::Metrics).await;
    let answer = daemon.ask("GET /metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("istio_build"), "{answer}");
    assert!(daemon.ask("GET /config_dump").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_dump_has_all_parts_and_each_part_alone() {
    let daemon = Daemon::start(Surface::AdminReadOnly).await;
    daemon.admin.provide("workloads", ready_made(|| json!(["cart"])));
    daemon.admin.provide("services", ready_made(|| json!({})));
    daemon.admin.page("connections", ready_made(|| json!([1])));
    let answer = daemon.ask("GET /config_dump").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let dump: Value = serde_json::from_str(body).unwrap();
    assert_eq!(dump, json!({ "services": {}, "workloads": ["cart"] }));
    assert!(daemon.ask("GET /config_dump/workloads").await.contains("\"cart\""));
    assert!(daemon.ask("GET /connections").await.ends_with("[\n  1\n]"));
    assert!(daemon.ask("GET /secrets").await.starts_with("HTTP/1.1 404"));
    assert!(daemon.ask("GET /").await.contains("/config_dump/workloads"));
}

#[tokio::test]
async fn only_the_unix_socket_ends_the_daemon() {
    let daemon = Daemon::start(Surface::AdminReadOnly).await;
    assert!(daemon.ask("POST /quitquitquit").await.starts_with("HTTP/1.1 403"));
    assert_eq!(daemon.drain.phase(), Phase::Running);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = Listener::unix(&path).unwrap();
    daemon.tasks.spawn("admin", serve(daemon.admin.clone(), Surface::Admin, listener, panics()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"POST /quitquitquit HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(matches!(daemon.drain.phase(), Phase::Draining { .. }));
}

#[tokio::test]
async fn a_web_page_cannot_reach_it() {
    let daemon = Daemon::start(Surface::AdminReadOnly).await;
    let led = "GET /config_dump HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(send(daemon.addr, led).await.starts_with("HTTP/1.1 403"));
    let foreign = "GET / HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://evil\r\nConnection: close\r\n\r\n";
    assert!(send(daemon.addr, foreign).await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let daemon = Daemon::start(Surface::Probes).await;
    let long = format!("GET /healthz/live HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = send(daemon.addr, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_does_not_take_the_page_with_it() {
    let daemon = Daemon::start(Surface::AdminReadOnly).await;
    daemon.admin.provide("hung", Box::new(|| Box::pin(std::future::pending())));
    daemon.admin.provide("well", ready_made(|| json!(1)));
    let answer = daemon.ask("GET /config_dump").await;
    assert!(answer.contains("\"well\": 1") && answer.contains("no answer in time"), "{answer}");
}

#[tokio::test]
async fn the_admin_server_is_for_the_loopback_interface_only() {
    let refused = Listener::loopback(([0, 0, 0, 0], 0).into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "admin address 0.0.0.0:0 is not a loopback address");
}

#[tokio::test]
async fn a_socket_of_a_dead_process_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(Listener::unix(&path).unwrap());
    drop(Listener::unix(&path).unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(Listener::unix(&file), Err(BindError::NotSocket { .. })));
}

struct Daemon {
    admin: Admin,
    addr: SocketAddr,
    drain: Drain,
    source: ReadyTask,
    tasks: Tasks,
}

impl Daemon {
    async fn start(surface: Surface) -> Self {
        let readiness = Readiness::default();
        let source = readiness.task("source");
        let metrics = Metrics::new("test", "1", 1).unwrap();
        let (drainer, drain, _) = drain::channel();
        let grace = Duration::from_secs(5);
        let admin = Admin::new(Parts { readiness, metrics, level: None, drainer, grace });
        let listener = Listener::loopback(([127, 0, 0, 1], 0).into()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = Tasks::new(OnPanic::Report, panics());
        tasks.spawn("admin", serve(admin.clone(), surface, listener, panics()));
        Self { admin, addr, drain, source, tasks }
    }

    async fn ask(&self, request: &str) -> String {
        ask(self.addr, request).await
    }
}

async fn ask(addr: SocketAddr, request: &str) -> String {
    send(addr, &format!("{request} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")).await
}

async fn send(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that refuses may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn panics() -> IntCounterVec {
    IntCounterVec::new(Opts::new("task_panics_total", "Panics."), &["task"]).unwrap()
}
