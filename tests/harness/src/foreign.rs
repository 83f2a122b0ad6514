//! A command of the caller's that takes part in a lab.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{LabError, Pod, wait_for};

/// A command of the caller's that runs beside a lab, and has said that it is ready. SIGTERM to its process group ends it
/// when it is dropped, SIGKILL where that does not.
///
/// It prints a line `pid N` for each of its processes that is of interest, then a line `ready`. What it is to do after
/// that it may be told by lines on its standard input.
#[derive(Debug)]
pub struct Foreign {
    child: Child,
    pids: Vec<u32>,
    told: ChildStdin,
    lines: Receiver<String>,
}

impl Foreign {
    /// Has the shell run the command, with variables of the environment that say what it is to do.
    ///
    /// # Errors
    /// When it ends, or is not ready within `patience`.
    pub fn start(
        command: &str,
        variables: &[(String, String)],
        patience: Duration,
    ) -> Result<Self, LabError> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.envs(variables.iter().cloned()).spawn()?;
        let lines = follow(child.stdout.take().expect("its output is a pipe"));
        let told = child.stdin.take().expect("its input is a pipe");
        let mut foreign = Self { child, pids: Vec::new(), told, lines };
        foreign.wait(command, patience)?;
        Ok(foreign)
    }

    /// Tells it a word, and waits until it says `ready` again.
    ///
    /// # Errors
    /// When it has ended, or is not ready within `patience`.
    pub fn tell(&mut self, word: &str, patience: Duration) -> Result<(), LabError> {
        writeln!(self.told, "{word}")?;
        self.wait(word, patience)
    }

    /// What tells it of a pod: `PREFIX_IP` and so on, by what it is to be called.
    pub fn variables(prefix: &str, pod: &Pod) -> Vec<(String, String)> {
        let ips: Vec<_> = pod.ips().iter().map(ToString::to_string).collect();
        let facts = [
            ("ACCOUNT", pod.account().to_owned()),
            ("IP", ips.join(",")),
            ("NAME", pod.name().to_owned()),
            ("NAMESPACE", pod.namespace().to_owned()),
            ("NETNS", pod.netns().name().to_owned()),
            ("NODE", pod.node().name().to_owned()),
            ("UID", pod.uid().to_owned()),
        ];
        facts.into_iter().map(|(fact, value)| (format!("{prefix}_{fact}"), value)).collect()
    }

    /// The processes that it has named.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Asks it to end by SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn terminate(&mut self) -> Result<(), LabError> {
        let group = self.group().ok_or(std::io::ErrorKind::NotFound);
        let _already_gone = killpg(group.map_err(std::io::Error::from)?, Signal::SIGTERM);
        let child = &mut self.child;
        wait_for("a command of the caller's did not end", GRACE, || Ok(child.try_wait()?)).map(drop)
    }

    fn wait(&mut self, command: &str, patience: Duration) -> Result<(), LabError> {
        let what = || command.to_owned();
        let end = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.trim() == "ready" => return Ok(()),
                Ok(line) => self.pids.extend(pid(&line)),
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("{command} did not say that it is ready");
                    return Err(LabError::Timeout { what, waited: patience });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let problem = "it ended before it was ready".to_owned();
                    return Err(LabError::Unreadable { what: what(), problem });
                }
            }
        }
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().map(Pid::from_raw)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _too_slow = self.terminate();
        if let Some(group) = self.group() {
            let _already_gone = killpg(group, Signal::SIGKILL);
        }
        let _reaped = self.child.wait();
    }
}

fn pid(line: &str) -> Option<u32> {
    line.trim().strip_prefix("pid ")?.trim().parse().ok()
}

/// Reads lines as they come, for as long as they come: a command that nobody listens to would stand still.
fn follow(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _nobody_waits = sender.send(line);
        }
    });
    lines
}

/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_ready_when_it_says_so_and_ends_when_it_is_dropped() {
        let variables = [("NUMBER".to_owned(), "7".to_owned())];
        let foreign =
            Foreign::start("echo hello; echo pid $NUMBER; echo ready; sleep 60", &variables, GRACE).unwrap();
        assert_eq!(foreign.pids(), [7]);
        let path = format!("/proc/{}", foreign.child.id());
        drop(foreign);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_command_is_told_words_and_says_when_it_has_done_them() {
        let mut foreign =
            Foreign::start("echo ready; while read word; do echo pid 4; echo ready; done", &[], GRACE)
                .unwrap();
        foreign.tell("upgrade", GRACE).unwrap();
        assert_eq!(foreign.pids(), [4]);
    }

    #[test]
    fn a_command_that_ends_is_not_ready() {
        assert!(Foreign::start("echo pid 1", &[], GRACE).is_err());
    }
}
