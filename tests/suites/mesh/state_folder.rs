//! The folder in which a daemon remembers its pods is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use e2e::calls::{exchange, opened, outbound, shop};
use harness::{Lab, LabError, Mesh, MeshOptions, Stack, eventually, serve};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::enrolment::traces;

/// Where servers serve.
const PORT: u16 = 8080;

#[test]
fn while_the_state_folder_is_full_no_pod_comes_in_and_the_others_go_on_and_may_leave() -> Result<(), LabError>
{
    let lab = Lab::up(&shop(Stack::V4))?;
    let folder = lab.node("node1").folder().join("state");
    make_small(&folder)?;
    let mesh = Mesh::on(lab, &MeshOptions::default())?;
    let daemon = mesh.daemon("node1");
    let (client, near, server) = (mesh.pod("shop/client"), mesh.pod("shop/near"), mesh.pod("shop/server"));
    let batch = mesh.pod("legacy/batch");
    let _servers = [&client, &server].map(|pod| pod.serve(PORT, serve::echo()));
    let mut live = [opened(&client, server.at(PORT))?, opened(&near, server.at(PORT))?];
    let ballast = fill(&folder)?;
    let before = (traces(&batch)?, names(&folder)?);

    mesh.patch("Namespace", "", "legacy", &dataplane_mode("ambient"))?;
    let told = eventually("the pod is refused", || {
        Ok(daemon.phase(&batch)?.filter(|it| it.phase == "failed").and_then(|it| it.problem))
    })?;
    assert!(told.contains("No space left on device") && told.contains(batch.uid()), "{told}");
    let path = batch.mounted().display().to_string();
    let by_hand = ["add", batch.uid(), "--name", "batch", "--namespace", "legacy", "--netns", &path];
    let refused = daemon.enrol(&by_hand).expect_err("nor is it when asked for by hand").to_string();
    assert!(refused.contains("No space left on device"), "{refused}");
    assert_eq!((traces(&batch)?, names(&folder)?), before);

    live.iter_mut().try_for_each(exchange)?;
    let local = opened(&client, server.at(PORT))?.local_addr()?;
    assert_eq!(outbound(daemon, local)?.path, "hbone");
    mesh.patch("Pod", "shop", "near", &dataplane_mode("none"))?;
    eventually("it drains", || Ok(daemon.phase(&near)?.filter(|it| it.phase == "draining").map(drop)))?;
    live.iter_mut().try_for_each(exchange)?;
    drop(live);
    eventually("it is let go of", || Ok(daemon.phase(&near)?.is_none().then_some(())))?;
    assert_eq!(near.sh("nft list ruleset")?, "");

    fs::remove_file(ballast)?;
    daemon.wait_captured(&batch)?;
    daemon.kill()?;
    daemon.run()?;
    mesh.wait_settled()?;
    for (from, to) in [(&client, &server), (&batch, &client)] {
        let local = opened(from, to.at(PORT))?.local_addr()?;
        assert_eq!(outbound(daemon, local)?.source_identity, Some(from.identity()));
    }
    Ok(())
}

/// Has a folder be a filesystem of a few pages.
fn make_small(folder: &Path) -> Result<(), LabError> {
    let mounted = mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=700"));
    mounted.map_err(|errno| LabError::Io(errno.into()))
}

/// Writes until nothing more is taken; hands out the file.
fn fill(folder: &Path) -> Result<PathBuf, LabError> {
    let path = folder.join("ballast.draft");
    let mut file = File::create(&path)?;
    loop {
        match file.write_all(&[0; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(path),
            Err(error) => return Err(error.into()),
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>, LabError> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<Result<Vec<_>, LabError>>()?;
    names.sort();
    Ok(names)
}

/// Of a namespace or pod: whether it is in the mesh.
pub(crate) fn dataplane_mode(mode: &str) -> serde_json::Value {
    json!({ "metadata": { "labels": { "istio.io/dataplane-mode": mode } } })
}
