//! The demo, as somebody runs it who has just come.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::LabError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn it_tells_its_story_stays_up_and_leaves_nothing_when_it_is_interrupted() -> Result<(), LabError> {
    let mut demo = xtask(PROGRAM);
    demo.args(["demo", "--debug", "--keep", "--no-install"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn()?;
    let pid = demo.id();
    let mut stdout = BufReader::new(demo.stdout.take().expect("its output is a pipe"));
    let mut told = String::new();
    while !told.contains("stays up until Ctrl-C") {
        assert!(stdout.read_line(&mut told)? > 0, "it ended early:\n{told}{}", errors(&mut demo)?);
    }
    for line in [
        // Who called, by which path, known as whom, and how much of it could be read on the wire.
        ["shop/frontend", "shop/catalog", "hbone", "cluster.local/ns/shop/sa/frontend", "0"],
        ["shop/frontend", "shop/cart", "node-local", "cluster.local/ns/shop/sa/frontend", "0"],
        ["shop/frontend", "bank/vault", "hbone", "cluster.local/ns/shop/sa/frontend", "0"],
        ["legacy/batch", "shop/catalog", "passthrough", "-", "2"],
        ["shop/frontend", "catalog A", "10.96.0.12", "the daemon", ""],
        ["shop/cart", "example.test A", "172.30.0.1", "the cluster's DNS service", ""],
    ] {
        let is_it =
            |told: &str| line.iter().all(|part| told.contains(part)) && told.trim_end().ends_with(line[4]);
        assert!(told.lines().any(is_it), "{line:?} in:\n{told}");
    }
    assert!(!leftovers(pid)?.is_empty(), "its namespaces are there");
    let demo_pid = Pid::from_raw(pid.try_into().expect("a process id"));
    kill(demo_pid, Signal::SIGINT).map_err(std::io::Error::from)?;
    stdout.read_to_string(&mut told)?;
    let complaints = errors(&mut demo)?;
    assert_eq!((demo.wait()?.code(), complaints.trim()), (Some(130), "cleaning up"));
    assert_eq!(leftovers(pid)?, [""; 0]);
    Ok(())
}

#[test]
fn what_is_missing_is_named_with_the_line_that_installs_it() -> Result<(), LabError> {
    // Nothing is found in an empty folder, but for what is where only root looks.
    let output = xtask(PROGRAM).env("PATH", "/nowhere").args(["demo", "--no-install"]).output()?;
    let said = stderr(&output);
    assert!(!output.status.success());
    assert!(
        said.contains("curl, dig") && said.contains("apt-get install -y --no-install-recommends"),
        "{said}"
    );
    assert!(!said.contains("prometheus"), "the demo needs none: {said}");
    Ok(())
}

#[test]
fn whoever_is_not_root_is_told_the_command_to_use() -> Result<(), LabError> {
    // Somewhere that anybody may run it from.
    let folder = tempfile::tempdir()?;
    let (program, anybody) = (folder.path().join("xtask"), fs::Permissions::from_mode(0o755));
    fs::set_permissions(folder.path(), anybody)?;
    fs::copy(PROGRAM, &program)?;
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    let output = nobody.args(["demo", "--no-install"]).current_dir("/").output()?;
    let said = stderr(&output);
    assert!(!output.status.success());
    assert!(said.contains("sudo env \"PATH=$PATH\" cargo xtask demo"), "{said}");
    Ok(())
}

fn xtask(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))
        .stdin(Stdio::null());
    command
}

fn errors(child: &mut std::process::Child) -> Result<String, LabError> {
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut text)?;
    }
    Ok(text)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Namespaces and folders of labs that a process has made.
fn leftovers(pid: u32) -> Result<Vec<String>, LabError> {
    let prefix = format!("lab{pid}-");
    let mut found = Vec::new();
    for folder in ["/run/netns", "/run/ambient-labs"] {
        let entries =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names = entries.collect::<Result<Vec<_>, LabError>>()?;
        found.extend(names.into_iter().filter(|name| name.starts_with(&prefix)));
    }
    Ok(found)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");
