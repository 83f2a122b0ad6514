//! Programs: those of the system, and ours.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::LabError;

/// Runs a command to its end, gives it `input`, and hands out what it printed.
///
/// # Errors
/// When it cannot be started or reports a failure; what it printed is in the error.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Result<String, LabError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(LabError::file(command.get_program()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let command = describe(command);
    Err(LabError::Program { command, status: output.status.to_string(), output: format!("{stderr}{stdout}") })
}

/// A command of ours that runs as a daemon: in a group of its own, so that Ctrl-C ends the test and not what it looks
/// at, and without the caller's variables, which would win over its configuration.
pub(crate) fn daemon_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().process_group(0);
    let kept = ["PATH", "RUST_BACKTRACE", "RUST_LOG"];
    command.envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// A [`daemon_command`] with no more than these capabilities: what such a daemon is promised to need.
pub(crate) fn confined_command(program: &Path, capabilities: &str) -> Command {
    let mut command = daemon_command(Path::new("setpriv"));
    command.args(["--bounding-set", &format!("-all,{capabilities}"), "--"]).arg(program);
    command
}

/// What a node's daemon needs.
pub(crate) const OF_NODE: &str = "+net_admin,+sys_admin,+net_raw";

/// What a daemon inside of its pod needs.
pub(crate) const OF_POD: &str = "+net_admin,+net_raw";

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The `ztunnel` program: `$ZTUNNEL_PROGRAM`, else the one that was built next to the running program.
///
/// # Errors
/// When there is none.
pub fn ztunnel() -> Result<PathBuf, LabError> {
    if let Some(path) = std::env::var_os("ZTUNNEL_PROGRAM").map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(LabError::NoProgram(path)) };
    }
    let running = std::env::current_exe()?;
    // A test runs in target/debug/deps, any other program in target/debug.
    let folders = running.ancestors().skip(1).take(2);
    let mut places = folders.map(|folder| folder.join("ztunnel"));
    places.find(|path| path.is_file()).ok_or_else(|| LabError::NoProgram("ztunnel".into()))
}
