//! Which connections leave a record.

use harness::{LabError, Mesh, eventually, serve};
use serde_json::json;

use crate::scene::{cluster, mesh, talk};

#[test]
fn a_namespace_that_wants_failures_only_has_only_those_recorded() -> Result<(), LabError> {
    let mut cluster = cluster();
    cluster.yaml(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: quiet\n  labels: {istio.io/dataplane-mode: ambient}\n  \
         annotations: {ambient.mesh/access-log: failures}\n",
    )?;
    cluster.pod(harness::PodSpec::new("quiet", "mouse").node("node1"));
    let mesh = Mesh::up(&cluster)?;
    let (mouse, server) = (mesh.pod("quiet/mouse"), mesh.pod("shop/server"));
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    let echo = server.serve(0, serve::echo())?;
    drop(talk(&mouse, server.at(echo.port()), 5)?);
    there.wait_record(|it| it.direction == "inbound" && it.joins("mouse", "server") && it.error.is_none())?;
    here.wait_metric("ambient_access_records_skipped_total", &[], |skipped| skipped >= 1.0)?;
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {name: wall, namespace: shop}\nspec: {action: DENY, rules: [{}]}\n",
    )?;
    eventually("the mouse is denied", || Ok(talk(&mouse, server.at(echo.port()), 1).is_err().then_some(())))?;
    let denied = here.wait_record(|it| it.source_workload.as_deref() == Some("mouse"))?;
    assert!(denied.error.is_some(), "only what failed is recorded: {denied:?}");
    Ok(())
}

#[test]
fn a_sample_is_the_same_at_both_ends_and_leaves_no_failure_out() -> Result<(), LabError> {
    let mesh = mesh(json!({ "log": { "access": "50%" } }))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (here, there) = (mesh.daemon("node1"), mesh.daemon("node2"));
    let echo = server.serve(0, serve::echo())?;
    for _ in 0..60 {
        drop(talk(&client, server.at(echo.port()), 5)?);
    }
    let told = |daemon: &harness::Daemon, direction: &str| -> Result<usize, LabError> {
        Ok(daemon.records()?.iter().filter(|it| it.direction == direction).count())
    };
    for (daemon, direction) in [(here, "outbound"), (there, "inbound")] {
        eventually("every connection left a record or was skipped", || {
            let skipped =
                daemon.scrape()?.sum("ambient_access_records_skipped_total", &[]).unwrap_or_default();
            let told = u32::try_from(told(daemon, direction)?).map_or(f64::NAN, f64::from);
            Ok((skipped + told >= 60.0).then_some(()))
        })?;
    }
    let kept = told(here, "outbound")?;
    assert!((5..=55).contains(&kept), "{kept} of 60 is no half");
    assert_eq!(told(there, "inbound")?, kept);
    let closed = server.at(1);
    assert!(talk(&client, closed, 1).is_err());
    here.wait_record(|it| it.destination == closed && it.error.is_some())?;
    Ok(())
}

#[test]
fn records_are_lines_of_text_where_that_is_wanted() -> Result<(), LabError> {
    let mesh = mesh(json!({ "log": { "format": "text" } }))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let echo = server.serve(0, serve::echo())?;
    drop(talk(&client, server.at(echo.port()), 5)?);
    let line = eventually("a line of text", || {
        let log = mesh.daemon("node1").log()?;
        Ok(log.lines().find(|line| line.contains("\taccess\tconnection complete\t")).map(str::to_owned))
    })?;
    for part in
        ["src.workload=\"client\"", "dst.workload=\"server\"", "path=\"hbone\"", "bytes_sent=5 bytes_recv=5"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    Ok(())
}
