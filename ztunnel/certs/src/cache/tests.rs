use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::*;
use crate::{Authority, LeafKey, LeafRequest};

#[test]
fn what_is_kept_reads_back_and_is_for_the_owner_alone() {
    let (_parent, path) = place();
    let cache = CredentialCache::open(&path).unwrap();
    let (credential, roots) = credential("a");
    cache.keep(&credential, &roots);
    let kept = cache.load(&id("a")).unwrap();
    assert_eq!((kept.key.public(), kept.chain), (credential.key().public(), credential.chain().to_vec()));
    assert_eq!(kept.roots, roots);
    assert_eq!(mode(&path), 0o700);
    let file = path.join(file_name(&id("a")));
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left there");
    assert!(cache.load(&id("b")).is_none());
}

#[test]
fn keys_are_kept_on_a_tmpfs_only() {
    for path in ["/sys/kernel", "/proc/sys"] {
        let refused = CredentialCache::open(Path::new(path)).unwrap_err();
        assert!(matches!(refused, CacheError::NotOnTmpfs { .. }), "{refused:?}");
    }
}

#[test]
fn a_folder_that_others_can_enter_or_lead_elsewhere_is_refused() {
    let (parent, path) = place();
    CredentialCache::open(&path).unwrap();
    for mode in [0o755, 0o701, 0o1700] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = CredentialCache::open(&path).unwrap_err();
        assert!(matches!(refused, CacheError::Exposed { mode: found, .. } if found == mode), "{refused}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let link = parent.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(CredentialCache::open(&link), Err(CacheError::Io { .. })));
    let somebody = Some(nix::unistd::Uid::from_raw(12345));
    nix::unistd::chown(&path, somebody, None).unwrap();
    assert!(matches!(CredentialCache::open(&path), Err(CacheError::Owner { owner: 12345, .. })));
}

#[test]
fn a_file_that_others_could_have_written_is_not_read() {
    let (_parent, path) = place();
    let cache = CredentialCache::open(&path).unwrap();
    let (credential, roots) = credential("a");
    cache.keep(&credential, &roots);
    let file = path.join(file_name(&id("a")));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(cache.load(&id("a")).is_none());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(cache.load(&id("a")).is_some());
    fs::rename(&file, path.join("elsewhere")).unwrap();
    symlink(path.join("elsewhere"), &file).unwrap();
    assert!(cache.load(&id("a")).is_none());
}

#[test]
fn a_file_cut_short_or_changed_is_not_read() {
    let (credential, roots) = credential("a");
    let whole = encode(&credential, &roots);
    assert!(Kept::parse(&whole).is_some());
    assert!((0..whole.len()).all(|length| Kept::parse(&whole[..length]).is_none()));
    let longer = [&whole[..], b"x"].concat();
    assert!(Kept::parse(&longer).is_none());
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 0xff;
        // It may read, but never panic or allocate by what it says.
        let _ = Kept::parse(&changed);
    }
}

#[test]
fn only_what_is_wanted_is_retained() {
    let (_parent, path) = place();
    let cache = CredentialCache::open(&path).unwrap();
    for name in ["a", "b"] {
        let (credential, roots) = credential(name);
        cache.keep(&credential, &roots);
    }
    cache.retain(&[id("b")].into());
    assert!(cache.load(&id("a")).is_none() && cache.load(&id("b")).is_some());
    cache.forget(&id("b"));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

/// A place on a tmpfs where nothing is yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = parent.path().join("keys");
    (parent, path)
}

fn credential(name: &str) -> (Credential, Vec<CertificateDer<'static>>) {
    let authority = Authority::ephemeral("test").unwrap();
    let key = LeafKey::generate().unwrap();
    let request = LeafRequest::from_pem(&key.request(&id(name)).unwrap()).unwrap();
    let chain = authority.sign(&request, Duration::from_hours(1), UnixTime::now()).unwrap();
    (Credential::new(&id(name), key, chain).unwrap(), vec![authority.root().clone()])
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/default/sa/{name}").parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
