//! Interfaces that pods say are those of virtual machines.

use e2e::calls::{opened, until_refused, until_served};
use harness::{LabError, Stack, eventually, serve};
use serde_json::json;

use crate::scene::mesh_over;

/// Where the server serves.
const PORT: u16 = 8080;

#[test]
fn nobody_comes_in_as_the_pod_by_an_uplink_that_it_calls_a_machine_s() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(called_a_machine_s)
}

fn called_a_machine_s(stack: Stack) -> Result<(), LabError> {
    let mesh = mesh_over(stack, "", json!({}))?;
    let (client, server, outsider) =
        (mesh.pod("shop/client"), mesh.pod("shop/server"), mesh.pod("legacy/batch"));
    let echo = server.serve(PORT, serve::echo())?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\n\
         spec: {mtls: {mode: STRICT}}\n",
    )?;
    until_refused("plaintext is refused", &outsider, server.at(PORT))?;
    until_served("the mesh is let in", &client, server.at(PORT))?;
    let before = echo.peers().len();

    let wish = json!({ "metadata": { "annotations": { "istio.io/reroute-virtual-interfaces": "eth0" } } });
    mesh.patch("Pod", "shop", "server", &wish)?;
    let daemon = mesh.daemon("node2");
    let told = eventually("the wish is refused", || {
        Ok(daemon.phase(&server)?.filter(|it| it.phase == "captured").and_then(|it| it.problem))
    })?;
    let why = format!("eth0 is left out: it has the pod's own address {}", server.ip());
    assert!(told.contains(&why), "{told}");
    let status = daemon.get("/config_dump/pods")?.body;
    assert!(status.contains(&why), "{status}");
    assert!(opened(&outsider, server.at(PORT)).is_err(), "plaintext is refused still");
    assert_eq!(echo.peers().len(), before);
    opened(&client, server.at(PORT))?;
    Ok(())
}
