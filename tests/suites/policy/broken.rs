//! Policies that cannot be read: they open nothing, and are named.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use e2e::calls::{exchange, opened};
use harness::{Daemon, LabError, Mesh, Pod, eventually, serve};
use serde_json::json;

use crate::scene::{mesh, until};

/// A mesh whose daemons enforce NetworkPolicies too, and servers at two pods of it.
struct Scene {
    mesh: Mesh,
    echoes: [serve::Server; 2],
}

impl Scene {
    fn up() -> Result<Self, LabError> {
        let mesh = mesh("", json!({ "path": { "networkPolicies": true } }))?;
        let echo = |name: &str| mesh.pod(name).serve(PORT, serve::echo());
        let echoes = [echo("shop/server")?, echo("shop/near")?];
        Ok(Self { mesh, echoes })
    }

    /// That each policy in [`BROKEN`] lets nobody in to `shut` that it may keep out, cuts who is, and leaves alone all
    /// others, and `open`.
    fn check_shut(&self, shut: &Pod, open: &Pod) -> Result<(), LabError> {
        let mesh = &self.mesh;
        let (client, batch) = (mesh.pod("shop/client"), mesh.pod("legacy/batch"));
        for (policy, named, meanwhile) in BROKEN {
            // STRICT is about those without an identity alone.
            let (shut_out, let_in): (Vec<_>, Vec<_>) = [&client, &batch]
                .into_iter()
                .partition(|from| policy.0 != STRICT || from.namespace() != "shop");
            let live = |from: &[&Pod], to: &Pod| {
                from.iter().map(|from| Ok(opened(from, to.at(PORT))?)).collect::<Result<Vec<_>, LabError>>()
            };
            let mut kept = live(&let_in, shut)?;
            kept.extend(live(&[&client], open)?);
            let cut = live(&shut_out, shut)?;
            mesh.apply(&object(policy, shut.name()))?;
            let applied = Instant::now();
            for (from, mut stream) in shut_out.iter().zip(cut) {
                let end = stream.read(&mut [0]).map_err(|error| error.kind());
                assert_eq!(end, Err(ErrorKind::ConnectionReset), "{} by {named}", from.name());
                let took = applied.elapsed();
                assert!(took < Duration::from_secs(1), "{} was cut by {named} after {took:?}", from.name());
            }
            self.until_told(meanwhile)?;
            let before = self.served();
            for from in shut_out {
                check_refused(mesh, from, shut, named)?;
            }
            kept.iter_mut().try_for_each(exchange)?;
            assert_eq!(self.served(), before, "{named} let somebody in");
            opened(&client, open.at(PORT))?;
            mesh.delete(policy.0, "shop", &name(policy.0))?;
            until("it is open without", true, &batch, shut.at(PORT))?;
            self.until_nothing_is_told()?;
        }
        Ok(())
    }

    fn served(&self) -> usize {
        self.echoes.iter().map(|echo| echo.peers().len()).sum()
    }

    /// Waits until a node's status says this, which `--check` fails on; and until it does not, and nothing else.
    fn until_told(&self, told: &str) -> Result<(), LabError> {
        for node in self.mesh.daemons() {
            let mut last = String::new();
            let heard = eventually("status does not say so", || {
                last = node.status(&[])?;
                Ok(last.contains(told).then_some(()))
            });
            assert!(heard.is_ok(), "{told:?} is not in {last}");
            assert!(node.status(&["--check"]).is_err(), "{told}");
        }
        Ok(())
    }

    fn until_nothing_is_told(&self) -> Result<(), LabError> {
        let fine = |node: &Daemon| Ok(node.status(&["--check"]).is_ok().then_some(()));
        self.mesh.daemons().iter().try_for_each(|node| eventually("nothing is to be mended", || fine(node)))
    }
}

#[test]
fn a_policy_that_never_could_be_read_shuts_what_it_selects_cuts_who_is_in_and_is_named()
-> Result<(), LabError> {
    let scene = Scene::up()?;
    let (server, near) = (scene.mesh.pod("shop/server"), scene.mesh.pod("shop/near"));
    // On another node, and on the client's own.
    scene.check_shut(&server, &near)?;
    scene.check_shut(&near, &server)
}

#[test]
fn a_policy_that_is_edited_into_nonsense_stays_as_it_was_until_it_can_be_read() -> Result<(), LabError> {
    let scene = Scene::up()?;
    let mesh = &scene.mesh;
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let only = |account: &str, word: &str| {
        let principal = format!("cluster.local/ns/shop/sa/{account}");
        let rules = format!("[{{from: [{{source: {{principals: [{principal}]}}}}]}}]");
        mesh.apply(&object(("AuthorizationPolicy", &format!("{word}: ALLOW, rules: {rules}")), "server"))
    };
    only("client", "action")?;
    until("the neighbour is kept out", false, &near, server.at(PORT))?;
    let mut stream = opened(&client, server.at(PORT))?;
    // As it is meant, the client would be out and the neighbour in.
    only("near", "acton")?;
    scene.until_told("AuthorizationPolicy shop/authorizationpolicy: spec.acton: is not known")?;
    exchange(&mut stream)?;
    opened(&client, server.at(PORT))?;
    assert!(opened(&near, server.at(PORT)).is_err(), "what was read last is in force");
    only("near", "action")?;
    let ended = stream.read(&mut [0]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    until("the neighbour is let in", true, &near, server.at(PORT))?;
    scene.until_nothing_is_told()
}

/// That a call is refused, and the server's node has it on record under the policy's name.
fn check_refused(mesh: &Mesh, from: &Pod, to: &Pod, policy: &str) -> Result<(), LabError> {
    assert!(opened(from, to.at(PORT)).is_err(), "{} is served", from.name());
    // One that was cut says that it is no longer allowed.
    let refused = |error: &String| error.contains("refused the connection: ") && !error.contains("no longer");
    let record = mesh.daemon(to.node().name()).wait_record(|it| {
        it.joins(from.name(), to.name())
            && it.error.as_ref().is_some_and(refused)
            && it.policy.as_deref() == Some(policy)
    })?;
    assert_eq!(record.direction, "inbound", "{record:?}");
    Ok(())
}

/// How the policy of a kind is called.
fn name(kind: &str) -> String {
    kind.to_lowercase()
}

/// A policy about the pods of an application in `shop`.
fn object((kind, spec): (&str, &str), app: &str) -> String {
    let (version, selector) = match kind {
        "NetworkPolicy" => ("networking.k8s.io/v1", "podSelector"),
        _ => ("security.istio.io/v1", "selector"),
    };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {}, namespace: shop}}\n\
         spec: {{{selector}: {{matchLabels: {{app: {app}}}}}, {spec}}}\n",
        name(kind)
    )
}

/// A kind with a spec that has a slip of the pen, whom a record names for it, and what status says.
const BROKEN: [((&str, &str), &str, &str); 3] = [
    (
        ("AuthorizationPolicy", "acton: ALLOW, rules: [{from: [{source: {namespaces: [shop]}}]}]"),
        "shop/authorizationpolicy rule 0",
        "did you mean \"action\"?; meanwhile all that it may be about is denied",
    ),
    (
        (STRICT, "mtls: {mode: PERMISIVE}"),
        "istio-system/istio_converted_static_strict rule 0",
        "did you mean \"PERMISSIVE\"?; meanwhile it is STRICT",
    ),
    (
        ("NetworkPolicy", "ingress: [{form: [{podSelector: {}}]}]"),
        "shop/networkpolicy",
        "did you mean \"from\"?; meanwhile it lets nothing in",
    ),
];

/// The kind that is about plaintext.
const STRICT: &str = "PeerAuthentication";

/// Where servers serve.
const PORT: u16 = 8080;
