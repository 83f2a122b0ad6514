//! `cargo xtask instructions`: how many instructions the hot paths take, against what they took.

mod baseline;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use clap::Args;

use crate::cargo::{cargo, root, run, target_folder, words};
use crate::error::XtaskError;
use crate::packages::{Program, Setup};
use crate::table::Table;
use baseline::{Baseline, Verdict};

/// Counts the instructions of the hot paths under callgrind, and fails where one takes more than it did.
///
/// What they took is in benches/instructions.txt. Counts are of user space, of the daemon's parts and of what plays the
/// applications around them, in a build that is optimised without the release's last steps.
#[derive(Clone, Debug, Args)]
pub(crate) struct InstructionsArgs {
    /// The path to count. Default: all, as many at once as there are processors.
    path: Option<String>,
    /// Keeps what is counted as what paths take.
    #[arg(long)]
    bless: bool,
    /// Counts so often, and shows how far counts are apart.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    #[command(flatten)]
    setup: Setup,
}

/// Instructions of a path, once for each round.
type Counts = BTreeMap<String, Vec<u64>>;

impl InstructionsArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        self.setup.install(&[VALGRIND])?;
        build()?;
        let all = paths()?;
        let chosen = match &self.path {
            None => all.clone(),
            Some(name) if all.contains_key(name) => [(name.clone(), all[name])].into(),
            Some(name) => {
                let known = all.into_keys().collect::<Vec<_>>().join(", ");
                return Err(XtaskError::UnknownPath { name: name.clone(), known });
            }
        };
        let counts = self.count_all(&chosen)?;
        let file = root().join(BASELINE);
        let mut baseline = Baseline::read(&file)?;
        if self.bless {
            baseline.bless(&counts, |name| all.contains_key(name));
            baseline.write(&file)?;
        }
        summarise(&counts, &baseline)
    }

    fn count_all(&self, paths: &BTreeMap<String, u64>) -> Result<Counts, XtaskError> {
        let rounds = (0..self.rounds).flat_map(|_| paths.iter().map(|(name, times)| (name, *times)));
        let waiting = Mutex::new(rounds);
        let counts = Mutex::new(Ok(Counts::new()));
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some((name, times)) = next() {
                let counted = count(name, times);
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                match (&mut *counts, counted) {
                    (Ok(all), Ok(count)) => all.entry(name.clone()).or_default().push(count),
                    (Ok(_), Err(error)) => *counts = Err(error),
                    (Err(_), _) => return,
                }
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds what is counted. Only crates of the workspace are built anew for it: what they depend on is shared with all
/// other builds, as little optimised as it is there.
fn build() -> Result<(), XtaskError> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bin", PROGRAM]);
    command.args(["--config", "profile.dev.opt-level=1"]);
    for package in ["authz", "hbone", "mesh"] {
        command.args(["--config", &format!("profile.dev.package.{package}.opt-level=2")]);
    }
    run(command.env("CARGO_INCREMENTAL", "0"))
}

/// The paths, and how often each is done.
fn paths() -> Result<BTreeMap<String, u64>, XtaskError> {
    let mut command = Command::new(program());
    let output = command.output().map_err(XtaskError::file(program()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let path = |line: &str| {
        let (name, times) = line.split_once(' ')?;
        Some((name.to_owned(), times.parse().ok().filter(|times| *times > 0)?))
    };
    let unreadable = |line: &str| XtaskError::Unreadable { what: words(&command), problem: line.to_owned() };
    text.lines().map(|line| path(line).ok_or_else(|| unreadable(line))).collect()
}

/// The instructions that a path takes once.
fn count(name: &str, times: u64) -> Result<u64, XtaskError> {
    let folder = target_folder().join("instructions");
    std::fs::create_dir_all(&folder).map_err(XtaskError::file(&folder))?;
    let profile = folder.join(format!("{name}.callgrind"));
    let mut command = Command::new(VALGRIND.name);
    command.args(["--tool=callgrind", "--compress-strings=no", &format!("--toggle-collect={COUNTED}")]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(program()).arg(name).env_clear();
    let output = command.stdin(Stdio::null()).output().map_err(XtaskError::file(VALGRIND.name))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!("$ {}\n{text}", words(&command));
        return Err(XtaskError::Command { command: words(&command), status: output.status });
    }
    // `==123== Collected : 18231`
    let counted = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    let counted = counted.filter(|counted| *counted > 0);
    counted
        .map(|counted| counted / times)
        .ok_or_else(|| XtaskError::Unreadable { what: words(&command), problem: text.into_owned() })
}

fn summarise(counts: &Counts, baseline: &Baseline) -> Result<(), XtaskError> {
    let mut table = Table::new(&["PATH", "INSTRUCTIONS", "BASELINE", "CHANGE", "SPREAD", ""]);
    let mut worse = Vec::new();
    for (name, counts) in counts {
        let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        let (Some(least), Some(most)) = (least, most) else { continue };
        let verdict = baseline.verdict(name, least);
        if matches!(verdict, Verdict::Unknown | Verdict::Worse(_)) {
            worse.push(name.clone());
        }
        let known = baseline.of(name).map(|count| count.to_string()).unwrap_or_default();
        let spread = format!("{:.2}%", baseline::percent(most, least));
        table.row([name.clone(), least.to_string(), known, verdict.change(), spread, verdict.word().into()]);
    }
    println!("\n{}", table.plain());
    if worse.is_empty() {
        return Ok(());
    }
    println!("where, by function: callgrind_annotate target/instructions/{}.callgrind", worse[0]);
    println!("if it is meant: cargo xtask instructions --bless");
    Err(XtaskError::MoreInstructions(worse.join(", ")))
}

fn program() -> PathBuf {
    target_folder().join("debug").join(PROGRAM)
}

const PROGRAM: &str = "instructions";
const BASELINE: &str = "benches/instructions.txt";

/// The function in which instructions count.
const COUNTED: &str = "instructions::counted*";

const VALGRIND: Program = Program { name: "valgrind", package: "valgrind" };
