//! A request for a leaf certificate, as a CA receives it.

use identity::{ParseSpiffeIdError, SpiffeId};
use rcgen::{CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKey, PublicKeyData, SanType};

/// A well-formed request, signed by the key that it is for. Nothing else that it may ask for is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    pub(crate) identity: SpiffeId,
    pub(crate) public_key: PublicKey,
}

/// Why a request is refused before anyone asks who sent it.
#[derive(Debug, thiserror::Error)]
pub enum LeafRequestError {
    /// It names something that isn't a workload's identity.
    #[error("request names no workload identity")]
    Identity(#[from] ParseSpiffeIdError),
    /// The key is of a kind that we don't certify.
    #[error("request is for a key that is not P-256")]
    KeyKind,
    /// It is longer than any request.
    #[error("request has {length} bytes, more than {MAX_LENGTH}")]
    Length {
        /// Its length.
        length: usize,
    },
    /// It isn't a request, or is not signed by its own key.
    #[error("malformed certificate request")]
    Malformed(#[source] rcgen::Error),
    /// It does not ask for exactly one name, a URI.
    #[error("request has {found} names instead of one URI")]
    Names {
        /// How many it has, of any kind.
        found: usize,
    },
}

impl LeafRequest {
    /// Reads a PKCS #10 request in PEM.
    ///
    /// # Errors
    /// When it is anything but a P-256 key's own request for one workload identity.
    pub fn from_pem(text: &str) -> Result<Self, LeafRequestError> {
        if text.len() > MAX_LENGTH {
            return Err(LeafRequestError::Length { length: text.len() });
        }
        let request = CertificateSigningRequestParams::from_pem(text).map_err(LeafRequestError::Malformed)?;
        let names = &request.params.subject_alt_names;
        let [SanType::URI(uri)] = names.as_slice() else {
            return Err(LeafRequestError::Names { found: names.len() });
        };
        let identity = uri.as_str().parse()?;
        let public_key = request.public_key;
        if *public_key.algorithm() != PKCS_ECDSA_P256_SHA256 || public_key.der_bytes().len() != P256_POINT {
            return Err(LeafRequestError::KeyKind);
        }
        Ok(Self { identity, public_key })
    }

    /// The identity that is asked for.
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }
}

/// A request for one P-256 key and a SPIFFE id of 2 kB stays far below this.
const MAX_LENGTH: usize = 16 * 1024;

/// An uncompressed point on P-256.
const P256_POINT: usize = 65;

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
        SignatureAlgorithm, SigningKey,
    };

    use super::*;
    use crate::{LeafKey, pem_of};

    #[test]
    fn one_uri_and_nothing_else_is_a_workloads_name() {
        let other = SanType::URI("spiffe://cluster.local/ns/shop/sa/till".try_into().unwrap());
        let dns = SanType::DnsName("cart.shop.svc".try_into().unwrap());
        let mail = SanType::Rfc822Name("cart@shop.svc".try_into().unwrap());
        let address = SanType::IpAddress([10, 0, 0, 1].into());
        for (names, found) in [
            (vec![], 0),
            (vec![uri(), other.clone()], 2),
            (vec![other, uri()], 2),
            (vec![uri(), uri()], 2),
            (vec![uri(), dns.clone()], 2),
            (vec![dns.clone(), uri()], 2),
            (vec![uri(), mail], 2),
            (vec![uri(), address.clone()], 2),
            (vec![dns], 1),
            (vec![address], 1),
        ] {
            let refused = read(&names, |_params| {}, &key()).unwrap_err();
            assert!(
                matches!(refused, LeafRequestError::Names { found: said } if said == found),
                "{refused:?}"
            );
        }
        assert_eq!(read(&[uri()], |_params| {}, &key()).unwrap().identity().as_str(), IDENTITY);
    }

    #[test]
    fn a_uri_that_is_no_workloads_is_refused() {
        for text in [
            "https://cluster.local/ns/shop/sa/cart",
            "spiffe://cluster.local",
            "spiffe://cluster.local/shop/cart",
            "spiffe://cluster.local/ns/shop/sa/cart/",
            "spiffe://cluster.local/ns/shop/sa/..",
            "spiffe://cluster.local/ns//sa/cart",
            "spiffe://cluster.local/ns/shop/sa/cart?as=root",
            "",
        ] {
            let refused = read(&[SanType::URI(text.try_into().unwrap())], |_params| {}, &key()).unwrap_err();
            assert!(matches!(refused, LeafRequestError::Identity(_)), "{text}: {refused:?}");
        }
    }

    #[test]
    fn only_keys_on_p256_are_certified() {
        let keys = [
            KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap(),
        ];
        for key in keys {
            let refused = read(&[uri()], |_params| {}, &key).unwrap_err();
            assert!(matches!(refused, LeafRequestError::KeyKind), "{:?}: {refused:?}", key.algorithm());
        }
    }

    #[test]
    fn a_point_of_another_form_is_refused() {
        let pair = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let whole = pair.public_key().as_ref().to_vec();
        let compressed = [&[2 | whole[64] & 1], &whole[1..33]].concat();
        assert!(read(&[uri()], |_params| {}, &Odd { point: whole, pair: &pair }).is_ok());
        let refused = read(&[uri()], |_params| {}, &Odd { point: compressed, pair: &pair });
        assert!(
            matches!(refused, Err(LeafRequestError::KeyKind | LeafRequestError::Malformed(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn whoever_does_not_hold_the_key_gets_nothing_for_it() {
        let victim = LeafKey::generate().unwrap();
        let pair = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let point = victim.der_bytes().to_vec();
        let refused = read(&[uri()], |_params| {}, &Odd { point, pair: &pair }).unwrap_err();
        assert_eq!(crate::describe(&refused), INVALID);
    }

    #[test]
    fn a_request_that_was_changed_says_the_same_or_is_refused() {
        let der = request(&[uri()], |_params| {}, &key());
        let signed = LeafRequest::from_pem(&pem(&der)).unwrap();
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            // The tag of the signature's algorithm, which is not signed, is not looked at.
            let read = LeafRequest::from_pem(&pem(&changed));
            assert!(read.is_err() || read.is_ok_and(|read| read == signed), "byte {at} of {der:02x?}");
            assert!(LeafRequest::from_pem(&pem(&der[..at])).is_err(), "the first {at} bytes");
        }
    }

    #[test]
    fn what_else_is_asked_for_is_not_taken_or_refused() {
        let plain = key();
        let greedy = |params: &mut CertificateParams| {
            params.distinguished_name.push(rcgen::DnType::CommonName, "root");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        };
        let modest = read(&[uri()], |_params| {}, &plain).unwrap();
        assert_eq!(read(&[uri()], greedy, &plain).unwrap(), modest, "nothing of it is left to be signed");
        let unknown = |params: &mut CertificateParams| {
            let of_somebody = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            params.custom_extensions.push(of_somebody);
        };
        let refused = read(&[uri()], unknown, &plain).unwrap_err();
        assert!(
            matches!(refused, LeafRequestError::Malformed(rcgen::Error::UnsupportedExtension)),
            "{refused:?}"
        );
    }

    #[test]
    fn a_request_that_is_too_long_is_not_read() {
        let text = pem(&request(&[uri()], |_params| {}, &key()));
        let padded = |length: usize| format!("{text}{}", "\n".repeat(length - text.len()));
        LeafRequest::from_pem(&padded(MAX_LENGTH)).unwrap();
        let refused = LeafRequest::from_pem(&padded(MAX_LENGTH + 1)).unwrap_err();
        assert!(matches!(refused, LeafRequestError::Length { length } if length == MAX_LENGTH + 1));
    }

    /// A key that shows a point which may not be its own.
    struct Odd<'p> {
        point: Vec<u8>,
        pair: &'p EcdsaKeyPair,
    }

    impl PublicKeyData for Odd<'_> {
        fn der_bytes(&self) -> &[u8] {
            &self.point
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &PKCS_ECDSA_P256_SHA256
        }
    }

    impl SigningKey for Odd<'_> {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            let signature = self.pair.sign(&aws_lc_rs::rand::SystemRandom::new(), message).unwrap();
            Ok(signature.as_ref().to_vec())
        }
    }

    fn read(
        names: &[SanType],
        change: impl FnOnce(&mut CertificateParams),
        key: &impl SigningKey,
    ) -> Result<LeafRequest, LeafRequestError> {
        LeafRequest::from_pem(&pem(&request(names, change, key)))
    }

    fn request(
        names: &[SanType],
        change: impl FnOnce(&mut CertificateParams),
        key: &impl SigningKey,
    ) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names.to_vec();
        change(&mut params);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn pem(request: &[u8]) -> String {
        pem_of(&[request.to_vec().into()]).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    fn uri() -> SanType {
        SanType::URI(IDENTITY.try_into().unwrap())
    }

    const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/cart";
    const INVALID: &str = "malformed certificate request: Invalid CSR signature";
}
