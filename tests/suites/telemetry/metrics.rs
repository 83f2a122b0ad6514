//! Metrics move with what they count, while it happens.

use harness::{LabError, Mesh, eventually, serve};
use serde_json::json;

use crate::scene::{cluster, exchange, mesh, talk};

#[test]
fn bytes_streams_and_tunnels_are_counted_while_the_connection_lives() -> Result<(), LabError> {
    // Workers share no tunnels.
    let mesh = mesh(json!({ "workers": 1 }))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    let echo = server.serve(0, serve::echo())?;
    let mut live = talk(&client, server.at(echo.port()), 1000)?;
    let source = [("reporter", "source"), ("destination_workload", "server")];
    let before = here.wait_metric("istio_tcp_sent_bytes_total", &source, |bytes| bytes >= 1000.0)?;
    exchange(&mut live, 5000)?;
    let after = here.wait_metric("istio_tcp_sent_bytes_total", &source, |bytes| bytes > before)?;
    assert!((after - before - 5000.0).abs() < 0.5, "{before} and 5000 are not {after}");
    for (daemon, direction, reporter) in [(here, "outbound", "source"), (there, "inbound", "destination")] {
        let scrape = daemon.scrape()?;
        let of = [("direction", direction)];
        assert_eq!(scrape.sum("ambient_tunnels_open", &of), Some(1.0), "{direction}");
        assert_eq!(scrape.sum("ambient_tunnel_streams_open", &of), Some(1.0), "{direction}");
        let kind = [("direction", direction), ("kind", "full")];
        assert_eq!(scrape.sum("ambient_tunnel_handshake_duration_seconds_count", &kind), Some(1.0));
        daemon.wait_metric("istio_tcp_sockets_open", &[("reporter", reporter)], |open| open == 1.0)?;
    }
    let second = talk(&client, server.at(echo.port()), 1)?;
    here.wait_metric("ambient_tunnel_pool_requests_total", &[("outcome", "reused")], |it| it >= 1.0)?;
    here.wait_metric("ambient_dials_total", &[("path", "hbone"), ("outcome", "connected")], |it| it == 2.0)?;
    drop((live, second));
    here.wait_metric("ambient_tunnel_streams_open", &[("direction", "outbound")], |open| open == 0.0)?;
    here.wait_metric("istio_tcp_sockets_open", &[("reporter", "source")], |open| open == 0.0)?;
    Ok(())
}

#[test]
fn streams_wait_for_a_tunnel_that_is_being_opened_and_the_next_one_resumes() -> Result<(), LabError> {
    let mesh = mesh(json!({ "workers": 1, "timeouts": { "idleTunnel": "1s" } }))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    let echo = server.serve(0, serve::echo())?;
    // The peer's network lets no tunnel in for a while.
    let network = there.node();
    network
        .sh("nft 'add table inet wall; add chain inet wall on { type filter hook forward priority 0; }'")?;
    network.sh("nft add rule inet wall on tcp dport 15008 drop")?;
    let mut calls = (0..5).map(|_| client.connect(server.at(echo.port()))).collect::<Result<Vec<_>, _>>()?;
    here.wait_metric("ambient_tunnel_pool_requests_total", &[("outcome", "waited")], |it| it == 4.0)?;
    network.sh("nft delete table inet wall")?;
    calls.iter_mut().try_for_each(|call| exchange(call, 10))?;
    here.wait_metric("ambient_tunnel_pool_requests_total", &[("outcome", "dialled")], |it| it == 1.0)?;

    drop(calls);
    here.wait_metric("ambient_tunnels_open", &[("direction", "outbound")], |open| open == 0.0)?;
    drop(talk(&client, server.at(echo.port()), 10)?);
    for (daemon, direction) in [(here, "outbound"), (there, "inbound")] {
        for kind in ["full", "resumed"] {
            let of = [("direction", direction), ("kind", kind)];
            let count = "ambient_tunnel_handshake_duration_seconds_count";
            daemon.wait_metric(count, &of, |handshakes| handshakes == 1.0)?;
        }
    }
    Ok(())
}

#[test]
fn decisions_name_their_policy_and_unprotected_bytes_are_counted() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let (client, server, printer) =
        (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("legacy/printer"));
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    let (echo, plain) = (server.serve(0, serve::echo())?, printer.serve(0, serve::echo())?);
    talk(&client, server.at(echo.port()), 10)?;
    let free = [("policy_name", ""), ("decision", "allow"), ("reason", "no_policy")];
    there.wait_metric("ambient_policy_decisions_total", &free, |count| count == 1.0)?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: wall, namespace: shop}\n\
         spec: {action: DENY, rules: [{from: [{source: {namespaces: [bank]}}]}, {}]}\n",
    )?;
    eventually("the client is denied", || {
        Ok(talk(&client, server.at(echo.port()), 1).is_err().then_some(()))
    })?;
    // The first one may have been let in and cut: this one is refused when it asks.
    assert!(talk(&client, server.at(echo.port()), 1).is_err());
    let wall = [("policy_namespace", "shop"), ("policy_name", "wall"), ("rule", "1"), ("decision", "deny")];
    there.wait_metric("ambient_policy_decisions_total", &wall, |count| count >= 1.0)?;
    here.wait_metric("ambient_dials_total", &[("outcome", "peer_refused")], |count| count >= 1.0)?;
    talk(&client, printer.at(plain.port()), 777)?;
    for direction in ["sent", "received"] {
        let of = [("reporter", "source"), ("direction", direction)];
        here.wait_metric("ambient_unprotected_bytes_total", &of, |bytes| bytes == 777.0)?;
    }
    Ok(())
}

#[test]
fn pods_certificates_and_repairs_are_told() -> Result<(), LabError> {
    let mesh = Mesh::up(&cluster())?;
    let (client, here) = (mesh.pod("shop/client"), mesh.daemon("node1"));
    let scrape = here.scrape()?;
    let value = |name: &str| scrape.sum(name, &[]);
    assert_eq!((value("ambient_pods_wanted"), value("ambient_pods_missing")), (Some(2.0), Some(0.0)));
    assert_eq!(scrape.sum("ambient_pods", &[("phase", "captured")]), Some(2.0));
    assert_eq!(value("workload_manager_active_proxy_count"), Some(2.0));
    assert_eq!(value("workload_manager_proxies_started_total"), Some(2.0));
    assert_eq!(value("ambient_capture_repairs_total"), Some(0.0));
    assert!(value("tokio_alive_tasks").is_some_and(|tasks| tasks > 0.0));
    here.wait_metric("ambient_identities", &[("state", "available")], |count| count == 2.0)?;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
    let of = [("identity", &*client.identity())];
    here.wait_metric("ambient_certificate_expiry_timestamp_seconds", &of, |ends| ends > now)?;
    here.wait_metric("ambient_certificate_fetches_total", &[("outcome", "fetched")], |count| count >= 2.0)?;
    client.sh("nft flush ruleset")?;
    here.wait_metric("ambient_capture_repairs_total", &[], |repairs| repairs >= 1.0)?;
    Ok(())
}

#[test]
fn label_sets_beyond_the_limit_are_counted_under_overflow() -> Result<(), LabError> {
    let mesh = mesh(json!({ "limits": { "metricSeries": 1 } }))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    let _first = talk(&client, server.at(echo.port()), 10)?;
    let _second = talk(&near, server.at(echo.port()), 20)?;
    let here = mesh.daemon("node1");
    let overflow = [("source_workload", "overflow")];
    here.wait_metric("istio_tcp_sent_bytes_total", &overflow, |bytes| bytes == 20.0)?;
    here.wait_metric("ambient_metric_overflow_total", &[("family", "istio_tcp")], |count| count >= 1.0)?;
    Ok(())
}
