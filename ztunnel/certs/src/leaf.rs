//! What a leaf certificate says.

use std::time::Duration;

use identity::{ParseSpiffeIdError, SpiffeId};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The parts of a leaf certificate that decide about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its one URI SAN.
    pub identity: SpiffeId,
    /// First second of its validity.
    pub not_before: UnixTime,
    /// Last second of its validity.
    pub not_after: UnixTime,
}

/// Why a certificate names no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// There is no certificate.
    #[error("no certificate")]
    Absent,
    /// Its URI SAN is not a workload's identity.
    #[error("certificate names no workload identity")]
    Identity(#[from] ParseSpiffeIdError),
    /// It is not an X.509 certificate.
    #[error("malformed certificate")]
    Malformed,
    /// It has no URI SAN, or several: SPIFFE X509-SVID §2 asks for exactly one.
    #[error("certificate has {found} URI SANs instead of one")]
    UriCount {
        /// How many it has.
        found: usize,
    },
}

impl Leaf {
    /// Reads a certificate. Nothing is verified.
    ///
    /// # Errors
    /// When it doesn't parse or does not name exactly one workload identity.
    pub fn parse(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let parsed = parse(certificate)?;
        let names = parsed.subject_alternative_name().map_err(|_duplicate| LeafError::Malformed)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            let found = names.iter().filter(|name| matches!(name, GeneralName::URI(_))).count();
            return Err(LeafError::UriCount { found });
        };
        let (not_before, not_after) = validity_of(&parsed)?;
        Ok(Self { identity: uri.parse()?, not_before, not_after })
    }

    /// Reads the first certificate of a chain.
    ///
    /// # Errors
    /// As [`Leaf::parse`], and when the chain is empty.
    pub fn of_chain(chain: &[CertificateDer<'_>]) -> Result<Self, LeafError> {
        Self::parse(chain.first().ok_or(LeafError::Absent)?)
    }
}

/// The identity that a chain's leaf names. Nothing is verified: that is a verifier's job.
///
/// # Errors
/// When the chain is empty, or its leaf does not name exactly one workload identity.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<SpiffeId, LeafError> {
    Leaf::of_chain(chain).map(|leaf| leaf.identity)
}

/// A certificate's serial number, in lower-case hexadecimal digits.
///
/// # Errors
/// When it doesn't parse.
pub fn serial_number(certificate: &CertificateDer<'_>) -> Result<String, LeafError> {
    let parsed = parse(certificate)?;
    Ok(parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The last second of a certificate of any kind, in seconds since 1970.
///
/// # Errors
/// When it doesn't parse.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<u64, LeafError> {
    Ok(validity(certificate)?.1.as_secs())
}

/// When a certificate of any kind is valid.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Result<(UnixTime, UnixTime), LeafError> {
    validity_of(&parse(certificate)?)
}

pub(crate) fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, LeafError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(LeafError::Malformed),
    }
}

fn validity_of(parsed: &X509Certificate<'_>) -> Result<(UnixTime, UnixTime), LeafError> {
    let time = |timestamp: i64| match u64::try_from(timestamp) {
        Ok(seconds) => Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds))),
        Err(_before_1970) => Err(LeafError::Malformed),
    };
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_has_exactly_one_uri() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = || SanType::DnsName("cart.shop.svc".try_into().unwrap());
        let other = || uri("spiffe://cluster.local/ns/shop/sa/till");
        for (names, found) in [
            (vec![], 0),
            (vec![dns()], 0),
            (vec![uri(IDENTITY), other()], 2),
            (vec![other(), dns(), uri(IDENTITY)], 2),
            (vec![uri(IDENTITY), uri(IDENTITY)], 2),
            (vec![uri(IDENTITY), uri("https://example.com"), other()], 3),
        ] {
            assert_eq!(Leaf::parse(&named(&names)), Err(LeafError::UriCount { found }), "{names:?}");
        }
        // Istio's peers have no others, but SPIFFE lets them (X509-SVID §2).
        for names in [vec![uri(IDENTITY)], vec![dns(), uri(IDENTITY)]] {
            assert_eq!(Leaf::parse(&named(&names)).unwrap().identity.as_str(), IDENTITY);
        }
        assert!(matches!(Leaf::parse(&named(&[uri("spiffe://a")])), Err(LeafError::Identity(_))));
        assert_eq!(Leaf::of_chain(&[]), Err(LeafError::Absent));
    }

    #[test]
    fn a_certificate_that_is_not_whole_or_has_more_behind_it_is_refused() {
        let certificate = named(&[SanType::URI(IDENTITY.try_into().unwrap())]);
        for length in 0..certificate.len() {
            let part = CertificateDer::from(&certificate[..length]);
            assert_eq!(Leaf::parse(&part), Err(LeafError::Malformed), "{length}");
        }
        let longer = CertificateDer::from([&certificate[..], &[0]].concat());
        assert_eq!(Leaf::parse(&longer), Err(LeafError::Malformed));
    }

    fn named(names: &[SanType]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/cart";
}
