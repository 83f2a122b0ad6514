//! What holds the CA's key and roots: the files of a folder, or the entries of a Secret.
//!
//! Either what the CA made for itself, `root-cert.pem` and `root-key.pem`, or what an operator brought, under the names
//! of Istio's `cacerts`: `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`. `root-cert.pem` may hold
//! several roots: all of them are trusted, the one to which the key leads signs. That is how a root is rotated.

mod files;
mod follow;
mod make;
pub mod publish;
mod source;

use certs::{Authority, AuthorityError, ParseRootsError};
use cluster::kubernetes::ApiError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem;

use super::files::FileError;

pub(super) use files::RootFiles;
pub use follow::{FollowedRoot, follow};
pub use make::NewRoot;
pub use source::RootSource;

/// Who signs, and all roots that are trusted.
#[derive(Debug)]
pub struct Root {
    /// Who signs.
    pub authority: Authority,
    /// The authority's own root first.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Why there is no usable root. Places are folders or Secrets, paths those of files or entries in them.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is no root in it.
    #[error("no root in {place}")]
    Absent {
        /// Where there is none.
        place: String,
    },
    /// The Secret cannot be read or written.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Key and certificates don't make an authority.
    #[error("root in {place} is unusable")]
    Authority {
        /// Where it is.
        place: String,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate of the key is missing, or the key of the certificate.
    #[error("{path} is missing")]
    Half {
        /// What is missing.
        path: String,
    },
    /// A key is not text.
    #[error("{path} is not PEM")]
    Key {
        /// Where it is.
        path: String,
    },
    /// Certificates are not PEM.
    #[error("{path} is not PEM")]
    Pem {
        /// Where they are.
        path: String,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// Others keep writing what is written here.
    #[error("{place} changes all the time")]
    Raced {
        /// What changes.
        place: String,
    },
    /// The roots are no roots.
    #[error("{path} holds no usable roots")]
    Roots {
        /// Where they are.
        path: String,
        /// What is wrong.
        #[source]
        source: ParseRootsError,
    },
}

/// The roots: certificates.
pub const ROOT_CERTIFICATE: &str = "root-cert.pem";

/// The self-made root's key.
pub(super) const ROOT_KEY: &str = "root-key.pem";

/// Istio's names for what an operator brings.
const BROUGHT_CERTIFICATE: &str = "ca-cert.pem";
pub(super) const BROUGHT_KEY: &str = "ca-key.pem";
const BROUGHT_CHAIN: &str = "cert-chain.pem";
