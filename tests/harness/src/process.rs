//! A process that does not outlive its handle.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{LabError, wait_for};

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

/// What a process that has ended left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whether it reported success.
    pub success: bool,
    /// Its exit code, if no signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Process {
    /// Takes charge of a child; `name` is for messages.
    pub(crate) fn new(name: impl Into<String>, child: Child) -> Self {
        Self { name: name.into(), child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), signal).map_err(|errno| LabError::Io(errno.into()))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        let Self { name, child } = self;
        wait_for(&format!("{name} did not end"), patience, || Ok(child.try_wait()?))
    }

    /// Asks it to end by SIGTERM and waits for it.
    ///
    /// # Errors
    /// When it has not ended within `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        self.wait(patience)
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn kill(&mut self) -> Result<(), LabError> {
        let _already_ended = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end, however long that takes, and takes what it printed.
    ///
    /// # Errors
    /// What reading from it reports.
    pub fn finish(mut self) -> Result<Finished, LabError> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let complaints =
            std::thread::spawn(move || stderr.map_or_else(|| Ok(String::new()), io::read_to_string));
        let stdout = stdout.map_or_else(|| Ok(String::new()), io::read_to_string)?;
        let status = self.child.wait()?;
        let stderr = complaints.join().expect("reading does not panic")?;
        Ok(Finished { success: status.success(), code: status.code(), stdout, stderr })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
