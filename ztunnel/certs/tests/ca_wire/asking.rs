//! What our client sends, and what it makes of answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{
    Authority, CaClient, CaClientConfig, ServingTls, SignError, SignedChain, Signer, SystemClock, TokenError,
    TokenSource, pem_of,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use rustls_pki_types::UnixTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::Code;
use zeroize::Zeroizing;

use crate::{FOR_ITSELF, ON_BEHALF, PATH, frame, only, read};

#[tokio::test]
async fn a_call_has_istios_path_headers_and_bytes() {
    let (client, mut served) = Istiod::new().serve(signed()).await;
    ask(client).await.unwrap();
    let Call { request, body } = served.join_next().await.unwrap().unwrap();
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, PATH));
    assert_eq!(request.uri().scheme_str(), Some("https"));
    let headers = request.headers();
    assert_eq!(only(headers, "content-type"), "application/grpc");
    assert_eq!(only(headers, "te"), "trailers");
    assert_eq!(only(headers, "clusterid"), "east");
    assert_eq!(only(headers, "authorization"), "Bearer a.b.c");
    assert_eq!(body, frame(ON_BEHALF));
}

#[tokio::test]
async fn a_call_for_oneself_has_no_metadata_in_its_message() {
    let (client, mut served) = Istiod::new().serve(signed()).await;
    ask(client.for_itself()).await.unwrap();
    let Call { request, body } = served.join_next().await.unwrap().unwrap();
    assert_eq!(only(request.headers(), "clusterid"), "east");
    assert_eq!(body, frame(FOR_ITSELF));
}

#[tokio::test]
async fn an_answer_is_the_chain_in_its_texts_and_the_roots_in_the_last() {
    let (client, _served) = Istiod::new().serve(signed()).await;
    let SignedChain { chain, roots } = ask(client).await.unwrap();
    // Recorded: leaf, two intermediates, and both roots of a rotation.
    assert_eq!((chain.len(), roots.len()), (3, 2));
    let identity = certs::peer_identity(&chain).unwrap();
    assert_eq!(identity.as_str(), "spiffe://cluster.local/ns/shop/sa/client");
}

#[tokio::test]
async fn a_refusal_is_read_from_headers_alone() {
    let refusal = Answer { status: "7", message: "not%20on%20this%20node", body: None };
    let (client, _served) = Istiod::new().serve(refusal).await;
    match ask(client).await.unwrap_err() {
        SignError::Refused { code: Code::PermissionDenied, message } => {
            assert_eq!(message, "not on this node");
        }
        other => panic!("{other:?}"),
    }
}

/// One call, after which the connection ends.
async fn ask(client: CaClient) -> Result<SignedChain, SignError> {
    let identity = "spiffe://cluster.local/ns/shop/sa/client".parse().unwrap();
    let signed = client.sign(&identity, "CSR").await;
    drop(client);
    signed
}

/// What is answered to whatever comes.
struct Answer {
    status: &'static str,
    message: &'static str,
    /// None where the status is all.
    body: Option<Vec<u8>>,
}

/// The recorded answer of an istiod: `cert_chain 1: []string`.
fn signed() -> Answer {
    let texts = include_str!("../../src/golden/answer_of_istiod.pem").split("\n---\n");
    let mut message = Vec::new();
    for text in texts {
        let length = text.len();
        assert!((0x80..0x4000).contains(&length), "{length} is not two bytes of a varint");
        message.push(0x0a);
        message.extend([length & 0x7f | 0x80, length >> 7].map(|byte| u8::try_from(byte).unwrap()));
        message.extend_from_slice(text.as_bytes());
    }
    Answer { status: "0", message: "", body: Some(message) }
}

/// A server with a certificate and nothing else of ours.
struct Istiod {
    folder: tempfile::TempDir,
    tls: ServingTls,
}

impl Istiod {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::ephemeral("cluster.local").unwrap();
        let names = ["istiod.istio-system.svc".to_owned()];
        let (key, chain) = authority.serving(&names, &[], Duration::from_hours(1), UnixTime::now()).unwrap();
        let tls = ServingTls::new(b"h2").unwrap();
        tls.replace(&key, chain).unwrap();
        std::fs::write(roots(folder.path()), pem_of(std::slice::from_ref(authority.root()))).unwrap();
        Self { folder, tls }
    }

    /// Answers one call, and returns it with its body. The client asks there.
    async fn serve(self, answer: Answer) -> (CaClient, JoinSet<Call>) {
        let Self { folder, tls } = self;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = CaClientConfig {
            address: listener.local_addr().unwrap().to_string().parse().unwrap(),
            server_name: "istiod.istio-system.svc".try_into().unwrap(),
            roots: roots(folder.path()),
            cluster_id: "east".to_owned(),
            lifetime: Duration::from_hours(24),
            timeout: Duration::from_secs(10),
        };
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // For as long as the client reads it.
            let _roots = folder;
            let tcp = listener.accept().await.unwrap().0;
            let stream = TlsAcceptor::from(tls.config().clone()).accept(tcp).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "gRPC is HTTP/2 alone");
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, respond) = connection.accept().await.unwrap().unwrap();
            let (parts, body) = request.into_parts();
            let answered = async {
                let (body, _no_trailers) = read(body).await;
                answer.send(respond);
                body
            };
            let rest = async { while let Some(Ok(_)) = connection.accept().await {} };
            let (body, ()) = tokio::join!(answered, rest);
            Call { request: Request::from_parts(parts, ()), body }
        });
        (CaClient::new(config, Arc::new(Token), Arc::new(SystemClock)), serving)
    }
}

/// What was asked.
struct Call {
    request: Request<()>,
    body: Vec<u8>,
}

impl Answer {
    fn send(self, mut respond: h2::server::SendResponse<bytes::Bytes>) {
        let response = || Response::builder().header("content-type", "application/grpc");
        let Some(body) = self.body else {
            let response = response().header("grpc-status", self.status).header("grpc-message", self.message);
            respond.send_response(response.body(()).unwrap(), true).unwrap();
            return;
        };
        let mut stream = respond.send_response(response().body(()).unwrap(), false).unwrap();
        stream.send_data(frame(&body), false).unwrap();
        let status = HeaderValue::from_static(self.status);
        stream.send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), status)])).unwrap();
    }
}

/// Always the same.
struct Token;

impl TokenSource for Token {
    fn token(&self, _csr: &str, _now: UnixTime) -> Result<Zeroizing<String>, TokenError> {
        Ok(Zeroizing::new("a.b.c".to_owned()))
    }
}

fn roots(folder: &Path) -> PathBuf {
    folder.join("roots.pem")
}
