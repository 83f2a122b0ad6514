//! Over real connections.

use std::sync::Arc;
use std::time::Duration;

use certs::{SignError, Signer, describe};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Code;

use super::{Lab, csr, id};

#[tokio::test]
async fn a_client_gets_a_chain_and_roots() {
    let lab = Lab::new().await;
    let client = lab.client(lab.node("node-1"));
    let signed = client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap();
    assert_eq!(certs::peer_identity(&signed.chain).unwrap(), id("pod"));
    assert_eq!(signed.roots, lab.root.current().trusted);
    assert!(!signed.chain.contains(&signed.roots[0]));
}

#[tokio::test]
async fn a_refusal_arrives_with_its_reason() {
    let lab = Lab::new().await;
    let client = lab.client(lab.node("node-1"));
    match client.sign(&id("other"), &csr(&id("other"))).await.unwrap_err() {
        SignError::Refused { code: Code::PermissionDenied, message } => {
            assert!(message.ends_with("does not run on node \"node-1\""), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_asks_for_itself_names_nobody_which_is_not_enough_for_a_node() {
    let lab = Lab::new().await;
    let client = lab.client(lab.node("node-1")).for_itself();
    match client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap_err() {
        SignError::Refused { code: Code::PermissionDenied, message } => {
            assert!(message.starts_with("no identity is named on whose behalf"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ca_is_known_by_its_names_and_no_other() {
    let lab = Lab::new().await;
    let signed = async |name: &'static str| {
        let clock = Arc::new(certs::SystemClock);
        let client = lab.client_with(lab.node("node-1"), clock, |config| {
            config.server_name = name.try_into().unwrap();
        });
        client.sign(&id("pod"), &csr(&id("pod"))).await
    };
    for name in ["istiod.istio-system.svc", "localhost", "127.0.0.1"] {
        signed(name).await.unwrap();
    }
    let error = signed("other.example").await.unwrap_err();
    assert!(describe(&error).contains("not valid for name"), "{}", describe(&error));
}

#[tokio::test]
async fn a_ca_with_another_root_is_not_asked() {
    let (lab, other) = (Lab::new().await, Lab::new().await);
    let clock = Arc::new(certs::SystemClock);
    let client = lab.client_with(lab.node("node-1"), clock, |config| config.roots = other.roots());
    let error = client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap_err();
    assert!(matches!(error, SignError::Unreachable(_)), "{error:?}");
    assert_eq!(lab.metric("citadel_server_csr_count"), "0");
}

#[tokio::test]
async fn changed_roots_count_from_the_next_call_on() {
    let (lab, other) = (Lab::new().await, Lab::new().await);
    let roots = lab.folder.path().join("client-roots.pem");
    let clock = Arc::new(certs::SystemClock);
    let client = lab.client_with(lab.node("node-1"), clock, |config| config.roots = roots.clone());
    let ask = async || client.sign(&id("pod"), &csr(&id("pod"))).await;
    assert!(matches!(ask().await, Err(SignError::Roots { .. })), "there is no such file yet");
    std::fs::copy(lab.roots(), &roots).unwrap();
    ask().await.unwrap();
    std::fs::copy(other.roots(), &roots).unwrap();
    assert!(matches!(ask().await, Err(SignError::Unreachable(_))), "the old connection is not used");
    std::fs::copy(lab.roots(), &roots).unwrap();
    ask().await.unwrap();
}

#[tokio::test]
async fn a_ca_that_is_not_there_is_an_error_with_its_address() {
    let lab = Lab::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clock = Arc::new(certs::SystemClock);
    let client = lab.client_with(lab.node("node-1"), clock, |config| {
        config.address = nobody.to_string().parse().unwrap();
    });
    let error = client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap_err();
    assert!(describe(&error).contains(&format!("cannot connect to {nobody}")), "{}", describe(&error));
}

#[tokio::test]
async fn identities_are_kept_by_a_real_ca() {
    let lab = Lab::new().await;
    let identities = lab.identities("node-1");
    identities.want([id("pod")].into());
    let deadline = Instant::now() + Duration::from_secs(10);
    let configs = identities.ready(&id("pod"), deadline).await.unwrap();
    assert_eq!(configs.leaf().identity, id("pod"));
    assert!(identities.current(&id("pod")).is_some());
    let refused = identities.ready(&id("other"), Instant::now() + Duration::from_secs(1)).await.unwrap_err();
    assert!(refused.to_string().contains("does not run on node"), "{refused}");
}

#[tokio::test]
async fn whoever_does_not_speak_tls_takes_up_no_place_for_long() {
    let lab = Lab::with(|config| config.limits.connections = 1).await;
    let mut garbage = TcpStream::connect(lab.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut garbage, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let client = lab.client(lab.node("node-1"));
    client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap();
    // What is left of it is an alert, or a reset.
    let _ = garbage.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_ca_that_ends_says_so_and_its_clients_go_elsewhere() {
    let lab = Lab::new().await;
    let client = lab.client(lab.node("node-1"));
    client.sign(&id("pod"), &csr(&id("pod"))).await.unwrap();
    lab.drainer.start(Duration::from_secs(5));
    // Calls on their way when the end begins are still answered.
    let error = loop {
        if let Err(error) = client.sign(&id("pod"), &csr(&id("pod"))).await {
            break error;
        }
    };
    assert!(matches!(error, SignError::Unreachable(_)), "{error:?}");
}
