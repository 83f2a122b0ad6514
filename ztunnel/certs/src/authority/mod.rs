//! What a CA does, without its network: requests checked, leaves signed, a root made.
//!
//! Only `ztunnel ca` and tests hold one; a node's daemon never does.

mod assemble;
mod issuer;
mod key;

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::rand;
use identity::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::key::{KeyError, LeafKey, critical_uri_san};
use crate::leaf::{LeafError, validity};
use crate::request::LeafRequest;
use issuer::NamedKey;
use key::RootKey;

/// A signing key with its chain.
#[derive(Debug)]
pub struct Authority {
    issuer: NamedKey,
    /// The signing certificate first, its root last. They are one and the same without intermediates.
    chain: Vec<CertificateDer<'static>>,
    /// When the first of them ends: no leaf outlives it.
    not_after: UnixTime,
}

/// A self-made root in the form in which it is stored.
pub struct RootFiles {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The key, in PEM (PKCS #8). Secret.
    pub key: Zeroizing<String>,
}

/// Why an authority cannot be made, or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate that should sign may not.
    #[error("first certificate of the authority's chain is no CA certificate")]
    NotACa,
    /// What the library encoded is no certificate.
    #[error("certificate could not be put together")]
    Encoding,
    /// The authority's own chain ends before anything it signs could begin.
    #[error("authority's certificate has expired")]
    Expired,
    /// The key is not PEM.
    #[error("authority's key is not PEM")]
    KeyPem(#[source] pem::Error),
    /// The signing certificate is for another key.
    #[error("authority's key does not belong to the first certificate of its chain")]
    KeyMismatch,
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate of the chain is unusable.
    #[error("authority's chain is unusable")]
    Leaf(#[from] LeafError),
    /// None of the certificates is a CA's for the key.
    #[error("no CA certificate is for the authority's key")]
    NoSigner,
    /// The signing certificate leads to no trusted root now.
    #[error("authority's certificate leads to none of the roots")]
    Path(#[source] webpki::Error),
    /// The chain is not PEM.
    #[error("authority's chain is not PEM")]
    Pem(#[source] pem::Error),
    /// No random bytes for a serial number.
    #[error("no random serial number")]
    Random,
    /// The library that encodes and signs certificates refused.
    #[error("certificate could not be made")]
    Sign(#[source] rcgen::Error),
}

impl Authority {
    /// Makes a root of its own: P-256, valid for `lifetime`.
    ///
    /// # Errors
    /// When the cryptographic library is out of order.
    pub fn make_root(name: &str, lifetime: Duration, now: UnixTime) -> Result<RootFiles, AuthorityError> {
        let key = RootKey::generate()?.pem();
        Ok(RootFiles { certificate: Self::root_for_key(&key, name, lifetime, now)?, key })
    }

    /// Makes the certificate, in PEM, of a root whose key (in PEM) is there.
    ///
    /// # Errors
    /// When the key is malformed.
    pub fn root_for_key(
        key: &str,
        name: &str,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<String, AuthorityError> {
        let key = RootKey::from_pem(key)?;
        let mut params = base_params(now, now.as_secs().saturating_add(lifetime.as_secs()))?;
        params.distinguished_name.push(DnType::OrganizationName, name);
        params.distinguished_name.push(DnType::CommonName, format!("root of {name}, {}", now.as_secs()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        Ok(params.self_signed(&key).map_err(AuthorityError::Sign)?.pem())
    }

    /// Takes a chain, signing certificate first and root last, and the signing key: P-256, P-384 or RSA.
    ///
    /// # Errors
    /// When they are malformed or don't belong together.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = RootKey::from_pem(key)?;
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(AuthorityError::Pem)?;
        Self::new(chain, key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: RootKey) -> Result<Self, AuthorityError> {
        let signer = chain.first().ok_or(LeafError::Absent)?;
        check_signer(signer, &key)?;
        let mut not_after = validity(signer)?.1;
        for certificate in &chain {
            not_after = not_after.min(validity(certificate)?.1);
        }
        let issuer = NamedKey::new(key, signer)?;
        Ok(Self { issuer, chain, not_after })
    }

    /// A self-made authority for tests and throw-away meshes, never stored.
    ///
    /// # Errors
    /// As [`Authority::make_root`].
    pub fn ephemeral(name: &str) -> Result<Self, AuthorityError> {
        let files = Self::make_root(name, Duration::from_hours(24 * 365), UnixTime::now())?;
        Self::from_pem(&files.certificate, &files.key)
    }

    /// The root, which those who trust this authority need.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.chain.last().expect("an authority is never made without a certificate")
    }

    /// The chain from the signing certificate to the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When the authority's own chain ends.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Signs a leaf for `request`, valid for `lifetime` or as long as the authority itself. Returns the chain, leaf
    /// first and root last.
    ///
    /// # Errors
    /// When the authority has expired, or the cryptographic library is out of order.
    pub fn sign(
        &self,
        request: &LeafRequest,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        self.sign_leaf(&request.identity, &request.public_key, lifetime, now)
    }

    /// Makes a key and a certificate for the CA's own gRPC server, under DNS names and addresses.
    ///
    /// # Errors
    /// As [`Authority::sign`], and when a name is malformed.
    pub fn serving(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<(LeafKey, Vec<CertificateDer<'static>>), AuthorityError> {
        let key = LeafKey::generate()?;
        let mut params = CertificateParams::new(names).map_err(AuthorityError::Sign)?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        let mut params = self.leaf_params(params.subject_alt_names, lifetime, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "ambient certificate authority");
        let chain = self.finish(&params, &key)?;
        Ok((key, chain))
    }

    fn sign_leaf(
        &self,
        identity: &SpiffeId,
        public_key: &impl PublicKeyData,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let mut params = self.leaf_params(Vec::new(), lifetime, now)?;
        params.custom_extensions = vec![critical_uri_san(identity)];
        self.finish(&params, public_key)
    }

    fn leaf_params(
        &self,
        names: Vec<SanType>,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<CertificateParams, AuthorityError> {
        let end = now.as_secs().saturating_add(lifetime.as_secs()).min(self.not_after.as_secs());
        if end <= now.as_secs() {
            return Err(AuthorityError::Expired);
        }
        let mut params = base_params(now, end)?;
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    fn finish(
        &self,
        params: &CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let leaf = self.issuer.sign(params, public_key)?;
        Ok(std::iter::once(leaf).chain(self.chain.iter().cloned()).collect())
    }
}

impl std::fmt::Debug for RootFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootFiles").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn check_signer(certificate: &CertificateDer<'_>, key: &RootKey) -> Result<(), AuthorityError> {
    let parsed = crate::leaf::parse(certificate)?;
    if !parsed.is_ca() {
        return Err(AuthorityError::NotACa);
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::KeyMismatch);
    }
    Ok(())
}

/// Parameters that all our certificates share. Their validity begins a little in the past, for peers whose clocks
/// are behind.
fn base_params(now: UnixTime, end: u64) -> Result<CertificateParams, AuthorityError> {
    let time = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(LAST_TIME)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = time(now.as_secs().saturating_sub(CLOCK_SKEW.as_secs()));
    params.not_after = time(end);
    params.serial_number = Some(random_serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// RFC 5280 §4.1.2.2: positive, at most 20 bytes, unpredictable.
fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|_unspecified| AuthorityError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from(serial.to_vec()))
}

/// How far behind a peer's clock may be.
const CLOCK_SKEW: Duration = Duration::from_mins(10);

/// The end of what X.509 can say (RFC 5280 §4.1.2.5).
const LAST_TIME: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);

#[cfg(test)]
mod tests;
