//! A network namespace with a name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::LabError;
use crate::program::run;

/// A network namespace, mounted at `/run/netns/NAME`.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Opens a namespace that is mounted.
    ///
    /// # Errors
    /// When it is not.
    pub fn open(name: impl Into<String>) -> Result<Self, LabError> {
        let name = name.into();
        let path = path_of(&name);
        let file = File::open(&path).map_err(LabError::file(path))?;
        Ok(Self { name, file })
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Does `work` inside the namespace, on a thread of its own. Sockets made there stay in the namespace wherever
    /// they are used.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what `work` reports.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let inside = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Starts a process in the namespace, in the mount namespace of the caller.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.within(|| command.spawn())
    }

    /// Starts `command` of the shell in the namespace, with `/etc/netns/NAME` over `/etc`.
    pub fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("ip");
        shell.args(["netns", "exec", &self.name, "sh", "-c", command]);
        shell
    }

    /// Runs lines of `ip -batch` in the namespace.
    pub(crate) fn ip(&self, lines: &[String]) -> Result<(), LabError> {
        ip_batch(&["-n", &self.name], lines)
    }

    /// [`Self::ip`], of which lines may fail.
    pub(crate) fn ip_as_far_as_possible(&self, lines: &[String]) {
        let _some_failed = ip_batch(&["-n", &self.name, "-force"], lines);
    }

    /// Sets kernel parameters: paths under `/proc/sys`.
    pub(crate) fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        let set = || {
            for (key, value) in settings {
                std::fs::write(Path::new("/proc/sys").join(key), value)?;
            }
            Ok(())
        };
        self.within(set).map_err(LabError::file(settings.first().map_or("", |it| it.0)))
    }
}

/// Makes namespaces, with their loopback interfaces up.
pub(crate) fn create(names: &[String]) -> Result<(), LabError> {
    ip_batch(&[], &names.iter().map(|name| format!("netns add {name}")).collect::<Vec<_>>())
}

/// Takes a namespace's name away; it ends with its last process and socket.
pub(crate) fn delete(name: &str) {
    let path = path_of(name);
    // Both fail where somebody else has removed it, which is what is wanted.
    let _unmounted = nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH);
    let _removed = std::fs::remove_file(&path);
    let _removed = std::fs::remove_dir_all(etc_of(name));
}

/// Files that stand over `/etc` for the shell's commands in a namespace.
pub(crate) fn write_etc(name: &str, file: &str, text: &str) -> Result<(), LabError> {
    let folder = etc_of(name);
    std::fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
    let path = folder.join(file);
    std::fs::write(&path, text).map_err(LabError::file(path))
}

/// Where those files are.
pub(crate) fn etc_of(name: &str) -> PathBuf {
    Path::new(ETC).join(name)
}

fn ip_batch(arguments: &[&str], lines: &[String]) -> Result<(), LabError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    command.args(arguments).args(["-batch", "-"]);
    run(&mut command, Some(&lines.join("\n"))).map(drop)
}

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Where `ip netns` mounts namespaces.
pub(crate) const FOLDER: &str = "/run/netns";

/// Where `ip netns exec` looks for files to put over `/etc`.
const ETC: &str = "/etc/netns";
