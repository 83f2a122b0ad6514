//! Which roots are trusted, from files that may change and from what the CA says.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use identity::TrustDomain;
use rustls_pki_types::CertificateDer;

use crate::bundle::{Bundles, TrustBundle};
use crate::signer::RootsError;

/// Where roots are read from.
#[derive(Debug, Clone)]
pub struct TrustFiles {
    /// The mesh's own trust domain.
    pub domain: TrustDomain,
    /// PEM file of its roots; those that its CA hands out are trusted too.
    pub roots: PathBuf,
    /// PEM files of the roots of other trust domains whose peers are accepted. None of them speaks for the own one.
    pub federated: BTreeMap<TrustDomain, PathBuf>,
}

/// A partner is the mesh itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trust domain {domain} cannot be federated with itself")]
pub struct FederatedWithItself {
    domain: TrustDomain,
}

/// The files, and what they last held.
#[derive(Debug)]
pub(crate) struct Trust {
    domain: TrustDomain,
    files: BTreeMap<TrustDomain, RootsFile>,
}

#[derive(Debug)]
struct RootsFile {
    path: PathBuf,
    /// What was read last; none before the first time, or when it could not be read.
    text: Option<Vec<u8>>,
    /// What was last read without fault.
    roots: Vec<CertificateDer<'static>>,
}

impl Trust {
    pub(crate) fn new(files: TrustFiles) -> Result<Self, FederatedWithItself> {
        let TrustFiles { domain, roots, federated } = files;
        if federated.contains_key(&domain) {
            return Err(FederatedWithItself { domain });
        }
        let file = |path| RootsFile { path, text: None, roots: Vec::new() };
        let mut files: BTreeMap<_, _> =
            federated.into_iter().map(|(domain, path)| (domain, file(path))).collect();
        files.insert(domain.clone(), file(roots));
        Ok(Self { domain, files })
    }

    /// Reads the files again; says whether any root came or went. A file that is broken leaves what was there.
    pub(crate) fn reload(&mut self) -> bool {
        let mut changed = false;
        for (domain, file) in &mut self.files {
            match file.reload() {
                Ok(file_changed) => changed |= file_changed,
                Err(error) => {
                    let cause = crate::describe(&error);
                    tracing::warn!(%domain, path = %file.path.display(), cause, "roots are not read");
                }
            }
        }
        changed
    }

    /// The bundles, with what the CA said of the own domain's roots.
    pub(crate) fn bundles<'r>(&self, learned: impl Iterator<Item = &'r CertificateDer<'static>>) -> Bundles {
        let mut roots: BTreeMap<_, _> =
            self.files.iter().map(|(domain, file)| (domain.clone(), file.roots.clone())).collect();
        let own = roots.entry(self.domain.clone()).or_default();
        own.extend(learned.cloned());
        sort(own);
        own.truncate(MAX_ROOTS);
        // Both sources hold usable roots only; a domain without any accepts nobody.
        roots
            .into_iter()
            .filter_map(|(domain, roots)| Some((domain, TrustBundle::new(roots).ok()?)))
            .collect()
    }
}

impl RootsFile {
    /// Whether there are other roots in it than before. A fault is told once, not each time.
    fn reload(&mut self) -> Result<bool, RootsError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                let known = self.text.as_ref().is_some_and(Vec::is_empty);
                self.text = Some(Vec::new());
                return if known { Ok(false) } else { Err(RootsError::Read(error)) };
            }
        };
        if self.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        let bundle = TrustBundle::from_pem(&text);
        self.text = Some(text);
        let mut roots = bundle?.roots().to_vec();
        sort(&mut roots);
        let changed = roots != self.roots;
        self.roots = roots;
        Ok(changed)
    }
}

/// So that the same roots make the same bundle, wherever they come from.
fn sort(roots: &mut Vec<CertificateDer<'static>>) {
    roots.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    roots.dedup();
}

/// Most roots of the own domain: an old and a new one, from a few CAs. Each costs a comparison of names per handshake.
const MAX_ROOTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, pem_of};

    #[test]
    fn roots_come_from_the_file_and_from_the_ca() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let (one, two) = (root(), root());
        fs::write(&path, pem_of(std::slice::from_ref(&one))).unwrap();
        let mut trust = trust(path.clone(), BTreeMap::new()).unwrap();
        assert!(trust.reload());
        assert!(!trust.reload(), "nothing changed");
        let bundles = trust.bundles([&two, &one].into_iter());
        assert_eq!(bundles.of(&domain()).unwrap().roots().len(), 2);

        fs::write(&path, pem_of(std::slice::from_ref(&two))).unwrap();
        assert!(trust.reload());
        assert_eq!(trust.bundles(std::iter::empty()).of(&domain()).unwrap().roots(), [two]);
    }

    #[test]
    fn a_broken_or_missing_file_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let one = root();
        fs::write(&path, pem_of(std::slice::from_ref(&one))).unwrap();
        let mut trust = trust(path.clone(), BTreeMap::new()).unwrap();
        trust.reload();
        fs::write(&path, "not PEM").unwrap();
        assert!(!trust.reload());
        fs::remove_file(&path).unwrap();
        assert!(!trust.reload());
        assert_eq!(trust.bundles(std::iter::empty()).of(&domain()).unwrap().roots(), [one]);
    }

    #[test]
    fn what_the_ca_says_counts_for_the_own_domain_only() {
        let partner: TrustDomain = "partner.example".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partner.pem");
        fs::write(&path, pem_of(&[root()])).unwrap();
        let federated = BTreeMap::from([(partner.clone(), path)]);
        let mut trust = trust(folder.path().join("absent.pem"), federated).unwrap();
        trust.reload();
        let learned = root();
        let bundles = trust.bundles(std::iter::once(&learned));
        assert_eq!(bundles.of(&domain()).unwrap().roots(), std::slice::from_ref(&learned));
        assert!(!bundles.of(&partner).unwrap().roots().contains(&learned));
    }

    #[test]
    fn a_mesh_is_not_its_own_partner() {
        let federated = BTreeMap::from([(domain(), PathBuf::from("x.pem"))]);
        assert_eq!(trust("y.pem".into(), federated).unwrap_err(), FederatedWithItself { domain: domain() });
    }

    fn trust(
        roots: PathBuf,
        federated: BTreeMap<TrustDomain, PathBuf>,
    ) -> Result<Trust, FederatedWithItself> {
        Trust::new(TrustFiles { domain: domain(), roots, federated })
    }

    fn domain() -> TrustDomain {
        "cluster.local".parse().unwrap()
    }

    fn root() -> CertificateDer<'static> {
        Authority::ephemeral("test").unwrap().root().clone()
    }
}
