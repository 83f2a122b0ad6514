//! Keys and certificates as operators bring them: made by openssl, in each of its forms.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;

use super::*;
use crate::verify::{ChainVerifier, Role};
use crate::{Bundles, TrustBundle};

#[test]
fn keys_of_each_kind_and_form_sign_as_root_and_as_intermediate_what_peers_verify() {
    for (kind, forms) in KEYS {
        for (form, key) in forms {
            assert!(key.contains(&format!("-----BEGIN {form}-----")), "{kind}: {form}");
            let pair = || KeyPair::from_pem(forms[0].1).unwrap();
            let root = Upper::root(DAY, pair());
            let above = Upper::root(DAY, KeyPair::from_pem(KEYS[2].1[0].1).unwrap());
            for brought in [root, above.issue_for("brought", DAY, pair())] {
                let authority = assembled(key, &brought.chain, UnixTime::now());
                let chain = verified(&authority, &brought.chain, UnixTime::now());
                let signed_with = parse(&chain[0]).unwrap().signature_algorithm.algorithm.to_string();
                assert_eq!(signed_with, algorithm(kind), "{kind}: {form}");
            }
        }
    }
}

/// `O = Istio, CN = Intermediate CA, L = cluster1`, as Istio's `tools/certs` makes it: RSA-4096, a path length of none,
/// a DNS name of its own.
#[test]
fn the_intermediate_of_istios_makefile_signs_what_peers_verify() {
    let chain = include_str!("../../golden/ca_of_istios_makefile.pem");
    let authority = assembled(RSA_4096.1[1].1, chain, recorded());
    let signed = verified(&authority, chain, recorded());
    assert_eq!(signed.len(), 3);
    let (leaf, signer) = (parse(&signed[0]).unwrap(), parse(&signed[1]).unwrap());
    assert_eq!(leaf.issuer().to_string(), "O=Istio, CN=Intermediate CA, L=cluster1");
    leaf.verify_signature(Some(signer.public_key())).unwrap();
}

/// `DC=com, DC=example, OU=Platform, OU=Mesh + CN=Issuing CA`: a directory's names, with attributes that come twice or
/// together.
#[test]
fn an_intermediate_of_any_name_signs_under_that_very_name() {
    let chain = include_str!("../../golden/ca_of_many_names.pem");
    let authority = assembled(P_384.1[1].1, chain, recorded());
    let signed = verified(&authority, chain, recorded());
    let (leaf, signer) = (parse(&signed[0]).unwrap(), parse(&signed[1]).unwrap());
    assert_eq!(leaf.issuer().as_raw(), signer.subject().as_raw());
    leaf.verify_signature(Some(signer.public_key())).unwrap();
    let above = leaf.extensions().iter().find_map(|it| match it.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(it) => it.key_identifier.as_ref().map(|it| it.0),
        _ => None,
    });
    let own = signer.extensions().iter().find_map(|it| match it.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(it) => Some(it.0),
        _ => None,
    });
    assert!(above.is_some() && above == own, "{above:?}, {own:?}");
}

/// All of them, leaf first, which peers who trust the last of `chain` accept.
fn verified(authority: &Authority, chain: &str, now: UnixTime) -> Vec<CertificateDer<'static>> {
    let signed = authority.sign(&greedy(), HOUR, now).unwrap();
    let bundles: Bundles = [("cluster.local".parse().unwrap(), root_of(chain))].into_iter().collect();
    let verifier = ChainVerifier::new(Arc::new(bundles));
    for role in [Role::Client, Role::Server] {
        assert_eq!(verifier.verify(&signed, role, now).unwrap().identity.as_str(), IDENTITY);
    }
    signed
}

fn assembled(key: &str, chain: &str, now: UnixTime) -> Authority {
    Authority::assemble(key, &certificates(chain), &root_of(chain), now).unwrap()
}

fn root_of(chain: &str) -> TrustBundle {
    TrustBundle::new(certificates(chain).split_off(certificates(chain).len() - 1)).unwrap()
}

fn certificates(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap).collect()
}

/// How a leaf is signed with such a key (RFC 5758 §3.2, RFC 4055 §5).
fn algorithm(kind: &str) -> &'static str {
    match kind {
        "P-256" => "1.2.840.10045.4.3.2",
        "P-384" => "1.2.840.10045.4.3.3",
        _ => "1.2.840.113549.1.1.11",
    }
}

/// A day on which the certificates from files are valid.
fn recorded() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000))
}

/// A kind, and the same key in PKCS #8 and in its older form.
type Forms = (&'static str, [(&'static str, &'static str); 2]);

const P_256: Forms = (
    "P-256",
    [
        ("PRIVATE KEY", include_str!("../../golden/keys/p256.pkcs8.pem")),
        ("EC PRIVATE KEY", include_str!("../../golden/keys/p256.sec1.pem")),
    ],
);
const P_384: Forms = (
    "P-384",
    [
        ("PRIVATE KEY", include_str!("../../golden/keys/p384.pkcs8.pem")),
        ("EC PRIVATE KEY", include_str!("../../golden/keys/p384.sec1.pem")),
    ],
);
const RSA_2048: Forms = (
    "RSA-2048",
    [
        ("PRIVATE KEY", include_str!("../../golden/keys/rsa2048.pkcs8.pem")),
        ("RSA PRIVATE KEY", include_str!("../../golden/keys/rsa2048.pkcs1.pem")),
    ],
);
const RSA_4096: Forms = (
    "RSA-4096",
    [
        ("PRIVATE KEY", include_str!("../../golden/keys/rsa4096.pkcs8.pem")),
        ("RSA PRIVATE KEY", include_str!("../../golden/keys/rsa4096.pkcs1.pem")),
    ],
);
const KEYS: [Forms; 4] = [P_256, P_384, RSA_2048, RSA_4096];
