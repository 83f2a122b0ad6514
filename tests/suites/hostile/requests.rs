//! Requests in a tunnel that ask for what they must not get.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use harness::{LabError, PATIENCE, PodSpec, ServiceSpec, Stack, eventually};
use hbone::h2::{ConnectRequest, Method};
use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::peer::{Answer, Credential, Peer};
use crate::scene::{ECHO, HBONE, Scene, cluster};

#[test]
fn a_tunnel_leads_to_ports_of_its_pod_and_nowhere_else() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(leads_to_its_pod_only)
}

fn leads_to_its_pod_only(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({}))?;
    let (server, near) = (scene.server(), scene.mesh.pod("shop/near"));
    let _elsewhere = near.serve(ECHO, harness::serve::echo())?;
    let node = server.node().ip_for(&server);
    let mut peer = scene.peer("shop/attacker")?;
    let stream = peer.connect(&server.at(ECHO))?;
    assert_eq!(peer.answer(stream)?, Answer::Status(200));
    peer.echoed(stream, b"what is allowed works")?;
    let before = scene.echo.peers().len();
    let ip = match server.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let wrong = [
        // Others' addresses: another pod of the same node, the node itself with the daemon's own ports, loopback.
        near.at(ECHO).to_string(),
        SocketAddr::new(node, 15020).to_string(),
        SocketAddr::new(node, ECHO).to_string(),
        "127.0.0.1:15000".to_owned(),
        format!("127.0.0.1:{ECHO}"),
        format!("0.0.0.0:{ECHO}"),
        format!("[::1]:{ECHO}"),
        // The daemon's ports in the pod, which would lead in a circle.
        format!("{ip}:15001"),
        format!("{ip}:15006"),
        format!("{ip}:15008"),
        format!("{ip}:15053"),
        // Nonsense.
        String::new(),
        "nonsense".to_owned(),
        ip.clone(),
        format!("{ip}:"),
        format!("{ip}:0"),
        format!("{ip}:65536"),
        format!("{ip}:-1"),
        format!("{ip}:{ECHO}:{ECHO}"),
        format!(":{ECHO}"),
        format!("[{ip}:{ECHO}"),
        format!("{ip}:{ECHO} "),
        format!("http://{ip}:{ECHO}"),
        format!("user@{ip}:{ECHO}"),
        format!("server.shop.svc.cluster.local.:{ECHO}/x"),
        "a".repeat(8000),
    ];
    let mut refused = 0;
    for authority in wrong {
        let stream = peer.connect(&authority)?;
        let answer = peer.answer(stream)?;
        assert!(
            matches!(answer, Answer::Status(400 | 503) | Answer::Reset(_)),
            "{answer:?} to {authority:?}"
        );
        refused += usize::from(matches!(answer, Answer::Status(_)));
    }
    for method in ["GET", "POST", "OPTIONS", "connect", "PRI"] {
        let request = ConnectRequest {
            method: Method::Other(method.into()),
            ..ConnectRequest::new(server.at(ECHO).to_string())
        };
        let stream = peer.ask(&request)?;
        let answer = peer.answer(stream)?;
        assert!(matches!(answer, Answer::Status(400) | Answer::Reset(_)), "{answer:?} to {method}");
        refused += usize::from(matches!(answer, Answer::Status(_)));
    }
    assert_eq!(scene.echo.peers().len(), before, "none of them reached the application");
    peer.echoed(stream, b"and the stream beside them goes on")?;
    let _asks = ask_for_a_page(&scene)?;
    check_recorded(&scene, refused + 1)?;
    scene.check_served()
}

/// Sends a request of HTTP in a tunnel, which asks for a connection first.
fn ask_for_a_page(scene: &Scene) -> Result<Peer, LabError> {
    let authority = scene.server().at(ECHO).to_string();
    let mut peer = scene.peer("shop/attacker")?;
    let stream = peer.connect(&authority)?;
    assert_eq!(peer.answer(stream)?, Answer::Status(200));
    let length = u8::try_from(authority.len()).map_err(std::io::Error::other)?;
    // GET, http and / are in HPACK's table (RFC 7541 Appendix A), and so is the name :authority.
    let block = [&[0x82, 0x86, 0x84, 0x01, length], authority.as_bytes()].concat();
    let headers = [0, 0, length + 5, 1, 0x5, 0, 0, 0, 3];
    peer.write(&[&headers[..], &block].concat())?;
    Ok(peer)
}

/// That each request of the attacker's that was refused is counted, and on record with its reason.
fn check_recorded(scene: &Scene, refused: usize) -> Result<(), LabError> {
    let daemon = scene.mesh.daemon("node2");
    let records = eventually("each refusal is on record", || {
        let mut records = daemon.records()?;
        records.retain(|it| it.joins("attacker", "server") && it.error.is_some());
        Ok((records.len() == refused).then_some(records))
    })?;
    for reason in [
        "the request is no CONNECT",
        "the request's authority is no destination: the host is neither an address nor a DNS name",
        "the request's authority is no destination: the port is not a number from 1 to 65535",
    ] {
        let record = records.iter().find(|it| it.error.as_deref() == Some(reason));
        let record = record.unwrap_or_else(|| panic!("nothing says {reason:?}: {records:?}"));
        assert_eq!(record.destination.ip(), scene.server().ip());
        assert_eq!(record.source_identity, Some(scene.mesh.pod("shop/attacker").identity()));
    }
    let flags = [("reporter", "destination"), ("response_flags", "CONNECT")];
    daemon.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count == refused as f64)?;
    Ok(())
}

#[test]
fn what_is_asked_of_a_pod_that_the_mesh_no_longer_knows_is_refused_and_on_record() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(asked_of_a_forgotten_pod)
}

fn asked_of_a_forgotten_pod(stack: Stack) -> Result<(), LabError> {
    let scene = Scene::with(&cluster(stack), json!({}))?;
    let (server, daemon) = (scene.server(), scene.mesh.daemon("node2"));
    let mut peer = scene.peer("shop/attacker")?;
    let live = peer.connect(&server.at(ECHO))?;
    assert_eq!(peer.answer(live)?, Answer::Status(200));
    scene.mesh.delete("Pod", "shop", "server")?;
    eventually("the mesh has forgotten it", || {
        let known = daemon.get("/config_dump/workloads")?.body;
        Ok((!known.contains(server.uid())).then_some(()))
    })?;
    let stream = peer.connect(&server.at(ECHO))?;
    assert_eq!(peer.answer(stream)?, Answer::Status(503));
    let record = daemon.wait_record(|it| it.source.ip() == scene.mesh.pod("shop/attacker").ip())?;
    let reason = "the mesh does not know the pod that the connection is for";
    assert_eq!((record.error.as_deref(), record.destination.ip()), (Some(reason), server.ip()));
    let flags = [("reporter", "destination"), ("response_flags", "IDENTITY_ERROR")];
    daemon.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count == 1.0)?;
    peer.echoed(live, b"what there was goes on")?;
    Ok(())
}

#[test]
fn a_tunnel_leads_to_its_pod_by_the_names_of_the_pods_services_and_by_no_others() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(leads_there_by_name)
}

fn leads_there_by_name(stack: Stack) -> Result<(), LabError> {
    let mut cluster = cluster(stack);
    for app in ["server", "near"] {
        cluster.service(ServiceSpec::new("shop", app).port(80, ECHO));
    }
    let named = json!({ "spec": { "ports": [{ "name": "tcp", "port": 81, "targetPort": "echo" }] } });
    cluster.service(ServiceSpec::new("shop", "named").app("server").merge(named));
    let ports = json!([{ "name": "echo", "containerPort": ECHO }]);
    let ports = json!({ "spec": { "containers": [{ "name": "app", "ports": ports }] } });
    cluster.pod(PodSpec::new("shop", "server").node("node2").merge(ports));
    let scene = Scene::with(&cluster, json!({}))?;
    let mut peer = scene.peer("shop/attacker")?;
    for authority in [
        "server.shop.svc.cluster.local:80",
        "SERVER.shop.svc.Cluster.Local:80",
        "named.shop.svc.cluster.local:81",
    ] {
        let stream = peer.connect(&authority)?;
        assert_eq!(peer.answer(stream)?, Answer::Status(200), "{authority}");
        peer.echoed(stream, authority.as_bytes())?;
    }
    let before = scene.echo.peers().len();
    for authority in [
        // A Service that other pods serve, ports that a Service has not, names that nobody has.
        "near.shop.svc.cluster.local:80".to_owned(),
        format!("server.shop.svc.cluster.local:{ECHO}"),
        "server.shop.svc.cluster.local:81".to_owned(),
        "nobody.shop.svc.cluster.local:80".to_owned(),
        "server.legacy.svc.cluster.local:80".to_owned(),
        "localhost:80".to_owned(),
    ] {
        let stream = peer.connect(&authority)?;
        let answer = peer.answer(stream)?;
        assert!(matches!(answer, Answer::Status(400 | 503)), "{answer:?} to {authority}");
    }
    assert_eq!(scene.echo.peers().len(), before);
    drop(peer);
    let record = scene.mesh.daemon("node2").wait_record(|it| it.service.is_some())?;
    assert!(record.joins("attacker", "server"), "{record:?}");
    assert_eq!(record.service.as_deref(), Some("server.shop.svc.cluster.local"));
    assert_eq!(record.destination, scene.server().at(ECHO));
    scene.check_served()
}

#[test]
fn what_a_peer_says_of_itself_does_not_count_with_policy() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let (client, server) = (scene.client(), scene.server());
    let spoofed = ConnectRequest {
        baggage: Some("k8s.namespace.name=shop,k8s.pod.name=client,service.name=client".into()),
        forwarded: Some(format!("for={};host=server.shop", client.ip()).into()),
        ..ConnectRequest::new(server.at(ECHO).to_string())
    };
    let ask = || -> Result<Answer, LabError> {
        let mut peer = scene.peer("shop/attacker")?;
        let stream = peer.ask(&spoofed)?;
        Ok(peer.answer(stream)?)
    };
    assert_eq!(ask()?, Answer::Status(200));
    let only = |rule: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: only, namespace: shop}}\n\
             spec:\n  selector: {{matchLabels: {{app: server}}}}\n  action: ALLOW\n  \
             rules: [{{from: [{{source: {rule}}}]}}]\n"
        )
    };
    let rules = [
        "{principals: [cluster.local/ns/shop/sa/client]}".to_owned(),
        format!("{{ipBlocks: [{}]}}", client.ip()),
        format!("{{remoteIpBlocks: [{}]}}", client.ip()),
    ];
    for rule in rules {
        scene.mesh.apply(&only(&rule))?;
        eventually("the peer is refused whatever it says", || {
            Ok((ask()? == Answer::Status(401)).then_some(()))
        })?;
        scene.mesh.delete("AuthorizationPolicy", "shop", "only")?;
        eventually("the peer is let in again", || Ok((ask()? == Answer::Status(200)).then_some(())))?;
    }
    // And it cannot shift the blame: a policy against the client does not hit who claims to be it.
    scene.mesh.apply(&only("{notPrincipals: [cluster.local/ns/shop/sa/client]}"))?;
    eventually("the client is denied", || Ok(scene.check_served().is_err().then_some(())))?;
    assert_eq!(ask()?, Answer::Status(200));
    Ok(())
}

#[test]
fn nobody_comes_in_under_a_certificate_that_is_not_good() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let (attacker, server) = (scene.mesh.pod("shop/attacker"), scene.server());
    let own = attacker.identity();
    let other = certs::Authority::ephemeral("cluster.local").map_err(std::io::Error::other)?;
    let ago = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() - 7200));
    let (mesh, now) = (&scene.authority, UnixTime::now());
    let bad = [
        ("none", None),
        ("expired", Some(Credential::new(mesh, &own, ago))),
        ("another CA's", Some(Credential::new(&other, &own, now))),
        (
            "another trust domain's",
            Some(Credential::new(mesh, "spiffe://other.local/ns/shop/sa/attacker", now)),
        ),
        ("another pod's", Some(Credential::new(mesh, &scene.client().identity(), now))),
    ];
    for (what, credential) in &bad {
        let asked = Peer::shake(attacker.connect(server.at(HBONE))?, credential.as_ref());
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        let asked = asked.and_then(|mut peer| {
            let stream = peer.connect(&server.at(ECHO))?;
            peer.answer(stream)
        });
        assert!(asked.is_err(), "{what}: {asked:?}");
    }
    assert_eq!(scene.echo.peers(), []);
    let daemon = scene.mesh.daemon("node2");
    let failures = |cause| {
        let labels = [("direction", "inbound"), ("cause", cause)];
        daemon.wait_metric("ambient_tunnel_handshake_failures_total", &labels, |it| it > 0.0)
    };
    // All but the first: who shows nothing has no identity to be wrong about.
    assert_eq!(failures("identity")?, 4.0);
    assert_eq!(failures("tls")?, 1.0);
    let mut peer = scene.peer("shop/attacker")?;
    let stream = peer.connect(&server.at(ECHO))?;
    assert_eq!(peer.answer(stream)?, Answer::Status(200), "its own certificate is good");
    scene.check_served()
}

#[test]
fn bytes_without_sense_reach_nothing() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let batch = scene.mesh.pod("legacy/batch");
    let noise: Vec<u8> = (0..100_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let sayings: [&[u8]; 4] =
        [&noise, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0x16; 5]];
    for port in [15001, 15006, HBONE] {
        for saying in sayings {
            let Ok(mut stream) = batch.connect(scene.server().at(port)) else { continue };
            let _may_be_closed_already = stream.write_all(saying);
            let _half = stream.shutdown(std::net::Shutdown::Write);
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut heard = Vec::new();
            // The end comes, with an alert before it at most.
            match stream.read_to_end(&mut heard) {
                Ok(_) => assert!(heard.len() < 100, "{} bytes from port {port}", heard.len()),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "port {port}"),
            }
        }
    }
    assert_eq!(scene.echo.peers(), []);
    scene.check_served()
}
