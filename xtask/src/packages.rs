//! Programs of the system that the tasks need, and installing those that are missing.

use std::collections::BTreeSet;
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
    /// Makes sure that the caller is root and that every program is there; `task` is for the message.
    pub(crate) fn prepare(&self, task: &str) -> Result<(), XtaskError> {
        // Said first: whoever has to come back as root is spared what that takes care of.
        root_only(task)?;
        self.install()
    }

    /// Whether what is missing may be installed.
    pub(crate) fn may_install(&self) -> bool {
        !self.no_install
    }

    /// Makes sure that every program is there.
    pub(crate) fn install(&self) -> Result<(), XtaskError> {
        self.install_also(&[])
    }

    /// Makes sure that every program is there, and some that only the task needs.
    pub(crate) fn install_also(&self, more: &[Program]) -> Result<(), XtaskError> {
        let needed = PROGRAMS.iter().chain(more);
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

/// What labs, demo, tests and bench run, and what building needs beside the Rust toolchain.
const PROGRAMS: &[Program] = &[
    Program { name: "c++", package: "g++" },
    Program { name: "cc", package: "gcc" },
    Program { name: "conntrack", package: "conntrack" },
    Program { name: "curl", package: "curl" },
    Program { name: "dig", package: "bind9-dnsutils" },
    Program { name: "faketime", package: "faketime" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "iperf3", package: "iperf3" },
    Program { name: "make", package: "make" },
    Program { name: "nft", package: "nftables" },
    Program { name: "prometheus", package: "prometheus" },
    Program { name: "promtool", package: "prometheus" },
    Program { name: "setpriv", package: "util-linux" },
    Program { name: "socat", package: "socat" },
    Program { name: "sysctl", package: "procps" },
    Program { name: "tcpdump", package: "tcpdump" },
    Program { name: "wrk", package: "wrk" },
];
