//! Making a root, once.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use cluster::kubernetes::{Kubernetes, NamespacedName, Written};
use nix::fcntl::{Flock, FlockArg};
use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use super::files::{Lack, RootFiles};
use super::{ROOT_CERTIFICATE, ROOT_KEY, Root, RootError};
use crate::ca::files::{self, FileError, Readers};

/// What a root is like that does not exist yet.
#[derive(Clone, Debug)]
pub struct NewRoot {
    /// The organisation that its certificate names.
    pub name: String,
    /// How long it lasts.
    pub lifetime: Duration,
}

/// The root in `folder`, which is made if there is none. Of several processes that come at once, one makes it, and all
/// return it. Blocks while another one is at it.
///
/// # Errors
/// When there is a root that is unusable, or none can be written.
pub(super) fn in_folder(folder: &Path, new: &NewRoot, now: UnixTime) -> Result<Root, RootError> {
    fs::create_dir_all(folder).map_err(FileError::on("make", folder))?;
    if let Lack::Nothing(root) = RootFiles::of_folder(folder)?.lack(new, now)? {
        return Ok(*root);
    }
    let _lock = lock(&folder.join(LOCK))?;
    // Another one may have made it meanwhile.
    let files = match RootFiles::of_folder(folder)?.lack(new, now)? {
        Lack::Nothing(root) => return Ok(*root),
        Lack::Files(files) => files,
    };
    write(folder, files.key.as_ref(), &files.certificate)?;
    tracing::info!(folder = %folder.display(), name = new.name, "root made");
    RootFiles::of_folder(folder)?.root(now)
}

/// The root in the Secret `name`, which is made if there is none. Of several processes that come at once, one makes it,
/// and all return it.
///
/// # Errors
/// When there is a root that is unusable, or none can be written.
pub(super) async fn in_secret(
    kubernetes: &Kubernetes,
    name: &NamespacedName,
    new: &NewRoot,
    now: UnixTime,
) -> Result<Root, RootError> {
    for _attempt in 0..ATTEMPTS {
        let seen = kubernetes.secret(name).await?;
        let files = match RootFiles::of_secret(name, seen.as_ref()).lack(new, now)? {
            Lack::Nothing(root) => return Ok(*root),
            Lack::Files(files) => files,
        };
        let key = files.key.map(|key| (ROOT_KEY.to_owned(), key.as_bytes().to_vec()));
        let certificate = (ROOT_CERTIFICATE.to_owned(), files.certificate.into_bytes());
        let entries = key.into_iter().chain([certificate]).collect();
        // The API server takes one write of what nobody else has written since.
        let written = match &seen {
            None => kubernetes.create_secret(name, entries).await?,
            Some(seen) => kubernetes.add_to_secret(name, seen, entries).await?,
        };
        if written == Written::Done {
            tracing::info!(secret = %name, name = new.name, "root made");
        }
        // Read again in any case: what counts is what is there.
    }
    Err(RootError::Raced { place: format!("Secret {name}") })
}

/// The certificate comes last: who sees it sees its key.
fn write(folder: &Path, key: Option<&Zeroizing<String>>, certificate: &str) -> Result<(), FileError> {
    if let Some(key) = key {
        files::write(&folder.join(ROOT_KEY), key.as_bytes(), Readers::Owner)?;
    }
    files::write(&folder.join(ROOT_CERTIFICATE), certificate.as_bytes(), Readers::All)
}

/// A lock that ends with the process, however it ends.
fn lock(path: &Path) -> Result<Flock<fs::File>, FileError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(FileError::on("open", path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| FileError::on("lock", path)(error.into()))
}

const LOCK: &str = ".lock";

/// One writes and reads, others find what it wrote: more than three mean that somebody takes the root away.
const ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn those_who_come_at_once_get_one_root() {
        let folder = tempfile::tempdir().unwrap();
        let (path, start) = (folder.path(), Barrier::new(8));
        let roots: Vec<_> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        in_folder(path, &new(), UnixTime::now()).unwrap().authority.root().clone()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
        let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "lock, key and certificate: {names:?}");
    }

    #[test]
    fn the_key_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        in_folder(folder.path(), &new(), UnixTime::now()).unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(ROOT_KEY), 0o600);
        assert_eq!(mode(ROOT_CERTIFICATE) & 0o444, 0o444);
    }

    #[test]
    fn a_maker_that_was_killed_half_way_leaves_a_key_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        in_folder(folder.path(), &new(), UnixTime::now()).unwrap();
        let key = fs::read(folder.path().join(ROOT_KEY)).unwrap();
        fs::remove_file(folder.path().join(ROOT_CERTIFICATE)).unwrap();
        in_folder(folder.path(), &new(), UnixTime::now()).unwrap();
        assert_eq!(fs::read(folder.path().join(ROOT_KEY)).unwrap(), key);
    }

    #[test]
    fn a_certificate_without_its_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        in_folder(folder.path(), &new(), UnixTime::now()).unwrap();
        fs::remove_file(folder.path().join(ROOT_KEY)).unwrap();
        let refused = in_folder(folder.path(), &new(), UnixTime::now()).unwrap_err();
        assert!(matches!(refused, RootError::Half { path } if path.ends_with(ROOT_KEY)));
    }

    #[test]
    fn a_broken_root_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        in_folder(folder.path(), &new(), UnixTime::now()).unwrap();
        fs::write(folder.path().join(ROOT_KEY), "broken").unwrap();
        assert!(matches!(
            in_folder(folder.path(), &new(), UnixTime::now()),
            Err(RootError::Authority { .. })
        ));
    }

    fn new() -> NewRoot {
        NewRoot { name: "cluster.local".to_owned(), lifetime: Duration::from_hours(24) }
    }
}
