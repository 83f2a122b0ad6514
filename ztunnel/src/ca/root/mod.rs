//! The folder that holds the CA's key and roots.
//!
//! Either what the CA made for itself, `root-cert.pem` and `root-key.pem`, or what an operator brought, under the names
//! of Istio's `cacerts`: `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`. `root-cert.pem` may hold
//! several roots: all of them are trusted, the one to which the key leads signs. That is how a root is rotated.

mod follow;
mod make;

use std::path::{Path, PathBuf};

use certs::{Authority, AuthorityError, ParseRootsError, TrustBundle};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use super::files::{self, FileError};

pub use follow::{FollowedRoot, follow};
pub use make::{NewRoot, ensure};

/// Who signs, and all roots that are trusted.
#[derive(Debug)]
pub struct Root {
    /// Who signs.
    pub authority: Authority,
    /// The authority's own root first.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Why a folder holds no usable root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is no root in it.
    #[error("no root in {folder}", folder = folder.display())]
    Absent {
        /// The folder.
        folder: PathBuf,
    },
    /// Key and certificates don't make an authority.
    #[error("root in {folder} is unusable", folder = folder.display())]
    Authority {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// The certificate of the key is missing, or the key of the certificate.
    #[error("{path} is missing", path = path.display())]
    Half {
        /// What is missing.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key is not text.
    #[error("{path} is not PEM", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A file of certificates is not PEM.
    #[error("{path} is not PEM", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// The roots are no roots.
    #[error("{path} holds no usable roots", path = path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ParseRootsError,
    },
}

/// What a folder holds, unread.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RootFolder {
    path: PathBuf,
    key_path: PathBuf,
    key: Option<Zeroizing<Vec<u8>>>,
    /// Of an operator.
    certificates: Vec<(PathBuf, Vec<u8>)>,
    roots: Option<Vec<u8>>,
}

impl RootFolder {
    /// Reads the files, whatever they say.
    pub(super) fn read(folder: &Path) -> Result<Self, FileError> {
        let roots = files::read(&folder.join(ROOT_CERTIFICATE))?;
        let brought_key = folder.join(BROUGHT_KEY);
        if let Some(key) = files::read(&brought_key)? {
            let mut certificates = Vec::new();
            for path in [BROUGHT_CERTIFICATE, BROUGHT_CHAIN].map(|name| folder.join(name)) {
                let text = files::read(&path)?;
                certificates.extend(text.map(|text| (path, text)));
            }
            let (key, key_path) = (Some(Zeroizing::new(key)), brought_key);
            return Ok(Self { path: folder.to_owned(), key_path, key, certificates, roots });
        }
        let key_path = folder.join(ROOT_KEY);
        let key = files::read(&key_path)?.map(Zeroizing::new);
        Ok(Self { path: folder.to_owned(), key_path, key, certificates: Vec::new(), roots })
    }

    /// Makes sense of them.
    pub(super) fn root(&self, now: UnixTime) -> Result<Root, RootError> {
        let roots_path = self.path.join(ROOT_CERTIFICATE);
        let (key, roots) = match (&self.key, &self.roots) {
            (Some(key), Some(roots)) => (key, roots),
            (None, None) => return Err(RootError::Absent { folder: self.path.clone() }),
            (None, Some(_)) => return Err(RootError::Half { path: self.key_path.clone() }),
            (Some(_), None) => return Err(RootError::Half { path: roots_path }),
        };
        let key = str::from_utf8(key).map_err(|_| RootError::Key { path: self.key_path.clone() })?;
        let bundle =
            TrustBundle::from_pem(roots).map_err(|source| RootError::Roots { path: roots_path, source })?;
        let mut certificates = Vec::new();
        for (path, text) in &self.certificates {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            certificates.extend(read.map_err(|source| RootError::Pem { path: path.clone(), source })?);
        }
        let authority = Authority::assemble(key, &certificates, &bundle, now)
            .map_err(|source| RootError::Authority { folder: self.path.clone(), source })?;
        let mut trusted = vec![authority.root().clone()];
        trusted.extend(bundle.roots().iter().filter(|root| *root != authority.root()).cloned());
        Ok(Root { authority, trusted })
    }
}

/// The roots: certificates.
pub const ROOT_CERTIFICATE: &str = "root-cert.pem";

/// The self-made root's key.
const ROOT_KEY: &str = "root-key.pem";

/// Istio's names for what an operator brings.
const BROUGHT_CERTIFICATE: &str = "ca-cert.pem";
const BROUGHT_KEY: &str = "ca-key.pem";
const BROUGHT_CHAIN: &str = "cert-chain.pem";
