//! Enrolment without descriptors. The limit is one of the process: each test runs in a process of its own.

use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use ztunnel::enrol::{PodPhase, client};

use crate::daemon::Daemon;
use crate::enrolment::{by_path, traces};
use crate::lab::{Lab, Stack, dial, listen};

#[test]
fn a_pod_that_there_are_too_few_descriptors_for_is_left_as_it_was_until_there_are_more() {
    if !alone("a_pod_that_there_are_too_few_descriptors_for_is_left_as_it_was_until_there_are_more") {
        return;
    }
    let lab = Lab::new(Stack::Dual);
    let daemon = Daemon::new(&lab);
    let before = traces(&lab);
    let mut refusals = 0;
    // Two for the caller, and then one more with each turn: whatever is opened is what fails once.
    for spare in 2.. {
        let outcome = with_descriptors(spare, || client::add(&daemon.socket(), by_path(&lab), None));
        let Err(refused) = outcome else { break };
        let told = refused.to_string();
        assert!(told.contains("Too many open files"), "with {spare} to spare: {told}");
        assert_eq!(traces(&lab), before, "with {spare} to spare");
        assert_eq!(daemon.records(), 0, "with {spare} to spare");
        assert_eq!(client::list(&daemon.socket()).unwrap(), [], "with {spare} to spare");
        refusals += 1;
    }
    assert!(refusals > 10, "{refusals} refusals");
    drop(daemon.await_captured());
    assert_eq!(client::list(&daemon.socket()).unwrap()[0].phase, PodPhase::Captured);
}

#[test]
fn a_pod_that_a_restarted_daemon_has_too_few_descriptors_for_stays_closed_until_there_are_more() {
    if !alone("a_pod_that_a_restarted_daemon_has_too_few_descriptors_for_stays_closed_until_there_are_more") {
        return;
    }
    let lab = Lab::new(Stack::V4);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    drop(daemon.await_captured());
    let rules = lab.in_pod("nft -a list ruleset");
    let (_server, address) = listen(&lab.peer, lab.peer_ips()[0]);
    let mut failures = 0;
    // Two for the daemon itself, one to read what there was; and then one more with each turn.
    for spare in 3.. {
        daemon.stop();
        let status = with_descriptors(spare, || {
            daemon.start();
            daemon.await_status(|_| true)
        });
        assert_eq!(lab.in_pod("nft -a list ruleset"), rules, "with {spare} to spare");
        if status.phase == PodPhase::Captured {
            break;
        }
        let told = status.problem.unwrap_or_default();
        assert!(told.contains("Too many open files"), "with {spare} to spare: {told}");
        failures += 1;
        assert_eq!(daemon.records(), 1);
        dial(&lab.pod, address).unwrap_err();
        drop(daemon.await_captured());
        assert_eq!(lab.in_pod("nft -a list ruleset"), rules, "with {spare} to spare");
    }
    assert!(failures > 3, "{failures} failures");
}

#[test]
fn a_caller_for_whom_there_is_no_descriptor_waits_without_keeping_the_daemon_busy() {
    if !alone("a_caller_for_whom_there_is_no_descriptor_waits_without_keeping_the_daemon_busy") {
        return;
    }
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let calling = with_descriptors(1, || {
        let (socket, pod) = (daemon.socket(), by_path(&lab));
        let calling = thread::spawn(move || client::add(&socket, pod, None));
        let spent = || getrusage(UsageWho::RUSAGE_SELF).map(|it| it.user_time() + it.system_time()).unwrap();
        let before = spent();
        thread::sleep(Duration::from_millis(500));
        let spent = (spent() - before).num_milliseconds();
        assert!(spent < 100, "{spent} ms in half a second");
        assert!(!calling.is_finished());
        calling
    });
    calling.join().unwrap().unwrap();
    drop(daemon.await_captured());
}

/// Whether this process is there for one test alone; else has one run it.
fn alone(test: &str) -> bool {
    const ALONE: &str = "CAPTURE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", "--nocapture", &format!("descriptors::{test}")]).env(ALONE, "");
    let output = child.output().unwrap();
    let told = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    false
}

/// Does `work` with no more descriptors than there are, and so many.
fn with_descriptors<T>(spare: usize, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(1024), hard).unwrap();
    let mut others: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    others.truncate(others.len() - spare);
    let done = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    done
}
