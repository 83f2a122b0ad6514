//! What an operator brings in a Secret, under the names of Istio's `cacerts`.

use certs::{SignedChain, pem_of, serial_number};
use e2e::pki::{Pki, Signing};
use harness::{LabError, eventually};

use crate::scene::{Ca, Scene};

#[test]
fn an_intermediate_in_a_secret_signs_and_the_next_follows_it() -> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let pki = Pki::rsa();
    let (first, second) = (pki.rsa_intermediate_until("first", 4096), pki.intermediate("second"));
    scene.make_secret(&first.files(&pki.certificate()))?;
    let ca = scene.ca_with("one", &scene.secret())?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    let signs = |signing: &Signing| {
        let SignedChain { chain, roots } = ca.ask(&scene, &token, &scene.id("cart"))?.expect("it runs there");
        let numbers: Vec<_> = chain.iter().skip(1).map(|it| serial_number(it).expect("a number")).collect();
        assert_eq!(numbers, [signing.serial()], "the leaf's issuer goes along");
        assert_eq!(pem_of(&roots), pki.certificate());
        Ok::<_, LabError>(())
    };
    signs(&first)?;
    scene.write_entries(&entries(&second.files(&pki.certificate())))?;
    wait_signer(&scene, &ca, &second)?;
    signs(&second)?;
    // The CA makes nothing of its own there.
    assert_eq!(scene.names()?, ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]);
    Ok(())
}

#[test]
fn an_intermediate_that_does_not_belong_to_its_key_is_not_taken_and_the_one_in_use_signs()
-> Result<(), LabError> {
    let scene = Scene::new()?;
    let daemon = scene.pod("ztunnel-1", "ztunnel", "one")?;
    scene.pod("cart", "cart", "one")?;
    let pki = Pki::p384();
    let (first, second) = (pki.intermediate("first"), pki.intermediate("second"));
    scene.make_secret(&first.files(&pki.certificate()))?;
    let ca = scene.ca_with("one", &scene.secret())?;
    let token = scene.token("ztunnel", Some(&daemon))?;
    let files = second.files(&pki.certificate());
    let but_its_key: Vec<_> = entries(&files).into_iter().filter(|(name, _)| *name != "ca-key.pem").collect();
    scene.write_entries(&but_its_key)?;
    eventually("the fault was not said", || Ok(ca.log(&scene)?.contains("root is not taken").then_some(())))?;
    wait_signer(&scene, &ca, &first)?;
    ca.ask(&scene, &token, &scene.id("cart"))?.expect("the one in use signs");
    scene.write_entries(&entries(&files))?;
    wait_signer(&scene, &ca, &second)
}

/// Waits until the CA signs with that certificate.
fn wait_signer(scene: &Scene, ca: &Ca, signing: &Signing) -> Result<(), LabError> {
    eventually("the CA does not sign with what the Secret has", || {
        let signer = &ca.status(scene)?["chain"][0]["serial"];
        Ok((*signer == signing.serial()).then_some(()))
    })
}

fn entries(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}
