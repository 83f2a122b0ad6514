//! Key and certificates, unread.

use std::convert::Infallible;
use std::path::Path;

use certs::{Authority, TrustBundle};
use cluster::kubernetes::{NamespacedName, StoredSecret};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use super::make::NewRoot;
use super::{BROUGHT_CERTIFICATE, BROUGHT_CHAIN, BROUGHT_KEY, ROOT_CERTIFICATE, ROOT_KEY, Root, RootError};
use crate::ca::files::{self, FileError};

/// What a folder or a Secret holds, unread.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::ca) struct RootFiles {
    /// Where that is, for people.
    place: String,
    key_name: &'static str,
    key: Option<Zeroizing<Vec<u8>>>,
    /// Of an operator.
    certificates: Vec<(&'static str, Vec<u8>)>,
    roots: Option<Vec<u8>>,
}

/// What there is to do until there is a root.
pub(super) enum Lack {
    /// Nothing: there is one.
    Nothing(Box<Root>),
    /// To write this.
    Files(NewFiles),
}

/// A root that was just made.
pub(super) struct NewFiles {
    /// None: the one that is there stays.
    pub(super) key: Option<Zeroizing<String>>,
    pub(super) certificate: String,
}

impl RootFiles {
    /// Reads the files of a folder, whatever they say.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, FileError> {
        Self::read(folder.display().to_string(), |name| files::read(&folder.join(name)))
    }

    /// Takes the entries of a Secret, if there is one, whatever they say.
    pub(super) fn of_secret(name: &NamespacedName, secret: Option<&StoredSecret>) -> Self {
        let entry = |name: &str| secret.and_then(|secret| secret.entries.get(name)).cloned();
        Self::of_entries(&format!("Secret {name}"), entry)
    }

    /// Takes what `entry` finds in a place, whatever it says.
    pub(in crate::ca) fn of_entries(place: &str, entry: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        match Self::read(place.to_owned(), |name| Ok::<_, Infallible>(entry(name))) {
            Ok(files) => files,
            Err(never) => match never {},
        }
    }

    /// Makes sense of them.
    pub(in crate::ca) fn root(&self, now: UnixTime) -> Result<Root, RootError> {
        let path = |name: &str| format!("{}/{name}", self.place);
        let (key, roots) = match (&self.key, &self.roots) {
            (Some(key), Some(roots)) => (key, roots),
            (None, None) => return Err(RootError::Absent { place: self.place.clone() }),
            (None, Some(_)) => return Err(RootError::Half { path: path(self.key_name) }),
            (Some(_), None) => return Err(RootError::Half { path: path(ROOT_CERTIFICATE) }),
        };
        let key = self.key_text(key)?;
        let bundle = TrustBundle::from_pem(roots)
            .map_err(|source| RootError::Roots { path: path(ROOT_CERTIFICATE), source })?;
        let mut certificates = Vec::new();
        for (name, text) in &self.certificates {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            certificates.extend(read.map_err(|source| RootError::Pem { path: path(name), source })?);
        }
        let authority = Authority::assemble(key, &certificates, &bundle, now)
            .map_err(|source| RootError::Authority { place: self.place.clone(), source })?;
        let mut trusted = vec![authority.root().clone()];
        trusted.extend(bundle.roots().iter().filter(|root| *root != authority.root()).cloned());
        Ok(Root { authority, trusted })
    }

    /// The root, or what is to be written so that there is one. What is broken or half brought is never replaced.
    pub(super) fn lack(&self, new: &NewRoot, now: UnixTime) -> Result<Lack, RootError> {
        let failed = |source| RootError::Authority { place: self.place.clone(), source };
        let (key, certificate) = match (&self.key, &self.roots) {
            // Killed between the two files: the key that is there is kept, whatever it may have signed.
            (Some(key), None) if self.key_name == ROOT_KEY => {
                let key = self.key_text(key)?;
                let certificate =
                    Authority::root_for_key(key, &new.name, new.lifetime, now).map_err(failed)?;
                (None, certificate)
            }
            (None, None) => {
                let made = Authority::make_root(&new.name, new.lifetime, now).map_err(failed)?;
                (Some(made.key), made.certificate)
            }
            _ => return Ok(Lack::Nothing(Box::new(self.root(now)?))),
        };
        Ok(Lack::Files(NewFiles { key, certificate }))
    }

    fn read<E>(place: String, mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>) -> Result<Self, E> {
        let roots = read(ROOT_CERTIFICATE)?;
        if let Some(key) = read(BROUGHT_KEY)? {
            let mut certificates = Vec::new();
            for name in [BROUGHT_CERTIFICATE, BROUGHT_CHAIN] {
                certificates.extend(read(name)?.map(|text| (name, text)));
            }
            let key = Some(Zeroizing::new(key));
            return Ok(Self { place, key_name: BROUGHT_KEY, key, certificates, roots });
        }
        let key = read(ROOT_KEY)?.map(Zeroizing::new);
        Ok(Self { place, key_name: ROOT_KEY, key, certificates: Vec::new(), roots })
    }

    fn key_text<'a>(&self, key: &'a [u8]) -> Result<&'a str, RootError> {
        let path = || format!("{}/{}", self.place, self.key_name);
        str::from_utf8(key).map_err(|_| RootError::Key { path: path() })
    }
}
