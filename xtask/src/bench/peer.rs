//! Another mesh, by a command of the caller's.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Lab, Pod};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::XtaskError;

/// A running peer. Ended by SIGTERM when dropped.
pub(super) struct Peer {
    child: Child,
    pids: Vec<u32>,
}

impl Peer {
    /// Runs the command and waits until it says `ready`.
    pub(super) fn start(
        command: &str,
        lab: &Lab,
        pods: &[(&str, Pod)],
        scale: bool,
    ) -> Result<Self, XtaskError> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        shell.env("BENCH_MANIFESTS", lab.manifests());
        if scale {
            shell.env("BENCH_SCALE", "1");
        }
        for (number, node) in lab.nodes().iter().enumerate() {
            shell.env(format!("BENCH_NODE{}_NETNS", number + 1), node.netns().name());
            shell.env(format!("BENCH_NODE{}_IP", number + 1), node.ip().to_string());
        }
        for (role, pod) in pods {
            shell.envs(variables(role, pod));
        }
        let mut child = shell.spawn()?;
        let stdout = child.stdout.take().expect("the peer's output is a pipe");
        let mut peer = Self { child, pids: Vec::new() };
        peer.wait(command, &follow(stdout))?;
        Ok(peer)
    }

    /// The processes that it has named.
    pub(super) fn pids(&self) -> &[u32] {
        &self.pids
    }

    fn wait(&mut self, command: &str, lines: &Receiver<String>) -> Result<(), XtaskError> {
        let unready =
            |problem: &str| XtaskError::Unreadable { what: command.to_owned(), problem: problem.to_owned() };
        let end = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.trim() == "ready" => return Ok(()),
                Ok(line) => self
                    .pids
                    .extend(line.trim().strip_prefix("pid ").and_then(|it| it.trim().parse::<u32>().ok())),
                Err(RecvTimeoutError::Timeout) => return Err(unready("it did not say that it is ready")),
                Err(RecvTimeoutError::Disconnected) => return Err(unready("it ended before it was ready")),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Ok(group) = i32::try_from(self.child.id()).map(Pid::from_raw) else { return };
        let _already_gone = killpg(group, Signal::SIGTERM);
        let end = Instant::now() + GRACE;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(STEP);
        }
        let _already_gone = killpg(group, Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

fn variables(role: &str, pod: &Pod) -> Vec<(String, String)> {
    let facts = [
        ("ACCOUNT", pod.account().to_owned()),
        ("IP", pod.ip().to_string()),
        ("NAME", pod.name().to_owned()),
        ("NAMESPACE", pod.namespace().to_owned()),
        ("NETNS", pod.netns().name().to_owned()),
        ("NODE", pod.node().name().to_owned()),
        ("UID", pod.uid().to_owned()),
    ];
    facts.into_iter().map(|(fact, value)| (format!("BENCH_POD_{role}_{fact}"), value)).collect()
}

/// Reads lines as they come, for as long as they come: a peer that nobody listens to would stand still.
fn follow(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _nobody_waits = sender.send(line);
        }
    });
    lines
}

/// How long a peer may take to be ready: it may have 100,000 workloads to take in.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(10);

const STEP: Duration = Duration::from_millis(20);
