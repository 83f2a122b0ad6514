//! Finding the authority among certificates that lie about in no order.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::key::RootKey;
use super::{Authority, AuthorityError, check_signer};
use crate::bundle::TrustBundle;
use crate::key::LeafKey;
use crate::leaf::LeafError;
use crate::provider::signature_algorithms;

impl Authority {
    /// Takes the signing key and, among `certificates` and `roots`, the CA certificate that belongs to it with its way
    /// to one of the roots. Roots may be many, and bear one name: signatures decide.
    ///
    /// # Errors
    /// When no certificate is for the key, or there is no way that peers could go now.
    pub fn assemble(
        key: &str,
        certificates: &[CertificateDer<'static>],
        roots: &TrustBundle,
        now: UnixTime,
    ) -> Result<Self, AuthorityError> {
        let pair = RootKey::from_pem(key)?;
        let mut all = certificates.iter().chain(roots.roots());
        let signer = all.find(|certificate| check_signer(certificate, &pair).is_ok());
        let signer = signer.ok_or(AuthorityError::NoSigner)?;
        let probe = Self::new(vec![signer.clone()], RootKey::from_pem(key)?)?;
        Self::new(probe.way_to_root(certificates, roots, now)?, pair)
    }

    /// The chain from the signing certificate to a root, as peers find it for a leaf.
    fn way_to_root(
        &self,
        certificates: &[CertificateDer<'static>],
        roots: &TrustBundle,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let identity = "spiffe://probe/ns/probe/sa/probe".parse().map_err(LeafError::Identity)?;
        let leaf = self.sign_leaf(&identity, &LeafKey::generate()?, PROBE_LIFETIME, now)?;
        let leaf = EndEntityCert::try_from(&leaf[0]).map_err(AuthorityError::Path)?;
        let intermediates: Vec<_> = self.chain.iter().chain(certificates).cloned().collect();
        let usage = KeyUsage::server_auth();
        let path = leaf
            .verify_for_usage(
                signature_algorithms().all,
                roots.anchors(),
                &intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(AuthorityError::Path)?;
        let mut chain: Vec<_> =
            path.intermediate_certificates().map(|certificate| certificate.der().into_owned()).collect();
        let root = roots.anchors().iter().position(|anchor| anchor == path.anchor());
        chain.extend(root.map(|root| roots.roots()[root].clone()));
        Ok(chain)
    }
}

/// Long enough to be verified once.
const PROBE_LIFETIME: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::slice;

    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    };

    use super::*;

    #[test]
    fn a_self_made_root_is_its_own_authority() {
        let root = Made::root("one");
        let authority = root.assemble(&[], &[&root]).unwrap();
        assert_eq!(authority.chain(), slice::from_ref(&root.certificate));
    }

    #[test]
    fn among_roots_of_one_name_the_one_with_the_key_is_taken() {
        let (old, new) = (Made::root("same"), Made::root("same"));
        for roots in [[&old, &new], [&new, &old]] {
            let authority = new.assemble(&[], &roots).unwrap();
            assert_eq!(authority.root(), &new.certificate);
        }
    }

    #[test]
    fn an_intermediate_finds_its_way_up_whatever_the_order() {
        let (root, other) = (Made::root("same"), Made::root("same"));
        let upper = Made::under(&root, "upper");
        let lower = Made::under(&upper, "lower");
        for certificates in [[&lower, &upper, &root], [&root, &upper, &lower]] {
            let authority = lower.assemble(&certificates, &[&other, &root]).unwrap();
            assert_eq!(authority.chain(), [&lower, &upper, &root].map(|made| made.certificate.clone()));
        }
    }

    #[test]
    fn an_intermediate_without_its_root_is_refused() {
        let (root, other) = (Made::root("same"), Made::root("same"));
        let lower = Made::under(&root, "lower");
        assert!(matches!(lower.assemble(&[&lower], &[&other]), Err(AuthorityError::Path(_))));
    }

    #[test]
    fn a_key_without_a_certificate_is_refused() {
        let (one, other) = (Made::root("one"), Made::root("other"));
        assert!(matches!(one.assemble(&[], &[&other]), Err(AuthorityError::NoSigner)));
    }

    /// A CA certificate and its key.
    struct Made {
        certificate: CertificateDer<'static>,
        params: CertificateParams,
        key: KeyPair,
    }

    impl Made {
        fn root(name: &str) -> Self {
            let (params, key) = (params(name), KeyPair::generate().unwrap());
            Self { certificate: params.self_signed(&key).unwrap().into(), params, key }
        }

        /// Under another, with a key of another kind.
        fn under(upper: &Self, name: &str) -> Self {
            let (params, key) = (params(name), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
            let issuer = Issuer::from_params(&upper.params, &upper.key);
            Self { certificate: params.signed_by(&key, &issuer).unwrap().into(), params, key }
        }

        fn assemble(&self, certificates: &[&Self], roots: &[&Self]) -> Result<Authority, AuthorityError> {
            let list = |made: &[&Self]| made.iter().map(|made| made.certificate.clone()).collect::<Vec<_>>();
            let roots = TrustBundle::new(list(roots)).unwrap();
            Authority::assemble(&self.key.serialize_pem(), &list(certificates), &roots, UnixTime::now())
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }
}
