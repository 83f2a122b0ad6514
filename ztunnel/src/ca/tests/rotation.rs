//! One root after another, without a failed handshake.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, IdentityConfigs};
use rustls_pki_types::UnixTime;
use tokio::time::Instant;

use super::{Lab, id};

#[tokio::test]
async fn leaves_of_both_roots_trust_each_other_while_one_follows_the_other() {
    let mut lab = Lab::new().await;
    let (one, two) = (lab.identities("node-1"), lab.identities("node-2"));
    let before = (ready(&one, "pod").await, ready(&two, "other").await);
    let new = Authority::make_root("cluster.local", Duration::from_hours(1), UnixTime::now()).unwrap();
    let old_certificate = fs::read_to_string(lab.roots()).unwrap();

    // First both are trusted, and the old one signs.
    fs::write(lab.roots(), format!("{old_certificate}{}", new.certificate)).unwrap();
    lab.root.changed().await;
    assert_eq!(lab.root.current().trusted.len(), 2);
    // A node that comes up now learns of both; then the new one signs.
    let overlap = lab.identities("node-1");
    let overlap = ready(&overlap, "pod").await;
    fs::write(lab.folder.path().join("root/root-key.pem"), &*new.key).unwrap();
    lab.root.changed().await;
    let after = (lab.identities("node-1"), lab.identities("node-2"));
    let after = (ready(&after.0, "pod").await, ready(&after.1, "other").await);

    assert_eq!(lab.root.current().trusted.len(), 2);
    trust_each_other(&before.0, &before.1);
    trust_each_other(&overlap, &before.1);
    trust_each_other(&overlap, &after.1);
    trust_each_other(&after.0, &after.1);
}

#[tokio::test]
async fn a_folder_that_breaks_leaves_the_root_that_is_in_use() {
    let lab = Lab::new().await;
    let root = lab.root.current();
    fs::write(lab.folder.path().join("root/root-key.pem"), "broken").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(Arc::ptr_eq(&root, &lab.root.current()));
}

#[tokio::test]
async fn roots_are_published_for_those_who_have_no_business_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let published = folder.path().join("public/roots.pem");
    let mut lab = Lab::with(|config| config.root.publish = Some(published.clone())).await;
    let written = || fs::read_to_string(&published).ok();
    while written().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(written(), fs::read_to_string(lab.roots()).ok());
    let second = Authority::ephemeral("second").unwrap();
    let both = format!("{}{}", written().unwrap(), certs::pem_of(second.chain()));
    fs::write(lab.roots(), &both).unwrap();
    lab.root.changed().await;
    while written().as_ref() != Some(&both) {
        tokio::task::yield_now().await;
    }
}

async fn ready(identities: &certs::Identities, name: &str) -> Arc<IdentityConfigs> {
    let deadline = Instant::now() + Duration::from_secs(10);
    identities.ready(&id(name), deadline).await.unwrap()
}

/// Each accepts the other's chain, as in a handshake of both.
fn trust_each_other(one: &IdentityConfigs, other: &IdentityConfigs) {
    for (server, client) in [(one, other), (other, one)] {
        let admitted = server.server().admit(client.credential().chain(), UnixTime::now());
        assert_eq!(admitted.unwrap(), client.leaf().identity);
    }
}
