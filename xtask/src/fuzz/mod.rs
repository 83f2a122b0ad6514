//! `cargo xtask fuzz`: every parser against bytes that no one would think of.

mod output;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use clap::Args;

use crate::cargo::{Metadata, Package, cargo, root, run, target_folder, words};
use crate::error::XtaskError;
use crate::packages::Setup;
use crate::table::Table;
use output::Outcome;

/// Runs the fuzz targets, each for some seconds, from the seeds in `tests/fuzz/seeds` and what earlier runs found.
#[derive(Clone, Debug, Args)]
pub(crate) struct FuzzArgs {
    /// The target to run. Default: all, as many at once as there are processors.
    target: Option<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Runs the target once, on this input.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Prints the names of the targets.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    setup: Setup,
}

impl FuzzArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        let all = targets(&Metadata::of_workspace()?.packages);
        if self.list {
            all.iter().for_each(|target| println!("{target}"));
            return Ok(());
        }
        let chosen = match &self.target {
            None => all,
            Some(name) if all.contains(name) => vec![name.clone()],
            Some(name) => {
                return Err(XtaskError::UnknownTarget { name: name.clone(), known: all.join(", ") });
            }
        };
        self.setup.install(&[])?;
        build(&chosen)?;
        match (&self.input, chosen.as_slice()) {
            (Some(input), [target]) => run(program(target).arg(input)),
            _ => summarise(&self.run_all(chosen)?),
        }
    }

    fn run_all(&self, targets: Vec<String>) -> Result<Vec<Outcome>, XtaskError> {
        let waiting = Mutex::new(VecDeque::from(targets));
        let outcomes = Mutex::new(Vec::new());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = || {
            while let Some(target) = next() {
                let outcome = self.run_one(&target);
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        outcomes.sort_by(|one, other| one.target.cmp(&other.target));
        Ok(outcomes)
    }

    fn run_one(&self, target: &str) -> Result<Outcome, XtaskError> {
        let folders =
            ["corpus", "artifacts"].map(|what| target_folder().join("fuzz").join(what).join(target));
        for folder in &folders {
            std::fs::create_dir_all(folder).map_err(XtaskError::file(folder))?;
        }
        let [corpus, artifacts] = folders;
        let mut command = program(target);
        // New inputs go to the first folder; seeds are only read.
        command.arg(corpus).arg(root().join(SEEDS).join(target));
        command.arg(format!("-max_total_time={}", self.seconds));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.args(LIMITS);
        let output =
            command.stdin(Stdio::null()).output().map_err(XtaskError::file(command.get_program()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let outcome = Outcome::read(target, &text, output.status.success());
        println!("{outcome}");
        if !outcome.success {
            println!("$ {}\n{text}", words(&command));
        }
        Ok(outcome)
    }
}

/// Names of the targets.
fn targets(packages: &[Package]) -> Vec<String> {
    let programs = packages.iter().filter(|package| package.name == PACKAGE).flat_map(|it| &it.targets);
    programs.filter_map(|target| target.name.strip_prefix(PREFIX)).map(str::to_owned).collect()
}

/// Builds what is to run. Only crates of the workspace are built anew for it, with coverage: what they depend on is shared
/// with all other builds.
fn build(targets: &[String]) -> Result<(), XtaskError> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--features", "fuzz/fuzzing"]);
    // Without any optimisation, a few seconds are over before anything is found.
    command.args(["--config", "profile.dev.opt-level=1"]);
    for target in targets {
        command.args(["--bin", &format!("{PREFIX}{target}")]);
    }
    command.env("RUSTC_WORKSPACE_WRAPPER", root().join(WRAPPER)).env("CARGO_INCREMENTAL", "0");
    run(&mut command)
}

fn program(target: &str) -> Command {
    Command::new(target_folder().join("debug").join(format!("{PREFIX}{target}")))
}

fn summarise(outcomes: &[Outcome]) -> Result<(), XtaskError> {
    let mut table = Table::new(&["TARGET", "RUNS", "COVERED", "OUTCOME"]);
    for outcome in outcomes {
        let verdict = if outcome.success { "ok" } else { "FAILED" };
        let counts = [outcome.runs.to_string(), outcome.covered.to_string()];
        table.row([outcome.target.clone()].into_iter().chain(counts).chain([verdict.to_owned()]));
    }
    println!("\n{}", table.plain());
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.success).collect();
    for outcome in &failed {
        if let Some(input) = &outcome.artifact {
            let input = Path::new(input);
            println!("again: cargo xtask fuzz {} --input {}", outcome.target, input.display());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(XtaskError::Fuzz(failed.len())) }
}

const PACKAGE: &str = "fuzz";
/// What names of the programs begin with, so that `target` can tell them from others.
const PREFIX: &str = "fuzz-";
const SEEDS: &str = "tests/fuzz/seeds";
const WRAPPER: &str = "tests/fuzz/rustc";

/// Bounds of one input: an unoptimised parser that takes longer, or more, is a way to stop the daemon.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"];
