//! The policy of the README, on the demo's own manifests.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Cluster, LabError, Mesh, eventually, serve};

#[test]
fn the_commands_of_the_readme_wall_the_catalog_off_and_open_it_again() -> Result<(), LabError> {
    let mesh = Mesh::up(&Cluster::read(&example("demo"))?)?;
    let (frontend, cart, catalog) =
        (mesh.pod("shop/frontend"), mesh.pod("shop/cart"), mesh.pod("shop/catalog"));
    let serving = catalog.serve(8080, serve::http("hello from shop/catalog\n"))?;
    let asked = |pod: &harness::Pod| pod.output("curl -sS --max-time 5 http://catalog");
    assert_eq!(asked(&frontend)?.stdout, "hello from shop/catalog\n");

    let (wall, placed) = (example("policy/wall.yaml"), mesh.manifests().join("wall.yaml"));
    fs::copy(&wall, &placed)?;
    let told =
        eventually("the frontend is refused", || Ok(Some(asked(&frontend)?).filter(|it| !it.success)))?;
    // A reset that comes before curl has looked at its connection is one of connecting to it.
    let reset = ["Recv failure: Connection reset by peer", "Couldn't connect to server"];
    assert!(reset.iter().any(|it| told.stderr.contains(it)), "{}", told.stderr);
    let before = serving.peers().len();
    assert!(!asked(&frontend)?.success);
    assert_eq!(serving.peers().len(), before);
    let refused = |it: &harness::AccessRecord| it.joins("frontend", "catalog") && it.error.is_some();
    let record = mesh.daemon("node2").wait_record(refused)?;
    assert_eq!(record.policy.as_deref(), Some("shop/wall rule 0"));
    let error = "policy refused the connection: denied by rule 0 of policy shop/wall";
    assert_eq!(record.error.as_deref(), Some(error));
    assert_eq!(asked(&cart)?.stdout, "hello from shop/catalog\n", "nobody else is walled off");

    fs::remove_file(&placed)?;
    eventually("the frontend is served again", || Ok(asked(&frontend)?.success.then_some(())))
}

/// What an operator is given to begin with.
fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples").join(path)
}
