use super::super::{HandshakeError, accept, connect};
use super::*;
use certs::PeerError;
use rustls::AlertDescription;

#[tokio::test]
async fn both_ends_learn_whom_they_talk_to() {
    let mesh = Mesh::new();
    let (client, server) = both_ours(&mesh).await;
    assert_eq!((client.peer, server.peer), (id("server"), id("client")));
    assert_eq!((client.resumed, server.resumed), (false, false));
    assert_eq!(client.peer_certificates, mesh.server.credential().chain());
}

#[tokio::test]
async fn our_client_talks_to_a_rustls_server() {
    let mesh = Mesh::new();
    let (socket, theirs) = socket_pair();
    let server = rustls_server(&mesh, theirs, |stream| {
        let question = read_exactly(stream, 4);
        write_all(stream, b"pong");
        (question, stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    });
    let mut driver: Driver = connect(socket, &mesh.towards("server"), ADDRESS).await.unwrap().into();
    driver.write(b"ping").await;
    assert_eq!(driver.read(4).await, b"pong");
    assert_eq!(server.join().unwrap(), (b"ping".to_vec(), Some(b"h2".to_vec())));
}

#[tokio::test]
async fn our_server_talks_to_a_rustls_client() {
    let mesh = Mesh::new();
    let (socket, theirs) = socket_pair();
    let client = rustls_client(&mesh, theirs, |stream| {
        write_all(stream, b"ping");
        let answer = read_exactly(stream, 4);
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
        (answer, suite, group)
    });
    let mut driver: Driver = accept(socket, mesh.server.server()).await.unwrap().into();
    assert_eq!(driver.read(4).await, b"ping");
    driver.write(b"pong").await;
    let (answer, suite, group) = client.join().unwrap();
    assert_eq!(answer, b"pong");
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn data_in_the_packet_of_the_finished_message_is_not_lost() {
    let mesh = Mesh::new();
    let (socket, mut theirs) = socket_pair();
    let client = std::thread::spawn({
        let config = mesh.towards("server").config().clone();
        move || {
            let name = ServerName::IpAddress(ADDRESS.into());
            let mut connection = rustls::ClientConnection::new(config, name).unwrap();
            connection.writer().write_all(b"right behind").unwrap();
            connection.complete_io(&mut theirs).unwrap();
            let mut wire = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut wire).unwrap();
            }
            theirs.write_all(&wire).unwrap();
            theirs
        }
    });
    let mut driver: Driver = accept(socket, mesh.server.server()).await.unwrap().into();
    assert_eq!(driver.read(12).await, b"right behind");
    client.join().unwrap();
}

#[tokio::test]
async fn second_connection_to_the_same_peer_is_resumed() {
    let mesh = Mesh::new();
    for resumed in [false, true, true] {
        let (mut client, mut server): (Driver, Driver) = {
            let (client, server) = both_ours(&mesh).await;
            assert_eq!((client.resumed, server.resumed), (resumed, resumed));
            assert_eq!((&client.peer, &server.peer), (&id("server"), &id("client")));
            (client.into(), server.into())
        };
        // The ticket comes before the first data.
        server.write(b"x").await;
        assert_eq!(client.read(1).await, b"x");
        client.write(b"y").await;
        assert_eq!(server.read(1).await, b"y");
    }
}

#[tokio::test]
async fn a_ticket_is_not_used_for_other_accepted_peers_or_pods() {
    let mesh = Mesh::new();
    let (client, server) = both_ours(&mesh).await;
    let (mut client, mut server) = (Driver::from(client), Driver::from(server));
    server.write(b"x").await;
    client.read(1).await;
    let both = [id("server"), id("other")].into_iter().collect();
    let other_peers = mesh.client.client(&"pod-1".into(), &both).unwrap();
    let other_pod = mesh.client.client(&"pod-2".into(), &id("server").into()).unwrap();
    for tls in [other_peers, other_pod] {
        let (left, right) = socket_pair();
        let right = Socket::new(right).unwrap();
        let (client, server) =
            tokio::join!(connect(left, &tls, ADDRESS), accept(right, mesh.server.server()));
        assert!(!client.unwrap().resumed && !server.unwrap().resumed);
    }
}

#[tokio::test]
async fn a_server_with_another_identity_is_refused() {
    let mesh = Mesh::new();
    let (left, right) = socket_pair();
    let right = Socket::new(right).unwrap();
    let tls = mesh.towards("somebody-else");
    let (client, server) = tokio::join!(connect(left, &tls, ADDRESS), accept(right, mesh.server.server()));
    let Err(HandshakeError::Peer(PeerError::IdentityMismatch { got, .. })) = client else {
        panic!("{client:?}")
    };
    assert_eq!(got, id("server"));
    let Err(HandshakeError::Tls(rustls::Error::AlertReceived(_))) = server else { panic!("{server:?}") };
}

#[tokio::test]
async fn nobody_is_accepted_when_nobody_is_expected() {
    let mesh = Mesh::new();
    let (left, right) = socket_pair();
    let right = Socket::new(right).unwrap();
    let tls = mesh.client.client(&"pod-1".into(), &[].into_iter().collect()).unwrap();
    let (client, _) = tokio::join!(connect(left, &tls, ADDRESS), accept(right, mesh.server.server()));
    assert!(matches!(client, Err(HandshakeError::Peer(PeerError::IdentityMismatch { .. }))), "{client:?}");
}

#[tokio::test]
async fn a_client_of_another_root_is_refused_and_told() {
    let (ours, theirs) = (Mesh::new(), Mesh::new());
    // The stranger's client trusts our server, so that it is our server that refuses.
    let stranger = IdentityConfigs::new(theirs.client.credential().clone(), ours.bundles.clone(), 1).unwrap();
    let tls = stranger.client(&"pod-1".into(), &id("server").into()).unwrap();
    let (left, right) = socket_pair();
    let right = Socket::new(right).unwrap();
    let (client, server) = tokio::join!(connect(left, &tls, ADDRESS), accept(right, ours.server.server()));
    assert!(matches!(server, Err(HandshakeError::Peer(PeerError::Chain { .. }))), "{server:?}");
    let mut client = Driver::from(client.unwrap());
    let told = client.error().await.to_string();
    assert_eq!(told, "peer sent the alert CertificateUnknown");
}

#[tokio::test]
async fn a_partners_root_vouches_for_its_own_names_and_not_for_ours() {
    let (ours, partner) = (Authority::ephemeral("ours").unwrap(), Authority::ephemeral("partner").unwrap());
    let bundle = |authority: &Authority| TrustBundle::new(vec![authority.root().clone()]).unwrap();
    let bundles = Arc::new(Bundles::from_iter([
        ("cluster.local".parse().unwrap(), bundle(&ours)),
        ("partner.example".parse().unwrap(), bundle(&partner)),
    ]));
    let configs = |authority, identity: &SpiffeId| {
        IdentityConfigs::new(Arc::new(credential_of(authority, identity)), bundles.clone(), 1).unwrap()
    };
    let server = configs(&ours, &id("server"));
    let theirs: SpiffeId = "spiffe://partner.example/ns/test/sa/client".parse().unwrap();
    for (authority, identity, believed) in
        [(&partner, &theirs, true), (&partner, &id("client"), false), (&ours, &theirs, false)]
    {
        let client = configs(authority, identity);
        let tls = client.client(&"pod-1".into(), &id("server").into()).unwrap();
        let (left, right) = socket_pair();
        let right = Socket::new(right).unwrap();
        let (_client, accepted) = tokio::join!(connect(left, &tls, ADDRESS), accept(right, server.server()));
        match accepted {
            Ok(established) => assert!(believed && established.peer == *identity, "{identity}"),
            Err(error) => {
                assert!(!believed, "{identity}: {error:?}");
                assert!(matches!(error, HandshakeError::Peer(PeerError::Chain { .. })), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mesh = Mesh::new();
    let (socket, mut theirs) = socket_pair();
    let mut config = rustls::ClientConfig::clone(mesh.towards("server").config());
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let client = std::thread::spawn(move || {
        let name = ServerName::IpAddress(ADDRESS.into());
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut theirs);
        stream.read(&mut [0]).unwrap_err()
    });
    let server = accept(socket, mesh.server.server()).await;
    let Err(HandshakeError::Tls(rustls::Error::NoCertificatesPresented)) = server else {
        panic!("{server:?}")
    };
    drop(server);
    let seen = client.join().unwrap();
    let told = seen.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    assert_eq!(told, Some(&rustls::Error::AlertReceived(AlertDescription::CertificateRequired)));
}

#[tokio::test]
async fn a_peer_without_h2_is_refused() {
    let mesh = Mesh::new();
    let (socket, mut theirs) = socket_pair();
    let mut config = rustls::ClientConfig::clone(mesh.towards("server").config());
    config.alpn_protocols.clear();
    let client = std::thread::spawn(move || {
        let name = ServerName::IpAddress(ADDRESS.into());
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        connection.complete_io(&mut theirs).unwrap();
        theirs
    });
    let server = accept(socket, mesh.server.server()).await;
    assert!(matches!(server, Err(HandshakeError::NoH2)), "{server:?}");
    client.join().unwrap();
}

#[tokio::test]
async fn a_handshake_without_end_is_cut_off() {
    let mesh = Mesh::new();
    let (socket, mut theirs) = socket_pair();
    let flood = std::thread::spawn(move || {
        // Fragments of a ClientHello that never ends: 64 kB long by its header, one byte a record.
        let mut wire = vec![22, 3, 3, 0, 5, 1, 0, 255, 255, 3];
        (0..60_000).for_each(|_| wire.extend([22, 3, 3, 0, 1, 0]));
        // The reader gives up before it has all.
        let _cut = theirs.write_all(&wire);
    });
    let server = accept(socket, mesh.server.server()).await;
    assert!(matches!(server, Err(HandshakeError::Overflow)), "{server:?}");
    flood.join().unwrap();
}

#[tokio::test]
async fn noise_instead_of_a_handshake_is_refused() {
    let mesh = Mesh::new();
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 255, 255, 1], &[23, 3, 3, 0, 1, 0], &[0; 64]] {
        let (socket, mut theirs) = socket_pair();
        theirs.write_all(noise).unwrap();
        let server = accept(socket, mesh.server.server()).await;
        assert!(matches!(server, Err(HandshakeError::Tls(_))), "{noise:?} {server:?}");
    }
}

#[tokio::test]
async fn a_peer_that_leaves_within_the_handshake_is_noticed() {
    let mesh = Mesh::new();
    let (socket, mut theirs) = socket_pair();
    theirs.write_all(&[22, 3, 1, 0, 200, 1]).unwrap();
    drop(theirs);
    let server = accept(socket, mesh.server.server()).await;
    assert!(matches!(server, Err(HandshakeError::Closed)), "{server:?}");
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
