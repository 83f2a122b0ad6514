//! Entering a pod's network namespace, and coming back whatever happens.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sched::{CloneFlags, setns};

use super::NetnsCookie;

/// A network namespace held open. While it is, the namespace and its links live on, even when the pod is gone.
#[derive(Debug)]
pub struct PodNetns {
    path: Option<PathBuf>,
    inode: u64,
    cookie: Option<NetnsCookie>,
    fd: OwnedFd,
    /// The process lives in it: nobody has to go there.
    is_home: bool,
}

/// Proof that the calling thread is inside a pod's namespace. Dropping it returns; if that fails the process aborts,
/// because every socket that this thread made from then on would belong to the wrong pod.
///
/// The guard stays on its thread and so cannot be held across an `await`. No thread may be started while it lives:
/// it would be born in the pod's namespace. Child processes are, on purpose.
#[derive(Debug)]
pub struct NetnsGuard {
    /// Where to go back to; none for who never left.
    home: Option<&'static OwnedFd>,
    not_send: PhantomData<*const ()>,
}

impl PodNetns {
    /// Opens the namespace file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a network namespace, or is the daemon's own.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = OwnedFd::from(File::open(path)?);
        Self::checked(fd, Some(path.to_owned()))
    }

    /// Takes over a namespace file that somebody else opened; `path` is where it is mounted, if known.
    ///
    /// # Errors
    /// When it is not a network namespace, or is the daemon's own.
    pub fn from_fd(fd: OwnedFd, path: Option<PathBuf>) -> io::Result<Self> {
        Self::checked(fd, path)
    }

    /// The daemon's own, for a daemon that runs inside of its pod. Entering it moves nobody, and takes no privilege.
    ///
    /// # Errors
    /// When the kernel does not tell which it is.
    pub fn own() -> io::Result<Self> {
        let fd = home()?.try_clone()?;
        let inode = inode_of(fd.as_fd())?;
        Ok(Self { path: None, inode, cookie: NetnsCookie::here()?, fd, is_home: true })
    }

    /// The inode number: names the namespace as long as it lives, and may be used again after that.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// What names the namespace for ever, where the kernel tells it.
    pub const fn cookie(&self) -> Option<NetnsCookie> {
        self.cookie
    }

    /// Where the namespace is mounted, if known.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The same namespace, mounted at no known place.
    #[must_use]
    pub fn without_path(self) -> Self {
        Self { path: None, ..self }
    }

    /// Whether the file at the namespace's path is still this namespace. True when no path is known.
    pub fn is_mounted(&self) -> bool {
        self.path.as_ref().is_none_or(|path| std::fs::metadata(path).is_ok_and(|it| it.ino() == self.inode))
    }

    /// Moves the calling thread into the namespace until the guard is dropped.
    ///
    /// # Errors
    /// What setns(2) reports; `ResourceBusy` when the thread is inside a pod's namespace already.
    pub fn enter(&self) -> io::Result<NetnsGuard> {
        let home = home()?;
        if AWAY.get() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if !self.is_home {
            setns(&self.fd, CloneFlags::CLONE_NEWNET)?;
        }
        AWAY.set(true);
        Ok(NetnsGuard { home: (!self.is_home).then_some(home), not_send: PhantomData })
    }

    fn checked(fd: OwnedFd, path: Option<PathBuf>) -> io::Result<Self> {
        let inode = inode_of(fd.as_fd())?;
        if inode == inode_of(home()?.as_fd())? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, OwnNamespace));
        }
        let this = Self { path, inode, cookie: None, fd, is_home: false };
        let cookie = in_netns(&this, NetnsCookie::here)?;
        Ok(Self { cookie, ..this })
    }
}

impl AsFd for PodNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for NetnsGuard {
    fn drop(&mut self) {
        if self.home.is_some_and(|home| setns(home, CloneFlags::CLONE_NEWNET).is_err()) {
            std::process::abort();
        }
        AWAY.set(false);
    }
}

/// Runs `work` inside the namespace on the calling thread.
///
/// # Errors
/// When the namespace cannot be entered, or what `work` reports.
pub fn in_netns<T>(netns: &PodNetns, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _inside = netns.enter()?;
    work()
}

/// A node's pod cannot live in the daemon's own namespace: capture there would catch the whole node.
#[derive(Debug, thiserror::Error)]
#[error("the namespace is the daemon's own")]
struct OwnNamespace;

/// The namespace that this process was started in.
fn home() -> io::Result<&'static OwnedFd> {
    if let Some(home) = HOME.get() {
        return Ok(home);
    }
    // Nobody can be away yet: entering anywhere begins with this call.
    let fd = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
    Ok(HOME.get_or_init(|| fd))
}

fn inode_of(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd)?.st_ino)
}

static HOME: OnceLock<OwnedFd> = OnceLock::new();

thread_local! {
    /// Whether this thread is inside a pod's namespace.
    static AWAY: Cell<bool> = const { Cell::new(false) };
}
