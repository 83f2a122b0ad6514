//! Changes a large mesh all the time, while others read it, and says what that takes: `churn [SECONDS] [CHANGES A SECOND]`.
//!
//! Prints a line a second, and at the end one line of figures that `cargo xtask bench --only churn` reads. Ends badly when
//! changes cannot be kept up with, or when memory grows.

use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::City;
use mesh::Snapshots;
use nix::sys::resource::{UsageWho, getrusage};
use tikv_jemallocator::Jemalloc;

/// The daemon's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u32| arguments.next().and_then(|it| it.parse().ok()).unwrap_or(usual);
    let (seconds, rate) = (number(30), number(1000));
    let mut city = City::of(WORKLOADS);
    println!("{WORKLOADS} workloads, {} services: {:.1} MB", WORKLOADS / 10, megabytes());
    let done = AtomicBool::new(false);
    let snapshots = city.store.snapshots();
    let held = city.store.subscribe();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| read(&snapshots, &done));
        let outcome = change(&mut city, seconds, rate);
        done.store(true, Ordering::Relaxed);
        outcome
    });
    // Its backlog is bounded, whether it is read or not.
    drop(held);
    let Outcome { kept_up, cpu, slowest, before, after } = outcome;
    println!("cpu {cpu:.4} slowest-us {} before-mb {before:.1} after-mb {after:.1}", slowest.as_micros());
    if kept_up && after < before * 1.1 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Outcome {
    kept_up: bool,
    /// Share of one processor.
    cpu: f64,
    slowest: Duration,
    /// Memory after the first second, which fills buffers that are bounded.
    before: f64,
    after: f64,
}

fn change(city: &mut City, seconds: u32, rate: u32) -> Outcome {
    let (start, used) = (Instant::now(), processor_time());
    let (mut slowest, mut before) = (Duration::ZERO, 0.0);
    for second in 1..=seconds {
        let mut longest = Duration::ZERO;
        for turn in 0..rate {
            let due =
                start + Duration::from_secs_f64(f64::from((second - 1) * rate + turn) / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            city.change((second - 1) * rate + turn);
            longest = longest.max(began.elapsed());
        }
        if second == 1 {
            before = megabytes();
        }
        slowest = slowest.max(longest);
        println!("{second:3} s: {:.1} MB, slowest change {longest:?}", megabytes());
    }
    let elapsed = start.elapsed();
    Outcome {
        kept_up: elapsed < Duration::from_secs(u64::from(seconds) + 1),
        cpu: (processor_time() - used).as_secs_f64() / elapsed.as_secs_f64(),
        slowest,
        before,
        after: megabytes(),
    }
}

/// Looks at the mesh from time to time, and holds on to what it saw for a while, as a slow reader does.
fn read(snapshots: &Snapshots, done: &AtomicBool) {
    let mut turn: u32 = 0;
    while !done.load(Ordering::Relaxed) {
        let held = snapshots.load_full();
        turn = turn.wrapping_add(7919);
        let address = SocketAddr::new(bench::vip(turn % (WORKLOADS / 10)), 80);
        let service = held.service_by_vip(&address.ip().into(), "town");
        assert!(service.is_some(), "{address} is a Service's");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Processor time of this process.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system knows");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Resident memory.
fn megabytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("the system knows");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1e3
}

const WORKLOADS: u32 = 100_000;
