//! Memory: idle, for each open connection, and with a large mesh.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::Lab;

use crate::bench::contender::{Contender, HTTP, Kind, World, cluster};
use crate::bench::metric::{Metric, Unit};
use crate::bench::results::Results;
use crate::bench::{scale, usage};
use crate::error::XtaskError;

/// Measures a contender that has carried nothing yet: idle, then with many idle connections.
pub(super) fn connections(contender: &Contender, results: &mut Results) -> Result<(), XtaskError> {
    let pids = contender.pids();
    if pids.is_empty() {
        return Ok(());
    }
    println!("memory of {}", contender.name);
    let idle = settled(&pids)?;
    results.add(Metric::new(GROUP, "idle", Unit::Bytes), &contender.name, idle);
    let to = contender.server().at(HTTP);
    let hold = format!("exec {} hold {to} {CONNECTIONS}", std::env::current_exe()?.display());
    let mut command = contender.client().netns().shell(&hold);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stdout) = holder.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    let held = settled(&pids);
    // The end of its input ends it.
    drop(holder.stdin.take());
    holder.wait()?;
    let count: f64 =
        said.trim().parse().map_err(|_| XtaskError::Unreadable { what: hold, problem: said.clone() })?;
    let metric = Metric::new(GROUP, format!("each of {CONNECTIONS} idle connections"), Unit::Bytes);
    results.add(metric, &contender.name, (held? - idle) / count);
    Ok(())
}

/// Measures each contender with a large mesh, one after the other.
pub(super) fn scale(kinds: &[Kind], results: &mut Results) -> Result<(), XtaskError> {
    for kind in kinds.iter().filter(|kind| !matches!(kind, Kind::Direct)) {
        println!(
            "memory of {} with {} workloads and {} services",
            kind.name(),
            scale::WORKLOADS,
            scale::SERVICES
        );
        let lab = Lab::up(&cluster())?;
        scale::write(&lab.manifests())?;
        let world = World::start(kind, lab, true)?;
        let load = format!("{} workloads, {} services", scale::WORKLOADS, scale::SERVICES);
        results.add(Metric::new(GROUP, load, Unit::Bytes), kind.name(), settled(&world.pids())?);
    }
    Ok(())
}

/// Resident memory once it has stopped changing.
fn settled(pids: &[u32]) -> Result<f64, XtaskError> {
    let (start, mut last, mut since) = (Instant::now(), usage::resident(pids)?, Instant::now());
    while since.elapsed() < STEADY && start.elapsed() < PATIENCE {
        sleep(STEP);
        let current = usage::resident(pids)?;
        if (current - last).abs() > NOISE {
            (last, since) = (current, Instant::now());
        }
    }
    usage::resident(pids)
}

const GROUP: &str = "memory of a daemon";

/// More would not fit the open files that a process may have here, with those that the load has itself.
const CONNECTIONS: usize = 10_000;

/// How long memory must not change.
const STEADY: Duration = Duration::from_secs(3);

const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(200);

/// Bytes that do not count as a change.
const NOISE: f64 = 64.0 * 1024.0;
