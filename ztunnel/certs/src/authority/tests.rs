//! What a leaf is, whatever was asked for.

mod brought;

use std::collections::HashSet;

use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;
use crate::leaf::parse;

#[test]
fn a_leaf_has_one_critical_name_and_may_do_nothing_but_tls() {
    let authority = Authority::ephemeral("root").unwrap();
    let chain = authority.sign(&greedy(), HOUR, UnixTime::now()).unwrap();
    let leaf = parse(&chain[0]).unwrap();
    assert_eq!(leaf.subject().as_raw(), [0x30, 0], "the subject is empty");
    let mut seen = Vec::new();
    for extension in leaf.extensions() {
        let name = match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                assert_eq!(names.general_names, [GeneralName::URI(IDENTITY)]);
                "names"
            }
            ParsedExtension::KeyUsage(usage) => {
                assert_eq!(usage.flags, 1, "digital signatures");
                "usage"
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing);
                assert!(!usage.ocsp_signing && !usage.email_protection && !usage.time_stamping);
                assert!(usage.other.is_empty());
                "extended usage"
            }
            ParsedExtension::BasicConstraints(constraints) => {
                assert!(!constraints.ca);
                "constraints"
            }
            ParsedExtension::AuthorityKeyIdentifier(_) => "issuer's key",
            ParsedExtension::SubjectKeyIdentifier(_) => "key",
            other => panic!("{other:?}"),
        };
        seen.push((name, extension.critical));
    }
    seen.sort_unstable();
    let first = [("constraints", true), ("extended usage", false), ("issuer's key", false), ("key", false)];
    assert_eq!(seen, [&first[..], &[("names", true), ("usage", true)]].concat());
}

#[test]
fn serial_numbers_are_positive_and_never_twice_the_same() {
    let authority = Authority::ephemeral("root").unwrap();
    let request = greedy();
    let mut seen = HashSet::new();
    for _ in 0..64 {
        let chain = authority.sign(&request, HOUR, UnixTime::now()).unwrap();
        let serial = parse(&chain[0]).unwrap().raw_serial().to_vec();
        assert!(serial.len() == 16 && (0x40..0x80).contains(&serial[0]), "{serial:?}");
        assert!(seen.insert(serial));
    }
}

#[test]
fn the_chain_begins_with_the_leaf_and_each_is_signed_by_the_next() {
    let root = Upper::root(DAY, KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());
    let middle = root.issue("middle", DAY);
    let authority = middle.issue("lowest", DAY).authority();
    let chain = authority.sign(&greedy(), HOUR, UnixTime::now()).unwrap();
    assert_eq!(chain.len(), 4);
    let chain: Vec<_> = chain.iter().map(|certificate| parse(certificate).unwrap()).collect();
    for pair in chain.windows(2) {
        pair[0].verify_signature(Some(pair[1].public_key())).unwrap();
        assert_eq!(pair[0].issuer(), pair[1].subject());
        assert!(!pair[0].is_ca() || pair[0].subject() != chain[0].subject());
    }
    assert_eq!(chain[3].issuer(), chain[3].subject());
}

#[test]
fn a_leaf_outlives_nobody_above_it() {
    for [root, middle, lowest] in [[DAY, 2 * HOUR, DAY], [2 * HOUR, DAY, DAY], [DAY, DAY, 2 * HOUR]] {
        let root = Upper::root(root, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
        let authority = root.issue("middle", middle).issue("lowest", lowest).authority();
        let now = UnixTime::now();
        for (asked, hours) in [(HOUR, 1), (5 * HOUR, 2), (Duration::MAX, 2)] {
            let chain = authority.sign(&greedy(), asked, now).unwrap();
            let ends: Vec<_> = chain.iter().map(|it| crate::not_after(it).unwrap()).collect();
            assert!(ends.iter().all(|end| *end >= ends[0]), "{ends:?}");
            let life = ends[0] - now.as_secs();
            assert!((hours * 3600 - 60..=hours * 3600).contains(&life), "{asked:?}: {life}");
        }
        let over = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + 3 * HOUR);
        assert!(matches!(authority.sign(&greedy(), HOUR, over), Err(AuthorityError::Expired)));
    }
}

/// A request for more than a workload's name.
fn greedy() -> LeafRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.subject_alt_names = vec![SanType::URI(IDENTITY.try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::OcspSigning];
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    LeafRequest::from_pem(&request.pem().unwrap()).unwrap()
}

/// A CA certificate, what is above it, and its key.
struct Upper {
    issuer: Issuer<'static, KeyPair>,
    key: String,
    chain: String,
}

impl Upper {
    fn root(lifetime: Duration, key: KeyPair) -> Self {
        let params = upper("root", lifetime);
        let certificate = params.self_signed(&key).unwrap();
        Self::new(params, key, certificate.pem())
    }

    fn issue(&self, name: &str, lifetime: Duration) -> Self {
        self.issue_for(name, lifetime, KeyPair::generate().unwrap())
    }

    fn issue_for(&self, name: &str, lifetime: Duration, key: KeyPair) -> Self {
        let params = upper(name, lifetime);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self::new(params, key, certificate.pem() + &self.chain)
    }

    fn new(params: CertificateParams, key: KeyPair, chain: String) -> Self {
        Self { key: key.serialize_pem(), issuer: Issuer::new(params, key), chain }
    }

    fn authority(&self) -> Authority {
        Authority::from_pem(&self.chain, &self.key).unwrap()
    }
}

fn upper(name: &str, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = OffsetDateTime::now_utc() + lifetime;
    params
}

const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
