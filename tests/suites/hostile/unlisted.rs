//! A peer whose chain has a certificate that no revocation list finds.

use harness::LabError;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::peer::{Answer, Credential, Peer};
use crate::scene::{ECHO, HBONE, Scene};

#[test]
fn a_chain_with_a_certificate_that_no_list_finds_is_served_and_counted() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let (attacker, node) = (scene.mesh.pod("shop/attacker"), scene.mesh.daemon("node2"));
    let told = [("reporter", "destination")];
    let count = || Ok::<_, LabError>(node.scrape()?.sum("istio_crl_untracked_connections_total", &told));
    let plain = Credential::new(&scene.authority, &attacker.identity(), UnixTime::now());
    let served = |credential: &Credential| {
        let mut peer = Peer::shake(attacker.connect(scene.server().at(HBONE))?, Some(credential))?;
        let number = peer.connect(&scene.server().at(ECHO))?;
        assert_eq!(peer.answer(number)?, Answer::Status(200));
        Ok::<_, LabError>(())
    };
    served(&plain)?;
    assert_eq!(count()?, Some(0.0));
    served(&plain.with(strange()))?;
    node.wait_metric("istio_crl_untracked_connections_total", &told, |count| count == 1.0)?;
    scene.check_served()
}

/// A certificate with a critical extension that nobody knows. It is on no way from the leaf to a root.
fn strange() -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 99], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate")
}
