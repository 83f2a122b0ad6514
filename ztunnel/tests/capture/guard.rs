//! Entering a namespace and coming back.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, setuid};
use ztunnel::netns::{PodNetns, in_netns};

use crate::lab::{Lab, Stack};

#[test]
fn a_thread_is_back_home_after_work_even_when_it_panics() {
    let lab = Lab::new(Stack::V4);
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let home = here();
    let away = in_netns(&lab.pod, || Ok(here())).unwrap();
    assert_ne!(away, home);
    assert_eq!(here(), home);
    std::panic::catch_unwind(|| in_netns(&lab.pod, || -> std::io::Result<()> { panic!("inside") }))
        .unwrap_err();
    assert_eq!(here(), home);
}

#[test]
fn nobody_enters_twice() {
    let (one, other) = (Lab::new(Stack::V4), Lab::new(Stack::V4));
    let inside = one.pod.enter().unwrap();
    assert_eq!(other.pod.enter().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    drop(inside);
    other.pod.enter().unwrap();
}

#[test]
fn the_daemons_own_namespace_is_no_pods() {
    let refused = PodNetns::open("/proc/self/ns/net".as_ref()).unwrap_err();
    assert_eq!(refused.to_string(), "the namespace is the daemon's own");
}

#[test]
fn a_daemon_inside_of_its_pod_goes_nowhere() {
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let own = PodNetns::own().unwrap();
    let inside = own.enter().unwrap();
    assert_eq!(own.enter().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    drop(inside);
    assert_eq!(in_netns(&own, || Ok(here())).unwrap(), here());
}

#[test]
fn a_thread_that_cannot_come_back_ends_the_process() {
    const NAMESPACE: &str = "CAPTURE_TEST_STRANDED_IN";
    if let Some(path) = std::env::var_os(NAMESPACE) {
        let netns = PodNetns::open(path.as_ref()).unwrap();
        let inside = netns.enter().unwrap();
        // Without privilege there is no way back.
        setuid(Uid::from_raw(65534)).unwrap();
        drop(inside);
        return;
    }
    let lab = Lab::new(Stack::V4);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guard::a_thread_that_cannot_come_back_ends_the_process"])
        .env(NAMESPACE, lab.pod_path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert_eq!(child.unwrap().signal(), Some(nix::libc::SIGABRT));
}
