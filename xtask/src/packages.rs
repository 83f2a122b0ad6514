//! Programs of the system that the tasks need, and installing those that are missing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use clap::Args;
use nix::unistd::Uid;

use crate::cargo;
use crate::error::XtaskError;

/// What a task may do to the machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct Setup {
    /// Installs nothing: says what is missing, with the line to run, and ends.
    #[arg(long)]
    no_install: bool,
}

/// A program, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Setup {
    /// Makes sure that the caller is root, and that what labs need is there and what the task needs beside; `task` is
    /// for the message.
    pub(crate) fn prepare(&self, task: &str, more: &[Program]) -> Result<(), XtaskError> {
        // Said first: whoever has to come back as root is spared what that takes care of.
        root_only(task)?;
        self.install(&[LAB, more].concat())
    }

    /// Whether what is missing may be installed.
    pub(crate) fn may_install(&self) -> bool {
        !self.no_install
    }

    /// Makes sure that what building needs is there, and what the task needs beside.
    pub(crate) fn install(&self, more: &[Program]) -> Result<(), XtaskError> {
        let needed = BUILD.iter().chain(more);
        let missing: Vec<_> = needed.filter(|program| !is_there(program.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let packages: BTreeSet<_> = missing.iter().map(|it| it.package).collect();
        let packages: Vec<_> = packages.into_iter().collect();
        let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        let names: Vec<_> = missing.iter().map(|it| it.name).collect();
        let missing = names.join(", ");
        if self.no_install || !is_there("apt-get") || !Uid::effective().is_root() {
            return Err(XtaskError::Packages { missing, line });
        }
        eprintln!("missing programs: {missing}\ninstalling: {line}");
        install(&packages)
    }
}

fn install(packages: &[&str]) -> Result<(), XtaskError> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let _no_service_starts = Services::forbid();
    let install = || cargo::run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages));
    // A machine that never fetched the lists, or long ago, knows the packages only after an update.
    install().or_else(|_| {
        cargo::run(apt().arg("update"))?;
        install()
    })
}

fn root_only(task: &str) -> Result<(), XtaskError> {
    if Uid::effective().is_root() { Ok(()) } else { Err(XtaskError::NotRoot(task.to_owned())) }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_owned()));
    folders.iter().any(|folder| folder.join(program).is_file())
}

/// Keeps what is installed from being started as a service: only the programs are wanted.
struct Services {
    /// Ours to remove.
    policy: Option<&'static Path>,
}

impl Services {
    /// By Debian's `policy-rc.d`, unless the machine has a policy of its own.
    fn forbid() -> Self {
        let path = Path::new("/usr/sbin/policy-rc.d");
        let policy = File::options().write(true).create_new(true).mode(0o755).open(path);
        let written = policy.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"));
        Self { policy: written.is_ok().then_some(path) }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            let _already_gone = fs::remove_file(policy);
        }
    }
}

/// What building needs beside the Rust toolchain.
const BUILD: &[Program] = &[
    Program { name: "c++", package: "g++" },
    Program { name: "cc", package: "gcc" },
    Program { name: "make", package: "make" },
];

/// What labs run, and what speaks in them.
const LAB: &[Program] = &[
    Program { name: "curl", package: "curl" },
    Program { name: "dig", package: "bind9-dnsutils" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "nft", package: "nftables" },
    Program { name: "socat", package: "socat" },
    Program { name: "sysctl", package: "procps" },
    Program { name: "tcpdump", package: "tcpdump" },
];
