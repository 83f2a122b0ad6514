//! Files of revocation lists, and chains that they may be about.
#![no_main]

use certs::{Bundles, RevocationLists, TrustBundle, chain_numbers};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(lists) = RevocationLists::parse(bytes) else { return };
    assert!(!lists.is_empty());
    assert_eq!(RevocationLists::parse(bytes).ok().as_ref(), Some(&lists), "it is read the same twice");
    // It signed itself, and has the name and number that the seeds' lists are about.
    let leaf = CertificateDer::from(LEAF.to_vec());
    let bundle = TrustBundle::new(vec![leaf.clone()]).expect("a root").with_revocations(lists);
    let bundles: Bundles = [("cluster.local".parse().expect("a name"), bundle)].into_iter().collect();
    bundles.each_revoked_number(|number| assert!(number.len() <= bytes.len()));
    let chain = [leaf];
    assert_eq!(chain_numbers(&chain).len(), 1);
    // No fuzzer signs with a key that is nowhere.
    bundles.check_revocation(&chain).expect("no list of its own key is among the seeds");
});

const LEAF: &[u8] = include_bytes!("../seeds/certificates/leaf.der");
