//! The steps, as what they change.

use std::time::Duration;

use certs::{Authority, TrustBundle, pem_of, serial_number};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::RotateError;
use super::place::{Change, Held, NEXT_KEY, NOTE};
use crate::ca::root::{BROUGHT_KEY, NewRoot, ROOT_CERTIFICATE, ROOT_KEY};

/// The note that a rotation leaves until it is at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    /// The root that goes, in PEM.
    pub(super) old: String,
    /// The root that comes, in PEM.
    pub(super) new: String,
    /// When it was added, in seconds since 1970.
    pub(super) added: u64,
    /// When it was to sign.
    pub(super) switched: Option<u64>,
}

/// What a step was about: the numbers of both roots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) old: String,
    pub(super) new: String,
}

/// A step, and what it changes.
type Doing = Result<(Done, Vec<Change>), RotateError>;

impl Rotation {
    /// Makes a root, and adds it. One that was added before is added again, should it be missing.
    pub(super) fn begin(held: &Held, new: &NewRoot, now: UnixTime) -> Doing {
        if held.get(BROUGHT_KEY).is_some() {
            return Err(RotateError::Brought { place: held.place.clone() });
        }
        let root = held.files().root(now)?;
        let (rotation, mut changes) = match held.rotation() {
            Ok(rotation) if rotation.switched.is_some() => {
                let Done { old, new } = rotation.done()?;
                return Err(RotateError::Underway { new, old });
            }
            Ok(rotation) => (rotation, Vec::new()),
            Err(RotateError::Missing { .. }) => {
                let made = Authority::make_root(&new.name, new.lifetime, now).map_err(RotateError::Make)?;
                let old = pem_of(std::slice::from_ref(root.authority.root()));
                let (new, added) = (made.certificate, now.as_secs());
                let rotation = Self { old, new, added, switched: None };
                let key = Zeroizing::new(made.key.as_bytes().to_vec());
                // Trusted last: whoever is trusted is known, and its key is there.
                let changes = vec![Change::Put(NEXT_KEY, key), rotation.note()];
                (rotation, changes)
            }
            Err(error) => return Err(error),
        };
        let added = certificate(&rotation.new)?;
        if !root.trusted.contains(&added) {
            changes.push(roots(&[root.trusted, vec![added]].concat()));
        }
        Ok((rotation.done()?, changes))
    }

    /// Has the new root sign.
    pub(super) fn switch(self, held: &Held, now: UnixTime) -> Doing {
        let Some(next) = held.get(NEXT_KEY) else { return Err(RotateError::Missing { missing: "add" }) };
        if !held.roots()?.contains(&certificate(&self.new)?) {
            return Err(RotateError::Missing { missing: "add" });
        }
        let done = self.done()?;
        if held.get(ROOT_KEY) == Some(next) {
            return Ok((done, Vec::new()));
        }
        let next = Zeroizing::new(next.to_vec());
        let switched = Self { switched: Some(now.as_secs()), ..self };
        Ok((done, vec![switched.note(), Change::Put(ROOT_KEY, next)]))
    }

    /// When the new root began to sign, if it does.
    pub(super) fn switched(&self, held: &Held) -> Result<u64, RotateError> {
        let signs = held.get(NEXT_KEY).is_some() && held.get(NEXT_KEY) == held.get(ROOT_KEY);
        self.switched.filter(|_| signs).ok_or(RotateError::Missing { missing: "switch" })
    }

    /// Takes the old root out. Others that are trusted are none of a rotation's business.
    pub(super) fn retire(&self, held: &Held) -> Doing {
        let old = certificate(&self.old)?;
        let mut left = held.roots()?;
        left.retain(|root| *root != old);
        Ok((self.done()?, vec![roots(&left), Change::Remove(NEXT_KEY), Change::Remove(NOTE)]))
    }

    fn note(&self) -> Change {
        let text = serde_json::to_vec(self).expect("texts and numbers are always JSON");
        Change::Put(NOTE, Zeroizing::new(text))
    }

    fn done(&self) -> Result<Done, RotateError> {
        Ok(Done { old: serial(&self.old)?, new: serial(&self.new)? })
    }
}

impl Held {
    /// The rotation that is under way.
    pub(super) fn rotation(&self) -> Result<Rotation, RotateError> {
        let note = self.get(NOTE).ok_or(RotateError::Missing { missing: "add" })?;
        let read = serde_json::from_slice(note);
        read.map_err(|source| RotateError::Damaged { path: self.path(NOTE), source })
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, RotateError> {
        parse(self.get(ROOT_CERTIFICATE).unwrap_or_default(), || self.path(ROOT_CERTIFICATE))
    }
}

/// Whether so much time has passed since then.
pub(super) fn settled(since: u64, wait: Duration, now: UnixTime) -> Result<(), RotateError> {
    let passed = Duration::from_secs(now.as_secs().saturating_sub(since));
    match wait.saturating_sub(passed) {
        Duration::ZERO => Ok(()),
        left => Err(RotateError::Early { left }),
    }
}

/// The number of a root.
pub(super) fn serial(pem: &str) -> Result<String, RotateError> {
    Ok(serial_number(&certificate(pem)?).unwrap_or_default())
}

/// The roots of a text.
pub(super) fn parse(
    pem: &[u8],
    path: impl FnOnce() -> String,
) -> Result<Vec<CertificateDer<'static>>, RotateError> {
    let bundle = TrustBundle::from_pem(pem).map_err(|source| RotateError::Roots { path: path(), source })?;
    Ok(bundle.roots().to_vec())
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, RotateError> {
    let mut roots = parse(pem.as_bytes(), || NOTE.to_owned())?;
    Ok(roots.swap_remove(0))
}

fn roots(roots: &[CertificateDer<'static>]) -> Change {
    Change::Put(ROOT_CERTIFICATE, Zeroizing::new(pem_of(roots).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_root_follows_another_step_by_step() {
        let mut held = made();
        let old = signer(&held);
        let added = step(&mut held, |held| Rotation::begin(held, &named(), at(NOW)));
        assert_eq!((signer(&held), held.roots().unwrap().len()), (old.clone(), 2));
        let rotation = held.rotation().unwrap();
        assert!(matches!(rotation.switched(&held), Err(RotateError::Missing { missing: "switch" })));
        let switched = step(&mut held, |held| rotation.switch(held, at(NOW + 600)));
        assert_eq!((&added, &switched.old, &switched.new), (&switched, &old, &signer(&held)));
        let rotation = held.rotation().unwrap();
        assert_eq!(rotation.switched(&held).unwrap(), NOW + 600);
        step(&mut held, |held| rotation.retire(held));
        assert_eq!((signer(&held), held.roots().unwrap().len()), (added.new, 1));
        assert!(matches!(held.rotation(), Err(RotateError::Missing { missing: "add" })));
        assert!(held.get(NEXT_KEY).is_none());
    }

    #[test]
    fn a_step_that_was_interrupted_anywhere_is_done_again() {
        let mut held = made();
        let changes = Rotation::begin(&held, &named(), at(NOW)).unwrap().1;
        for kept in 0..changes.len() {
            let mut held = made();
            let mut changes = Rotation::begin(&held, &named(), at(NOW)).unwrap().1;
            changes.truncate(kept);
            held.apply(changes);
            let done = step(&mut held, |held| Rotation::begin(held, &named(), at(NOW + 1)));
            step(&mut held, |held| held.rotation().unwrap().switch(held, at(NOW + 2)));
            assert_eq!(signer(&held), done.new, "{kept}");
        }
        held.apply(changes);
        let mut changes = held.rotation().unwrap().switch(&held, at(NOW + 1)).unwrap().1;
        changes.truncate(1);
        held.apply(changes);
        // What it says of the time is not true yet.
        let rotation = held.rotation().unwrap();
        assert!(matches!(rotation.switched(&held), Err(RotateError::Missing { missing: "switch" })));
        step(&mut held, |held| rotation.switch(held, at(NOW + 900)));
        assert_eq!(held.rotation().unwrap().switched(&held).unwrap(), NOW + 900);
    }

    #[test]
    fn a_step_that_is_done_twice_changes_nothing() {
        let mut held = made();
        step(&mut held, |held| Rotation::begin(held, &named(), at(NOW)));
        assert!(Rotation::begin(&held, &named(), at(NOW + 9)).unwrap().1.is_empty());
        step(&mut held, |held| held.rotation().unwrap().switch(held, at(NOW + 10)));
        assert!(held.rotation().unwrap().switch(&held, at(NOW + 99)).unwrap().1.is_empty());
        assert_eq!(held.rotation().unwrap().switched, Some(NOW + 10));
        assert!(matches!(Rotation::begin(&held, &named(), at(NOW)), Err(RotateError::Underway { .. })));
    }

    #[test]
    fn roots_that_others_added_stay() {
        let mut held = made();
        let other = Authority::make_root("other", DAY, at(NOW)).unwrap().certificate;
        let both = [held.get(ROOT_CERTIFICATE).unwrap(), other.as_bytes()].concat();
        held.apply(vec![Change::Put(ROOT_CERTIFICATE, Zeroizing::new(both))]);
        step(&mut held, |held| Rotation::begin(held, &named(), at(NOW)));
        step(&mut held, |held| held.rotation().unwrap().switch(held, at(NOW)));
        step(&mut held, |held| held.rotation().unwrap().retire(held));
        assert_eq!(held.roots().unwrap().len(), 2);
        assert!(held.roots().unwrap().contains(&certificate(&other).unwrap()));
    }

    #[test]
    fn a_root_that_was_brought_is_left_alone() {
        let mut held = made();
        let key = held.get(ROOT_KEY).unwrap().to_vec();
        held.apply(vec![Change::Put(BROUGHT_KEY, Zeroizing::new(key))]);
        assert!(matches!(Rotation::begin(&held, &named(), at(NOW)), Err(RotateError::Brought { .. })));
    }

    #[test]
    fn time_has_to_pass() {
        let wait = Duration::from_secs(60);
        let early = settled(NOW, wait, at(NOW + 59)).unwrap_err();
        assert_eq!(early.to_string(), "it is too early: come again in 1s");
        settled(NOW, wait, at(NOW + 60)).unwrap();
    }

    fn step(held: &mut Held, doing: impl FnOnce(&Held) -> Doing) -> Done {
        let (done, changes) = doing(held).unwrap();
        held.apply(changes);
        done
    }

    fn signer(held: &Held) -> String {
        serial_number(held.files().root(at(NOW)).unwrap().authority.root()).unwrap()
    }

    fn made() -> Held {
        let made = Authority::make_root("cluster.local", DAY, at(NOW)).unwrap();
        Held::of(&[(ROOT_KEY, made.key.as_bytes()), (ROOT_CERTIFICATE, made.certificate.as_bytes())])
    }

    fn named() -> NewRoot {
        NewRoot { name: "cluster.local".to_owned(), lifetime: DAY }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    const DAY: Duration = Duration::from_hours(24);
}
