//! Who listens where a peer's tunnels end, and is no peer.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use e2e::calls::refused;
use harness::serve::{self, Handler};
use harness::{LabError, PodSpec, Stack};
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::peer::Credential;
use crate::scene::{ECHO, HBONE, Scene, cluster};

#[test]
fn who_is_no_end_of_a_tunnel_gets_nothing_and_the_record_says_why() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(pretended)
}

fn pretended(stack: Stack) -> Result<(), LabError> {
    let mut cluster = cluster(stack);
    cluster.pod(PodSpec::new("shop", "pretender").node("node3").label("networking.istio.io/tunnel", "http"));
    let scene = Scene::with(&cluster, json!({ "timeouts": { "handshake": "3s" } }))?;
    let (here, client) = (scene.mesh.daemon("node1"), scene.client());
    let pretender = scene.mesh.pod("shop/pretender");
    let under = |identity: &str| Credential::new(&scene.authority, identity, UnixTime::now());
    let own = under(&pretender.identity());
    let pretences = [
        (Handler::each(|_| Ok(())), "TLS_FAILURE", "within the handshake"),
        (says("SSH-2.0-OpenSSH_9.2\r\n"), "TLS_FAILURE", "tls handshake was refused: "),
        (serve::hold(), "TLS_FAILURE", "did not come up within 3s"),
        (shakes(own.server(&[])?), "H2_HANDSHAKE_FAILURE", "did not agree on the application protocol h2"),
        (shakes(own.server(&["http/1.1"])?), "TLS_FAILURE", "NoApplicationProtocol"),
        (shakes(under(&client.identity()).server(&["h2"])?), "IDENTITY_ERROR", "peer is not accepted: "),
    ];
    for (handler, flag, why) in pretences {
        let flags = [("reporter", "source"), ("destination_workload", "pretender"), ("response_flags", flag)];
        let failures = || Ok::<_, LabError>(here.scrape()?.sum(FAILED, &flags).unwrap_or_default());
        let before = failures()?;
        let server = pretender.serve(HBONE, handler)?;
        let error = refused(here, &client, pretender.at(ECHO))?.error.unwrap_or_default();
        assert!(error.starts_with(&format!("tunnel to {} ", pretender.at(HBONE))), "{error}");
        assert!(error.contains(why), "{why}: {error}");
        here.wait_metric(FAILED, &flags, |count| count == before + 1.0)?;
        assert!(!server.peers().is_empty(), "it was asked");
    }
    scene.check_served()
}

/// Says something of another protocol, and waits for an answer.
fn says(greeting: &'static str) -> Handler {
    Handler::each(move |mut stream| {
        stream.write_all(greeting.as_bytes())?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}

/// Shakes hands, as far as the client does.
fn shakes(config: Arc<ServerConfig>) -> Handler {
    Handler::each(move |stream: &TcpStream| {
        let mut connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut stream = stream;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}

const FAILED: &str = "istio_tcp_connections_failed_total";
