//! What a file of the cache holds: a line that says what it is, then a key, a chain and roots, each with its length in
//! front. Not PEM: its parsers leave copies of the key behind.

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::credential::Credential;
use crate::key::LeafKey;

/// What is kept for an identity.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) key: LeafKey,
    /// Leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The roots that came with it.
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

/// A credential with its roots, in the form that [`Kept::parse`] reads.
pub(super) fn encode(credential: &Credential, roots: &[CertificateDer<'static>]) -> Zeroizing<Vec<u8>> {
    // With room for all of it: a buffer that grew would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    bytes.extend_from_slice(MAGIC);
    put(&mut bytes, credential.key().pkcs8_bytes());
    for certificates in [credential.chain(), roots] {
        put_count(&mut bytes, certificates.len());
        certificates.iter().for_each(|certificate| put(&mut bytes, certificate));
    }
    bytes
}

impl Kept {
    /// None when it is not as [`encode`] makes it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let key = Zeroizing::new(take(&mut rest)?.to_vec());
        let key = LeafKey::from_pkcs8(key).ok()?;
        let (chain, roots) = (certificates(&mut rest)?, certificates(&mut rest)?);
        rest.is_empty().then_some(Self { key, chain, roots })
    }
}

fn put(bytes: &mut Vec<u8>, item: &[u8]) {
    put_count(bytes, item.len());
    bytes.extend_from_slice(item);
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn certificates(rest: &mut &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let count = take_count(rest)?;
    // Nothing is allocated by what a file says: each certificate must be there.
    (0..count).map(|_| Some(CertificateDer::from(take(rest)?.to_vec()))).collect()
}

fn take<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_count(rest)?;
    let (item, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(item)
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let (count, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*count)).ok()
}

const MAGIC: &[u8] = b"ambient leaf 1\n";

/// A chain and the most roots there can be stay below this.
pub(super) const MAX_LENGTH: usize = 256 * 1024;
