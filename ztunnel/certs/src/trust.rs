//! Which roots are trusted, from files that may change and from what the CA says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use identity::TrustDomain;
use rustls_pki_types::CertificateDer;

use crate::bundle::{Bundles, ParseRootsError, TrustBundle};
use crate::revocation::{ParseListsError, RevocationLists};

/// Where roots are read from.
#[derive(Debug, Clone)]
pub struct TrustFiles {
    /// The mesh's own trust domain.
    pub domain: TrustDomain,
    /// Other names of it: peers that verify under one of these are those of the first name.
    pub aliases: BTreeSet<TrustDomain>,
    /// PEM file of its roots; those that its CA hands out are trusted too.
    pub roots: PathBuf,
    /// PEM files of the roots of other trust domains whose peers are accepted. None of them speaks for the own one.
    pub federated: BTreeMap<TrustDomain, PathBuf>,
    /// Files of the revocation lists of each trust domain, in PEM or DER.
    pub revocations: BTreeMap<TrustDomain, PathBuf>,
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
    aliases: BTreeSet<TrustDomain>,
    roots: BTreeMap<TrustDomain, Watched<Vec<CertificateDer<'static>>>>,
    revocations: BTreeMap<TrustDomain, Watched<RevocationLists>>,
}

/// What came or went with a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reloaded {
    pub(crate) roots: bool,
    pub(crate) revocations: bool,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Lists(#[from] ParseListsError),
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    #[error(transparent)]
    Roots(#[from] ParseRootsError),
}

impl Trust {
    pub(crate) fn new(files: TrustFiles) -> Result<Self, FederatedWithItself> {
        let TrustFiles { domain, aliases, roots, mut federated, revocations } = files;
        if federated.contains_key(&domain) {
            return Err(FederatedWithItself { domain });
        }
        federated.insert(domain.clone(), roots);
        let roots = federated.into_iter().map(|(domain, path)| (domain, Watched::new(path)));
        let revocations = revocations.into_iter().map(|(domain, path)| (domain, Watched::new(path)));
        Ok(Self { domain, aliases, roots: roots.collect(), revocations: revocations.collect() })
    }

    /// Reads the files again; says what came or went. A file that is broken leaves what was there.
    pub(crate) fn reload(&mut self) -> Reloaded {
        let roots = |text: &[u8]| {
            let mut roots = TrustBundle::from_pem(text)?.roots().to_vec();
            sort(&mut roots);
            Ok(roots)
        };
        let lists = |bytes: &[u8]| Ok(RevocationLists::parse(bytes)?);
        Reloaded {
            roots: reload_all(&mut self.roots, "roots are not read", roots),
            revocations: reload_all(&mut self.revocations, "revocation lists are not read", lists),
        }
    }

    /// The bundles, with what the CA said of the own domain's roots.
    pub(crate) fn bundles<'r>(&self, learned: impl Iterator<Item = &'r CertificateDer<'static>>) -> Bundles {
        let mut roots: BTreeMap<_, _> =
            self.roots.iter().map(|(domain, file)| (domain.clone(), file.value.clone())).collect();
        let own = roots.entry(self.domain.clone()).or_default();
        own.extend(learned.cloned());
        sort(own);
        own.truncate(MAX_ROOTS);
        // Both sources hold usable roots only; a domain without any accepts nobody.
        let bundle = |(domain, roots)| {
            let lists = self.revocations.get(&domain).map(|file| file.value.clone()).unwrap_or_default();
            Some((domain, TrustBundle::new(roots).ok()?.with_revocations(lists)))
        };
        let bundles: Bundles = roots.into_iter().filter_map(bundle).collect();
        if self.aliases.is_empty() {
            return bundles;
        }
        bundles.with_aliases(self.domain.clone(), self.aliases.iter().cloned())
    }
}

/// A file that may change.
#[derive(Debug)]
struct Watched<T> {
    path: PathBuf,
    /// What was read last; none before the first time. Its absence is remembered as being empty.
    text: Option<Vec<u8>>,
    /// What was last read without fault.
    value: T,
}

impl<T: Default + PartialEq> Watched<T> {
    fn new(path: PathBuf) -> Self {
        Self { path, text: None, value: T::default() }
    }

    /// Whether there is something else in it than before. A fault is told once, not each time.
    fn reload(&mut self, parse: impl Fn(&[u8]) -> Result<T, FileError>) -> Result<bool, FileError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                let known = self.text.as_ref().is_some_and(Vec::is_empty);
                self.text = Some(Vec::new());
                return if known { Ok(false) } else { Err(FileError::Read(error)) };
            }
        };
        if self.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        let parsed = parse(&text);
        self.text = Some(text);
        let value = parsed?;
        let changed = value != self.value;
        self.value = value;
        Ok(changed)
    }
}

fn reload_all<T: Default + PartialEq>(
    files: &mut BTreeMap<TrustDomain, Watched<T>>,
    complaint: &'static str,
    parse: impl Fn(&[u8]) -> Result<T, FileError>,
) -> bool {
    let mut changed = false;
    for (domain, file) in files {
        match file.reload(&parse) {
            Ok(file_changed) => changed |= file_changed,
            Err(error) => {
                let cause = crate::describe(&error);
                tracing::warn!(%domain, path = %file.path.display(), cause, "{complaint}");
            }
        }
    }
    changed
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
        assert!(trust.reload().roots);
        assert_eq!(trust.reload(), Reloaded::default(), "nothing changed");
        let bundles = trust.bundles([&two, &one].into_iter());
        assert_eq!(bundles.of(&domain()).unwrap().roots().len(), 2);

        fs::write(&path, pem_of(std::slice::from_ref(&two))).unwrap();
        assert!(trust.reload().roots);
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
        assert!(!trust.reload().roots);
        fs::remove_file(&path).unwrap();
        assert!(!trust.reload().roots);
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
        Trust::new(TrustFiles {
            domain: domain(),
            aliases: BTreeSet::new(),
            roots,
            federated,
            revocations: BTreeMap::new(),
        })
    }

    fn domain() -> TrustDomain {
        "cluster.local".parse().unwrap()
    }

    fn root() -> CertificateDer<'static> {
        Authority::ephemeral("test").unwrap().root().clone()
    }
}
