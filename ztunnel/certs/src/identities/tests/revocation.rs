//! Certificates that are taken back.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::UnixTime;

use super::super::IdentityChange;
use super::{Node, id, pass};
use crate::{Authority, Credential, LeafKey, LeafRequest, PeerError, RevocationLists, TrustBundle};

#[tokio::test(start_paused = true)]
async fn a_revoked_peer_is_refused_and_others_are_not() {
    let (node, root) = (Node::new(), Root::of("root"));
    node.ca.set(|state| state.authority = root.authority());
    node.want(&["a"]);
    node.ready("a").await;
    let (bad, good) = (root.leaf("bad"), root.leaf("good"));
    let admitted = |peer: &Credential| {
        let configs = node.identities.current(&id("a")).unwrap();
        configs.server().admit(peer.chain(), UnixTime::now()).map(drop)
    };
    admitted(&bad).unwrap();
    let before = node.identities.current(&id("a")).unwrap().epoch();
    std::fs::write(node.folder.path().join("crl.pem"), root.list(&[&bad], 1)).unwrap();
    pass(Duration::from_secs(3)).await;
    assert!(node.identities.current(&id("a")).unwrap().epoch() > before, "no ticket of before is good");
    let refused = admitted(&bad).unwrap_err();
    assert!(matches!(&refused, PeerError::Revoked { serial, .. } if *serial == serial_of(&bad)), "{refused}");
    admitted(&good).unwrap();
    assert!(node.identities.bundles().check_revocation(bad.chain()).is_err(), "for tunnels that live");
    assert_eq!(node.ca.asked(), ["a"], "others' certificates are no cause to renew one's own");
}

#[tokio::test(start_paused = true)]
async fn ones_own_revoked_certificate_is_renewed_at_once() {
    let (node, root) = (Node::new(), Root::of("root"));
    node.ca.set(|state| state.authority = root.authority());
    node.want(&["a"]);
    let own = node.ready("a").await;
    std::fs::write(node.folder.path().join("crl.pem"), root.list(&[own.credential()], 1)).unwrap();
    let mut changes = node.identities.changes();
    while changes.next().await != Some(IdentityChange::Resync) {}
    pass(Duration::from_secs(1)).await;
    assert_eq!(node.ca.asked(), ["a", "a"]);
}

#[test]
fn a_list_speaks_only_for_the_ca_that_signed_it() {
    let (root, namesake) = (Root::of("same"), Root::of("same"));
    let leaf = root.leaf("leaf");
    let forged = namesake.list(&[&leaf], 1);
    for (list, revoked) in [(&forged, false), (&root.list(&[&leaf], 1), true), (&root.list(&[], 1), false)] {
        assert_eq!(root.revokes(list, &leaf), revoked);
    }
    assert!(root.revokes(&[&*forged, &*root.list(&[&leaf], 1)].concat(), &leaf), "several lists in one file");
}

#[test]
fn an_intermediates_list_takes_back_what_it_signed_and_nothing_that_another_did() {
    let root = Root::of("root");
    let (middle, namesake, other) = (root.issue("middle"), root.issue("middle"), root.issue("other"));
    let leaf = middle.leaf("leaf");
    assert_eq!(leaf.chain().len(), 2, "the intermediate goes along, and the root does not");
    for (by, revoked) in [(&middle, true), (&namesake, false), (&other, false), (&root, false)] {
        assert_eq!(root.revokes(&by.list(&[&leaf], 1), &leaf), revoked);
    }
    let lowest = middle.issue("lowest");
    let lower_leaf = lowest.leaf("leaf");
    assert!(root.revokes(&lowest.list(&[&lower_leaf], 1), &lower_leaf), "however far down");
    assert!(!root.revokes(&middle.list(&[&lower_leaf], 1), &lower_leaf), "its number is another CA's");
}

#[test]
fn an_intermediate_that_is_revoked_takes_all_with_it_that_is_below_it() {
    let root = Root::of("root");
    let (middle, other) = (root.issue("middle"), root.issue("other"));
    let lowest = middle.issue("lowest");
    let list = root.list_of(&[&middle.number()]);
    for (below, revoked) in [(&middle, true), (&lowest, true), (&other, false), (&root, false)] {
        let leaf = below.leaf("leaf");
        let lists = RevocationLists::parse(&list).unwrap();
        let number = lists.revoked(leaf.chain(), root.bundle().anchors());
        assert_eq!(number, revoked.then(|| middle.number()), "the number is the intermediate's");
    }
    let lists = RevocationLists::parse(&list).unwrap();
    let mut numbers = Vec::new();
    lists.each_number(|number| numbers.push(number.to_vec()));
    let chain = crate::chain_numbers(lowest.leaf("leaf").chain());
    assert!(chain.iter().any(|number| **number == *numbers[0]), "live tunnels are found by it");
    assert!(!root.revokes(&middle.list_of(&[&middle.number()]), &middle.leaf("leaf")), "none revokes itself");
}

#[tokio::test(start_paused = true)]
async fn peers_below_a_revoked_intermediate_are_refused_and_ones_own_is_renewed() {
    let (node, root) = (Node::new(), Root::of("root"));
    let (old, new) = (root.issue("old"), root.issue("new"));
    node.ca.set(|state| state.authority = old.authority());
    node.want(&["a"]);
    node.ready("a").await;
    let admitted = |peer: &Credential| {
        let configs = node.identities.current(&id("a")).unwrap();
        configs.server().admit(peer.chain(), UnixTime::now()).map(drop)
    };
    let (bad, good) = (old.leaf("bad"), new.leaf("good"));
    admitted(&bad).unwrap();
    node.ca.set(|state| state.authority = new.authority());
    std::fs::write(node.folder.path().join("crl.pem"), root.list_of(&[&old.number()])).unwrap();
    pass(Duration::from_secs(5)).await;
    let refused = admitted(&bad).unwrap_err();
    assert!(matches!(&refused, PeerError::Revoked { serial, .. } if *serial == old.number()), "{refused}");
    admitted(&good).unwrap();
    assert_eq!(node.ca.asked(), ["a", "a"], "its own was below it too");
    let own = node.identities.current(&id("a")).unwrap();
    assert!(node.identities.bundles().check_revocation(own.credential().chain()).is_ok());
}

#[test]
fn a_list_past_its_next_update_still_counts() {
    let root = Root::of("root");
    let leaf = root.leaf("leaf");
    assert!(root.revokes(&root.list(&[&leaf], -1), &leaf));
}

#[test]
fn lists_are_read_in_der_too_and_nothing_else_is_taken_for_one() {
    let root = Root::of("root");
    let leaf = root.leaf("leaf");
    let der = root.signed_list(&[&leaf], 1).der().to_vec();
    assert!(root.revokes(&der, &leaf));
    for length in 0..der.len() {
        assert!(RevocationLists::parse(&der[..length]).is_err(), "{length}");
    }
    for text in [&b""[..], b"no list", b"0", root.certificates.as_bytes()] {
        assert!(RevocationLists::parse(text).is_err());
    }
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x40;
        let read = RevocationLists::parse(&changed);
        let revoked = read.map(|lists| root.revoked(&lists, &leaf));
        assert!(!matches!(revoked, Ok(true)), "byte {at} is not signed");
    }
}

proptest! {
    #[test]
    fn whatever_a_file_holds_is_a_list_that_is_signed_or_revokes_nobody(
        cut in any::<proptest::sample::Index>(),
        put in proptest::collection::vec(any::<u8>(), 0..8),
        taken in 0..8_usize,
        as_pem: bool,
    ) {
        static SIGNED: LazyLock<(Root, Credential, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
            let root = Root::of("root");
            let leaf = root.leaf("leaf");
            let list = root.signed_list(&[&leaf], 1);
            let (der, pem) = (list.der().to_vec(), list.pem().unwrap().into_bytes());
            (root, leaf, der, pem)
        });
        let (root, leaf, der, pem) = &*SIGNED;
        let whole = if as_pem { pem } else { der };
        let at = cut.index(whole.len());
        let changed = [&whole[..at], &put, &whole[(at + taken).min(whole.len())..]].concat();
        if let Ok(lists) = RevocationLists::parse(&changed) {
            let mut numbers = Vec::new();
            lists.each_number(|number| numbers.push(number.to_vec()));
            // What PEM says beside its Base64 may change.
            let is_whole = numbers == [bytes(&serial_of(leaf))];
            prop_assert!(is_whole || !root.revoked(&lists, leaf));
        }
    }
}

/// A CA that also signs lists.
struct Root {
    /// Its own, and what is above it.
    certificates: String,
    key: String,
}

impl Root {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() / 1000 * 1000));
        let certificates = Authority::root_for_key(&key, name, Duration::from_hours(24), now).unwrap();
        Self { certificates, key }
    }

    /// A CA below it.
    fn issue(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap().pem();
        Self { certificates: certificate + &self.certificates, key: key.serialize_pem() }
    }

    fn issuer(&self) -> Issuer<'static, KeyPair> {
        Issuer::from_ca_cert_pem(&self.certificates, KeyPair::from_pem(&self.key).unwrap()).unwrap()
    }

    fn authority(&self) -> Authority {
        Authority::from_pem(&self.certificates, &self.key).unwrap()
    }

    /// Its certificate's number.
    fn number(&self) -> String {
        crate::serial_number(&self.authority().chain()[0]).unwrap()
    }

    fn leaf(&self, name: &str) -> Credential {
        let key = LeafKey::generate().unwrap();
        let request = LeafRequest::from_pem(&key.request(&id(name)).unwrap()).unwrap();
        let chain = self.authority().sign(&request, Duration::from_hours(1), UnixTime::now()).unwrap();
        Credential::new(&id(name), key, chain).unwrap()
    }

    fn list(&self, revoked: &[&Credential], days: i64) -> Vec<u8> {
        self.signed_list(revoked, days).pem().unwrap().into_bytes()
    }

    fn signed_list(&self, revoked: &[&Credential], days: i64) -> rcgen::CertificateRevocationList {
        self.signed(revoked.iter().map(|credential| serial_of(credential)), days)
    }

    /// A list of certificates by their numbers.
    fn list_of(&self, numbers: &[&str]) -> Vec<u8> {
        self.signed(numbers.iter().map(|&number| number.to_owned()), 1).pem().unwrap().into_bytes()
    }

    fn signed(&self, numbers: impl Iterator<Item = String>, days: i64) -> rcgen::CertificateRevocationList {
        let now = time::OffsetDateTime::now_utc();
        let revoked = numbers.map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(bytes(&number)),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now - time::Duration::days(2),
            next_update: now + time::Duration::days(days),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap()
    }

    fn revokes(&self, lists: &[u8], leaf: &Credential) -> bool {
        self.revoked(&RevocationLists::parse(lists).unwrap(), leaf)
    }

    fn revoked(&self, lists: &RevocationLists, leaf: &Credential) -> bool {
        lists.revoked(leaf.chain(), self.bundle().anchors()).is_some()
    }

    /// What those trust who trust it.
    fn bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(self.certificates.as_bytes()).unwrap()
    }
}

fn serial_of(credential: &Credential) -> String {
    crate::serial_number(&credential.chain()[0]).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
