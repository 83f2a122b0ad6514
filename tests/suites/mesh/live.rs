//! A mesh that changes reaches the connections that live, within a second.

use std::net::TcpStream;

use e2e::calls::{cut_soon, exchange, opened, shop, until_draining, until_served};
use harness::{LabError, Mesh, Pod, Stack, eventually, serve};
use serde_json::json;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn strict_mode_that_comes_ends_plaintext_and_nothing_else() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(strict_mode_comes)
}

fn strict_mode_comes(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, batch, server) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("shop/server"));
    let _servers = [PORT, PORT + 1].map(|port| server.serve(port, serve::echo()));
    let mut tunnelled = opened(&client, server.at(PORT))?;
    let mut other = opened(&batch, server.at(PORT + 1))?;
    let selected = "selector: {matchLabels: {app: server}}";
    for (spec, port) in [
        ("mtls: {mode: STRICT}".to_owned(), PORT),
        (format!("{selected}, mtls: {{mode: STRICT}}"), PORT),
        (format!("{selected}, portLevelMtls: {{{PORT}: {{mode: STRICT}}}}"), PORT),
    ] {
        let mut live = opened(&batch, server.at(port))?;
        mesh.apply(&peer_authentication("shop", &spec))?;
        cut_soon(&mut live)?;
        exchange(&mut tunnelled)?;
        if spec.contains("portLevelMtls") {
            exchange(&mut other)?;
        } else {
            cut_soon(&mut other)?;
        }
        mesh.delete("PeerAuthentication", "shop", "strict")?;
        until_served("plaintext is let in again", &batch, server.at(PORT))?;
        other = opened(&batch, server.at(PORT + 1))?;
    }
    mesh.daemon("node2").wait_metric("ambient_connections_cut_total", &POLICY, |cuts| cuts >= 5.0)?;
    Ok(())
}

#[test]
fn a_live_plaintext_connection_to_a_pod_that_is_not_captured_ends_when_policy_refuses_it()
-> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(unprotected)
}

fn unprotected(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, near, printer) =
        (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("legacy/printer"));
    let _echo = printer.serve(PORT, serve::echo())?;
    let _other = printer.serve(PORT + 1, serve::echo())?;
    // It is to be captured and cannot be: nobody but the sender's daemon enforces what is said of it.
    let _held = printer.listen(15008)?;
    mesh.patch("Namespace", "", "legacy", &json!({ "metadata": { "labels": { MODE: "ambient" } } }))?;
    let pending = "the pod is known to be wanted";
    eventually(pending, || {
        opened(&client, printer.at(PORT))?;
        let counted = mesh.daemon("node1").scrape()?.sum("ambient_unprotected_connections_total", &[]);
        Ok(counted.filter(|count| *count > 0.0).map(drop))
    })?;
    let mut cuts = 0.0;
    for policy in [
        peer_authentication("legacy", "mtls: {mode: STRICT}"),
        peer_authentication("legacy", &format!("selector: {{matchLabels: {{app: printer}}}}, {PORT_LEVEL}")),
        authorization(
            "strict",
            "legacy",
            "printer",
            "DENY",
            &format!("to: [{{operation: {{ports: [\"{PORT}\"]}}}}]"),
        ),
        authorization("strict", "legacy", "printer", "ALLOW", &principal("shop/sa/client")),
    ] {
        let mut live = [opened(&client, printer.at(PORT))?, opened(&near, printer.at(PORT))?];
        let mut elsewhere = opened(&client, printer.at(PORT + 1))?;
        mesh.apply(&policy)?;
        live.iter_mut().try_for_each(cut_soon)?;
        if policy.contains("8080") {
            exchange(&mut elsewhere)?;
        }
        cuts += 2.0;
        mesh.daemon("node1").wait_metric("ambient_connections_cut_total", &POLICY, |count| count >= cuts)?;
        let record =
            mesh.daemon("node1").wait_record(|it| it.source.ip() == near.ip() && it.error.is_some())?;
        let error = record.error.unwrap_or_default();
        assert!(error.contains("policy no longer allows plaintext"), "{error}");
        let kind =
            if policy.contains("PeerAuthentication") { "PeerAuthentication" } else { "AuthorizationPolicy" };
        mesh.delete(kind, "legacy", "strict")?;
        until_served("plaintext may go again", &client, printer.at(PORT))?;
    }
    Ok(())
}

#[test]
fn one_of_two_allow_policies_that_goes_takes_along_whom_only_it_let_in() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::Dual))?;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let batch = mesh.pod("legacy/batch");
    let _servers = [&near, &server].map(|pod| pod.serve(PORT, serve::echo()));
    let blocks: Vec<_> = batch.ips().iter().map(|ip| format!("\"{ip}\"")).collect();
    let by_address = format!("from: [{{source: {{ipBlocks: [{}]}}}}]", blocks.join(", "));
    // By tunnel, on one node, and in plaintext.
    for (target, from, kept) in
        [(&server, &client, &batch), (&near, &client, &batch), (&server, &batch, &client)]
    {
        let rule =
            |pod: &Pod| if pod.name() == "batch" { by_address.clone() } else { principal("shop/sa/client") };
        mesh.apply(&authorization("one", "shop", target.name(), "ALLOW", &rule(from)))?;
        mesh.apply(&authorization("two", "shop", target.name(), "ALLOW", &rule(kept)))?;
        for pod in [from, kept] {
            until_served("it is let in", pod, target.at(PORT))?;
        }
        let mut live = on_each(from, target)?;
        let mut others = on_each(kept, target)?;
        mesh.delete("AuthorizationPolicy", "shop", "one")?;
        live.iter_mut().try_for_each(cut_soon)?;
        others.iter_mut().try_for_each(exchange)?;
        mesh.delete("AuthorizationPolicy", "shop", "two")?;
        until_served("all are let in where no policy is", from, target.at(PORT))?;
        others.iter_mut().try_for_each(exchange)?;
    }
    mesh.daemon("node2").wait_metric("ambient_connections_cut_total", &POLICY, |cuts| cuts >= 4.0)?;
    mesh.daemon("node1").wait_metric("ambient_connections_cut_total", &POLICY, |cuts| cuts >= 2.0)?;
    Ok(())
}

#[test]
fn a_policy_that_comes_while_a_namespace_drains_reaches_what_drains() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(denied_while_draining)
}

fn denied_while_draining(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (near, server, printer) =
        (mesh.pod("shop/near"), mesh.pod("shop/server"), mesh.pod("legacy/printer"));
    let batch = mesh.pod("legacy/batch");
    let _servers = [&batch, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    mesh.patch("Namespace", "", "legacy", &json!({ "metadata": { "labels": { MODE: "ambient" } } }))?;
    mesh.wait_settled()?;
    // By tunnel both ways, and on one node.
    let mut live =
        [opened(&near, printer.at(PORT))?, opened(&server, batch.at(PORT))?, opened(&near, batch.at(PORT))?];
    mesh.patch("Namespace", "", "legacy", &json!({ "metadata": { "labels": { MODE: null } } }))?;
    until_draining(&mesh, &[&batch, &printer])?;
    live.iter_mut().try_for_each(exchange)?;
    mesh.apply(&authorization("wall", "legacy", "batch", "DENY", ""))?;
    let [printing, batched @ ..] = &mut live;
    batched.iter_mut().try_for_each(cut_soon)?;
    exchange(printing)?;
    mesh.apply(&authorization("wall", "legacy", "printer", "DENY", ""))?;
    cut_soon(printing)?;
    for (pod, node) in [(&batch, "node1"), (&printer, "node2")] {
        eventually("the pod is let go of", || Ok(mesh.daemon(node).phase(pod)?.is_none().then_some(())))?;
    }
    Ok(())
}

/// A connection to each address of a pod.
fn on_each(from: &Pod, to: &Pod) -> Result<Vec<TcpStream>, LabError> {
    Ok(to.ips().iter().map(|ip| opened(from, (*ip, PORT).into())).collect::<Result<_, _>>()?)
}

/// A PeerAuthentication named `strict`.
fn peer_authentication(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: strict, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

fn authorization(name: &str, namespace: &str, app: &str, action: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{selector: {{matchLabels: {{app: {app}}}}}, action: {action}, rules: [{{{rule}}}]}}\n"
    )
}

fn principal(name: &str) -> String {
    format!("from: [{{source: {{principals: [cluster.local/ns/{name}]}}}}]")
}

const MODE: &str = "istio.io/dataplane-mode";
const PORT_LEVEL: &str = "portLevelMtls: {8080: {mode: STRICT}}";
const POLICY: [(&str, &str); 1] = [("reason", "policy")];
