//! Certificates that are revoked before they end.
//!
//! A list speaks for the CA that signed it: a certificate counts as revoked when a list of its issuer's name holds its
//! number and is signed with the key of an issuer that the chain or the bundle has. Several CAs may share a name, as
//! the roots of a rotation do; the list of one then says nothing of the other's certificates. A list past its next
//! update still counts: what was revoked stays so. What no list speaks of is allowed.

use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use webpki::{BorrowedCertRevocationList, CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use crate::der::{SEQUENCE, element};
use crate::provider::signature_algorithms;

/// Revocation lists (RFC 5280 §5). Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RevocationLists(Arc<[RevocationList]>);

#[derive(Debug)]
struct RevocationList {
    parsed: CertRevocationList<'static>,
    der: Vec<u8>,
}

/// Why a file holds no usable revocation lists.
#[derive(Debug, thiserror::Error)]
pub enum ParseListsError {
    /// It holds no list at all.
    #[error("no revocation list, neither in PEM nor in DER")]
    Empty,
    /// One of its lists is malformed, or of a kind that says less than it seems to.
    #[error("revocation list {index} is unusable: it must be whole, of version 2, and have a next update")]
    List {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
    /// It is not PEM, though it begins like it.
    #[error("revocation lists are not PEM")]
    Pem(#[source] pem::Error),
}

impl RevocationLists {
    /// Reads concatenated PEM lists, or one list in DER.
    ///
    /// # Errors
    /// When there is none, or one of them is unusable.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseListsError> {
        let lists = match bytes.first() {
            // No PEM begins with it: it is the digit 0.
            Some(&SEQUENCE) => vec![CertificateRevocationListDer::from(bytes.to_vec())],
            _ => {
                let lists = CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<_, _>>();
                lists.map_err(ParseListsError::Pem)?
            }
        };
        if lists.is_empty() {
            return Err(ParseListsError::Empty);
        }
        let read = |(index, der): (usize, CertificateRevocationListDer<'static>)| {
            let parsed = OwnedCertRevocationList::from_der(&der);
            let parsed = parsed.map_err(|source| ParseListsError::List { index, source })?;
            Ok(RevocationList { parsed: parsed.into(), der: der.to_vec() })
        };
        Ok(Self(lists.into_iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells the number of each certificate that a list names.
    pub(crate) fn each_number(&self, mut tell: impl FnMut(&[u8])) {
        for list in &*self.0 {
            // What was read before is read again rather than kept: lists may be long, and seldom change.
            let Ok(read) = BorrowedCertRevocationList::from_der(&list.der) else { continue };
            read.into_iter().flatten().for_each(|revoked| tell(revoked.serial_number));
        }
    }

    /// The number of the first certificate of a chain that is revoked, in hexadecimal digits.
    pub(crate) fn revoked(
        &self,
        chain: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
    ) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        // Parses CA certificates as well. Whatever does not parse is on no path that was verified.
        let chain: Vec<_> =
            chain.iter().filter_map(|certificate| EndEntityCert::try_from(certificate).ok()).collect();
        let revoked = chain.iter().find(|certificate| {
            let lists = self.0.iter().filter(|list| list.holds(certificate));
            lists.into_iter().any(|list| {
                let above = chain.iter().filter(|other| other.subject() == certificate.issuer());
                let roots = anchors.iter().filter(|anchor| *anchor.subject == *certificate.issuer());
                above.into_iter().any(|issuer| {
                    let key = issuer.subject_public_key_info();
                    element(&key).is_some_and(|(_, key, _)| list.is_signed_by(key))
                }) || roots.into_iter().any(|root| list.is_signed_by(&root.subject_public_key_info))
            })
        })?;
        Some(revoked.serial().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The numbers of a chain's certificates, in the form in which [`Bundles::each_revoked_number`] tells them.
///
/// [`Bundles::each_revoked_number`]: crate::Bundles::each_revoked_number
pub fn chain_numbers(chain: &[CertificateDer<'_>]) -> Vec<Box<[u8]>> {
    let number = |certificate: &CertificateDer<'_>| {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        Some(certificate.serial().into())
    };
    chain.iter().filter_map(number).collect()
}

impl PartialEq for RevocationLists {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|list| &list.der).eq(other.0.iter().map(|list| &list.der))
    }
}

impl Eq for RevocationLists {}

impl RevocationList {
    /// Whether it is in the name of the certificate's issuer and has its number.
    fn holds(&self, certificate: &EndEntityCert<'_>) -> bool {
        self.parsed.issuer() == certificate.issuer()
            && !matches!(self.parsed.find_serial(certificate.serial()), Ok(None))
    }

    /// Whether the key, the inside of a SubjectPublicKeyInfo, signed it.
    fn is_signed_by(&self, key: &[u8]) -> bool {
        self.signature(key).is_some()
    }

    fn signature(&self, key: &[u8]) -> Option<()> {
        let (_, list, _) = element(&self.der)?;
        let (_, _, rest) = element(list)?;
        let signed = &list[..list.len() - rest.len()];
        let (_, algorithm, rest) = element(rest)?;
        let (_, signature, _) = element(rest)?;
        let (_, key_algorithm, rest) = element(key)?;
        let (_, public_key, _) = element(rest)?;
        // The first byte of a BIT STRING counts bits that are not used: none, in keys and signatures.
        let (signature, public_key) = (signature.strip_prefix(&[0])?, public_key.strip_prefix(&[0])?);
        let mut fitting = signature_algorithms().all.iter().filter(|known| {
            *known.signature_alg_id() == *algorithm && *known.public_key_alg_id() == *key_algorithm
        });
        fitting.find_map(|known| known.verify_signature(public_key, signed, signature).ok())
    }
}
