//! `cargo xtask test`: every suite, or one.

mod output;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use clap::Args;

use crate::cargo::{Metadata, Package, Target, cargo, words};
use crate::error::XtaskError;
use crate::kubernetes;
use crate::packages::{Program, Setup};
use crate::table::Table;
use output::{Outcome, Reader};

/// Runs unit, property and namespace suites; ends with the line "N passed, N failed".
///
/// The suite `interop` also meets another implementation of HBONE, if told by --peer which: a command that the shell runs
/// once nodes and pods stand, and that finds in its environment INTEROP_NODE_NAME, INTEROP_NODE_NETNS and INTEROP_NODE_IP
/// (the node that it serves); INTEROP_PODS (how many pods it captures), and of each, from INTEROP_POD_1 on: .._NAME,
/// .._NAMESPACE, .._ACCOUNT, .._UID, .._IP, .._NETNS, .._NODE; INTEROP_MANIFESTS, the folder of the mesh's manifests;
/// INTEROP_CA_ADDRESS, INTEROP_CA_NAME, INTEROP_CA_ROOTS and INTEROP_CA_TOKEN, where it gets certificates by Istio's
/// certificate service, the name and roots to recognise it by, and the file of the bearer token to present. Namespaces are
/// mounted in /run/netns. It prints the line `ready` when the pods are captured. Told `upgrade` on its standard input, it
/// has another daemon take over, the one before drain, and says `ready` again. SIGTERM to its process group ends it.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// The suite to run: `unit`, or the name of a test program. Default: all.
    suite: Option<String>,
    /// Runs only tests whose name has this in it.
    filter: Option<String>,
    /// Has the suite `interop` meet another implementation: a command, see above.
    #[arg(long, value_name = "COMMAND", requires = "suite")]
    peer: Option<String>,
    /// Keeps what the peer says as the transcripts in tests/transcripts, which are replayed without one. PRODUCT says
    /// what it is.
    #[arg(long, value_name = "PRODUCT", requires = "peer")]
    record: Option<String>,
    /// Prints the names of the suites.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    setup: Setup,
}

/// A program of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suite {
    name: String,
    /// What it needs turned on: `package/feature`.
    features: Vec<String>,
}

impl TestArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        let suites = suites(&Metadata::of_workspace()?.packages);
        if self.list {
            println!("{UNIT}");
            suites.iter().for_each(|suite| println!("{}", suite.name));
            return Ok(());
        }
        let chosen = match self.suite.as_deref() {
            None => suites,
            Some(UNIT) => Vec::new(),
            Some(name) => vec![find(&suites, name)?],
        };
        self.setup.prepare("test", PROGRAMS)?;
        let mut outcome = Outcome::default();
        if matches!(self.suite.as_deref(), None | Some(UNIT)) {
            for what in [&["--lib", "--bins"][..], &["--doc"]] {
                outcome.add(self.test(cargo().args(["test", "--workspace", "--no-fail-fast"]).args(what))?);
            }
        }
        if !chosen.is_empty() {
            // Suites start the program: nothing else makes cargo build it for a suite of another package.
            crate::cargo::run(cargo().args(["build", "--workspace", "--bins"]))?;
        }
        for suite in &chosen {
            let mut command = cargo();
            if WITH_CONTROL_PLANE.contains(&&*suite.name) {
                command.env("KUBERNETES_PROGRAM", kubernetes::build(&self.setup)?);
            }
            // All of the workspace, so that dependencies are built with the same features for every suite: once.
            command.args(["test", "--workspace", "--test", &suite.name, "--no-fail-fast"]);
            if !suite.features.is_empty() {
                command.args(["--features", &suite.features.join(",")]);
            }
            outcome.add(self.test(&mut command)?);
        }
        summarise(&outcome)
    }

    /// Runs cargo's tests with their output on the terminal, and counts.
    fn test(&self, command: &mut Command) -> Result<Outcome, XtaskError> {
        command.arg("--").args(&self.filter);
        match &self.peer {
            Some(peer) => _ = command.env("INTEROP_PEER", peer),
            None => _ = command.args(["--skip", WITH_PEER]),
        }
        if let Some(product) = &self.record {
            command.env("INTEROP_RECORD", product);
        }
        println!("$ {}", words(command));
        // Which program's tests follow is told on standard error, in colours only to a terminal.
        command.env("CARGO_TERM_COLOR", "never");
        let (reader, writer) = std::io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null());
        let mut child = command.spawn().map_err(XtaskError::file("cargo"))?;
        // The command holds the writing end: while it does, there is no end to read.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut outcome = Reader::default();
        for line in BufReader::new(reader).lines() {
            let line = line?;
            println!("{line}");
            outcome.line(&line);
        }
        Ok(outcome.end(child.wait()?.success(), &words(command)))
    }
}

/// Test programs of the workspace.
fn suites(packages: &[Package]) -> Vec<Suite> {
    let of = |package: &Package| {
        let tests = package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "test"));
        let feature = |feature: &String| format!("{}/{feature}", package.name);
        let suite = |target: &Target| Suite {
            name: target.name.clone(),
            features: target.features.iter().map(feature).collect(),
        };
        tests.map(suite).collect::<Vec<_>>()
    };
    packages.iter().flat_map(of).collect()
}

fn find(suites: &[Suite], name: &str) -> Result<Suite, XtaskError> {
    let found = suites.iter().find(|suite| suite.name == name).cloned();
    found.ok_or_else(|| {
        let known: Vec<_> = std::iter::once(UNIT).chain(suites.iter().map(|it| it.name.as_str())).collect();
        XtaskError::UnknownSuite { name: name.to_owned(), known: known.join(", ") }
    })
}

fn summarise(outcome: &Outcome) -> Result<(), XtaskError> {
    let mut table = Table::new(&["SUITE", "PASSED", "FAILED", "SECONDS"]);
    for program in &outcome.programs {
        let counts = [program.passed.to_string(), program.failed.to_string(), program.seconds.clone()];
        table.row(std::iter::once(program.name.clone()).chain(counts));
    }
    println!("\n{}", table.plain());
    for failure in &outcome.failures {
        println!("failed: {failure}");
    }
    let (passed, failed) = outcome.counts();
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(XtaskError::Tests(failed)) }
}

/// What suites run beside what labs do.
const PROGRAMS: &[Program] = &[
    Program { name: "conntrack", package: "conntrack" },
    Program { name: "faketime", package: "faketime" },
    Program { name: "iperf3", package: "iperf3" },
    Program { name: "prometheus", package: "prometheus" },
    Program { name: "promtool", package: "prometheus" },
    Program { name: "setpriv", package: "util-linux" },
    Program { name: "wrk", package: "wrk" },
];

/// Suites against a real API server.
const WITH_CONTROL_PLANE: &[&str] = &["kube"];

/// Tests that need a peer.
const WITH_PEER: &str = "with_peer::";

/// The suite of all tests beside the code.
const UNIT: &str = "unit";
