//! The mesh that scenarios take place in, and what its daemons say of certificates.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{Cluster, Daemon, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, serve, wait_for};
use serde_json::{Value, json};

/// Client and neighbour on one node, server on the other.
pub(crate) fn shop() -> Cluster {
    let mut cluster = Cluster::with_stack(Stack::V4);
    cluster.ambient("shop");
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "near").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster
}

/// Daemons whose certificates last for so many seconds.
pub(crate) fn lasting(seconds: u32) -> MeshOptions {
    let config = json!({ "ca": { "certificateTtl": format!("{seconds}s") } });
    MeshOptions { config, ..MeshOptions::default() }
}

/// An echo server in a pod.
pub(crate) fn echo(pod: &Pod) -> Result<(serve::Server, SocketAddr), LabError> {
    let server = pod.serve(0, serve::echo())?;
    let at = pod.at(server.port());
    Ok((server, at))
}

/// What a daemon has for an identity, as its admin server tells it; none while it has nothing.
pub(crate) fn certificate(daemon: &Daemon, identity: &str) -> Result<Option<Value>, LabError> {
    let all = daemon.get("/config_dump/certificates")?.json()?;
    let of = |it: &&Value| it["identity"] == identity;
    let found = all.as_array().and_then(|all| all.iter().find(of));
    Ok(found.map(|it| it["certificate"].clone()).filter(|it| !it.is_null()))
}

/// The number of the certificate that a pod has.
pub(crate) fn serial(mesh: &Mesh, pod: &Pod) -> Result<String, LabError> {
    let daemon = mesh.daemon(pod.node().name());
    wait_for("the pod has no certificate", LONG, || {
        let found = certificate(daemon, &pod.identity())?;
        Ok(found.and_then(|it| it["serial"].as_str().map(str::to_owned)))
    })
}

/// Waits until every pod has another certificate than before.
pub(crate) fn wait_renewed(mesh: &Mesh, before: &[(Pod, String)]) -> Result<(), LabError> {
    before.iter().try_for_each(|(pod, old)| {
        wait_for("a certificate is not renewed", LONG, || Ok((serial(mesh, pod)? != *old).then_some(())))
    })
}

/// The certificates of some pods.
pub(crate) fn serials(mesh: &Mesh, pods: &[&Pod]) -> Result<Vec<(Pod, String)>, LabError> {
    pods.iter().map(|pod| Ok(((*pod).clone(), serial(mesh, pod)?))).collect()
}

/// The numbers of the roots that a daemon trusts for the mesh's own domain.
pub(crate) fn trusted(daemon: &Daemon) -> Result<Vec<String>, LabError> {
    let trust = daemon.get("/config_dump/trust")?.json()?;
    let own = trust.as_array().and_then(|all| all.iter().find(|it| it["domain"] == "cluster.local").cloned());
    let roots = own.map(|it| it["roots"].clone());
    let roots = roots.and_then(|it| it.as_array().cloned()).unwrap_or_default();
    Ok(roots.iter().filter_map(|it| it["serial"].as_str().map(str::to_owned)).collect())
}

/// Waits until every daemon trusts so many roots.
pub(crate) fn wait_trusted(mesh: &Mesh, count: usize) -> Result<(), LabError> {
    mesh.daemons().iter().try_for_each(|daemon| {
        wait_for("a daemon does not trust as many roots", LONG, || {
            Ok((trusted(daemon)?.len() == count).then_some(()))
        })
    })
}

/// Longer than anything takes that is spread over half a minute.
pub(crate) const LONG: Duration = Duration::from_secs(50);
