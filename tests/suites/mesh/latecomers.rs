//! Pods that are captured before the mesh has heard of them.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use e2e::calls::{opened, shop};
use harness::{Daemon, Lab, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, eventually, serve};
use serde_json::json;

/// Where servers serve.
const PORT: u16 = 8080;

/// A pod that its own node's daemon is asked to capture and knows nothing of, while the other node's knows it well.
struct Latecomer {
    mesh: Mesh,
    pod: Pod,
    /// Its manifest, as the daemon of its node reads it.
    manifest: PathBuf,
    text: Vec<u8>,
}

impl Latecomer {
    fn enrolled(stack: Stack) -> Result<Self, LabError> {
        let mut cluster = shop(stack);
        cluster.pod(PodSpec::new("shop", "late").node("node2"));
        let lab = Lab::up(&cluster)?;
        let folder = lab.folder().join("manifests-of-node2");
        fs::create_dir(&folder)?;
        for manifest in fs::read_dir(lab.manifests())? {
            let manifest = manifest?;
            fs::copy(manifest.path(), folder.join(manifest.file_name()))?;
        }
        let own = json!({ "source": { "manifests": folder } });
        let options = MeshOptions { nodes: [("node2".to_owned(), own)].into(), ..MeshOptions::default() };
        let mesh = Mesh::on(lab, &options)?;
        let (pod, daemon) = (mesh.pod("shop/late"), mesh.daemon("node2"));
        let manifest = folder.join("pod-shop-late.yaml");
        let text = fs::read(&manifest)?;
        fs::remove_file(&manifest)?;
        eventually("the pod is let go of", || Ok(daemon.phase(&pod)?.is_none().then_some(())))?;
        let path = pod.mounted().display().to_string();
        daemon.enrol(&["add", pod.uid(), "--name", "late", "--namespace", "shop", "--netns", &path])?;
        mesh.daemon("node1").wait_knows(std::slice::from_ref(&pod))?;
        Ok(Self { mesh, pod, manifest, text })
    }

    fn daemon(&self) -> &Daemon {
        self.mesh.daemon("node2")
    }

    /// The mesh hears of it, a while after it was captured.
    fn becomes_known(&self) -> Result<(), LabError> {
        std::thread::sleep(Duration::from_secs(1));
        let draft = self.manifest.with_extension("draft");
        fs::write(&draft, &self.text)?;
        Ok(fs::rename(draft, &self.manifest)?)
    }
}

#[test]
fn the_first_calls_of_a_pod_that_the_mesh_hears_of_later_wait_and_are_served() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(served)
}

fn served(stack: Stack) -> Result<(), LabError> {
    let late = Latecomer::enrolled(stack)?;
    let (mesh, pod) = (&late.mesh, &late.pod);
    let (client, batch, printer) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("legacy/printer"));
    let _servers = [pod, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    // By tunnel, in plaintext, and its own.
    let calls = [(&client, pod, "hbone"), (&batch, pod, "passthrough"), (pod, &printer, "direct")];
    let served = std::thread::scope(|scope| {
        let calls = calls.map(|(from, to, _)| scope.spawn(|| opened(from, to.at(PORT))?.local_addr()));
        late.becomes_known()?;
        Ok::<_, LabError>(calls.map(|call| call.join().expect("no caller panics")))
    })?;
    for ((from, to, path), local) in calls.iter().zip(served) {
        let local =
            local.unwrap_or_else(|error| panic!("{} was not served by {}: {error}", from.name(), to.name()));
        let of_it =
            |it: &harness::AccessRecord| it.source.ip() == local.ip() && it.joins(from.name(), to.name());
        let record = late.daemon().wait_record(of_it)?;
        assert_eq!((record.path.as_str(), &record.error), (*path, &None), "{record:?}");
    }
    Ok(())
}

#[test]
fn calls_of_a_pod_that_the_mesh_never_hears_of_are_refused_and_on_record() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(refused)
}

fn refused(stack: Stack) -> Result<(), LabError> {
    let late = Latecomer::enrolled(stack)?;
    let (mesh, pod, daemon) = (&late.mesh, &late.pod, late.daemon());
    let (client, batch, printer) =
        (mesh.pod("shop/client"), mesh.pod("legacy/batch"), mesh.pod("legacy/printer"));
    let echoes = [pod, &printer].map(|pod| pod.serve(PORT, serve::echo()));
    let calls = [(&client, pod), (&batch, pod), (pod, &printer)];
    let refused = std::thread::scope(|scope| {
        let calls = calls.map(|(from, to)| scope.spawn(|| opened(from, to.at(PORT)).map(drop)));
        calls.map(|call| call.join().expect("no caller panics"))
    });
    for ((from, to), refused) in calls.iter().zip(refused) {
        let refused = refused.map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionReset), "{} calls {}", from.name(), to.name());
    }
    for echo in echoes {
        assert_eq!(echo?.peers(), []);
    }
    for (from, direction, error) in [
        (&batch, "inbound", "the mesh does not know the pod that the connection is for"),
        (pod, "outbound", "the mesh does not know the pod that the connection comes from"),
    ] {
        let of_it = |it: &harness::AccessRecord| it.source.ip() == from.ip() && it.direction == direction;
        assert_eq!(daemon.wait_record(of_it)?.error.as_deref(), Some(error));
        let reporter = if direction == "inbound" { "destination" } else { "source" };
        let flags = [("reporter", reporter), ("response_flags", "IDENTITY_ERROR")];
        daemon.wait_metric("istio_tcp_connections_failed_total", &flags, |count| count == 1.0)?;
    }
    let cause = [("direction", "inbound"), ("cause", "unknown_pod")];
    daemon.wait_metric("ambient_tunnel_handshake_failures_total", &cause, |count| count >= 1.0)?;
    let told = daemon.log()?;
    assert!(
        told.lines().any(|line| line.contains("tunnel is refused") && line.contains(pod.uid())),
        "{told}"
    );
    Ok(())
}
