//! What labs leave on the machine, and removing it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns;

/// Names what a lab makes: the process and a number, so that labs side by side do not meet and leftovers are known.
#[derive(Clone, Debug)]
pub(crate) struct Tag(String);

impl Tag {
    pub(crate) fn unique() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A namespace of the lab.
    pub(crate) fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }

    /// The lab's files.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.0)
    }

    /// Removes all that the lab has made, as far as it is still there.
    pub(crate) fn clear(&self) {
        clear(&|name| belongs(name, &self.0));
    }
}

/// Removes what labs of processes that are gone have left: processes, namespaces, mounts, files. Every lab does it
/// before its first namespace. With `own`, also everything of this process, for programs that end on a signal.
pub fn sweep(own: bool) {
    let this = std::process::id();
    clear(&|name| match owner(name) {
        Some(pid) if pid == this => own,
        Some(pid) => !Path::new("/proc").join(pid.to_string()).exists(),
        None => false,
    });
}

/// Sweeps what others left, once in a process.
pub(crate) fn sweep_once() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| sweep(false));
}

fn clear(condemned: &dyn Fn(&str) -> bool) {
    for name in names(netns::FOLDER).into_iter().filter(|name| condemned(name)) {
        kill_all_in(&name);
        netns::delete(&name);
    }
    for name in names(FOLDER).into_iter().filter(|name| condemned(name)) {
        let folder = Path::new(FOLDER).join(name);
        unmount_below(&folder);
        // Another process may sweep the same; what is gone already is well.
        let _removed = fs::remove_dir_all(folder);
    }
}

fn kill_all_in(name: &str) {
    let Ok(pids) = std::process::Command::new("ip").args(["netns", "pids", name]).output() else { return };
    for pid in String::from_utf8_lossy(&pids.stdout).lines().filter_map(|line| line.trim().parse().ok()) {
        let _already_gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for path in paths.filter(|path| path.starts_with(folder)) {
        let _already_gone = umount2(path, MntFlags::MNT_DETACH);
    }
}

fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Whether `name` is the tag itself or one of its namespaces: tag 1-1 does not own what is of tag 1-10.
fn belongs(name: &str, tag: &str) -> bool {
    name.strip_prefix(tag).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The process whose lab made what has this name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Begins the name of all that labs make.
const PREFIX: &str = "lab";

/// Holds a folder for each lab.
const FOLDER: &str = "/run/ambient-labs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        assert_eq!(owner("lab17-3-node1"), Some(17));
        assert_eq!(owner("laboratory"), None);
        assert!(belongs("lab17-3-node1", "lab17-3") && belongs("lab17-3", "lab17-3"));
        assert!(!belongs("lab17-30-node1", "lab17-3"));
    }
}
