//! Certificates, roots, requests and keys, in PEM and in DER.
#![no_main]

use certs::{Leaf, LeafRequest, NodePublicKey, TrustBundle, pem_of, serial_number};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        texts(text);
    }
    let certificate = CertificateDer::from(bytes);
    if let Ok(leaf) = Leaf::parse(&certificate) {
        assert_eq!(leaf.identity.to_string().parse().as_ref(), Ok(&leaf.identity));
    }
    let _may_be_none = serial_number(&certificate);
    // Changes of DER rather than of its Base64.
    let pem = pem_of(&[certificate]);
    texts(&pem);
    texts(&pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"));
    texts(&pem.replace("CERTIFICATE", "PUBLIC KEY"));
});

fn texts(text: &str) {
    if let Ok(request) = LeafRequest::from_pem(text) {
        let identity = request.identity();
        assert_eq!(identity.to_string().parse().as_ref(), Ok(identity));
    }
    if let Ok(bundle) = TrustBundle::from_pem(text.as_bytes()) {
        assert!(!bundle.roots().is_empty());
        TrustBundle::from_pem(pem_of(bundle.roots()).as_bytes()).expect("it is written as it was read");
    }
    let _may_be_none = NodePublicKey::from_pem(text);
}
