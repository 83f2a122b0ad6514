//! A request for a leaf certificate, as a CA receives it.

use identity::{ParseSpiffeIdError, SpiffeId};
use rcgen::{CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKey, PublicKeyData, SanType};

/// A well-formed request, signed by the key that it is for. All else that it may ask for is ignored.
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
