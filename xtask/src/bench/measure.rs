//! One load on one route of one contender.

use std::fmt;

use clap::ValueEnum;

use crate::bench::contender::{Contender, HTTP, IPERF};
use crate::bench::metric::{Metric, Unit};
use crate::bench::results::Results;
use crate::bench::{load, usage};
use crate::error::XtaskError;

/// Between which pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Route {
    /// Pods of two nodes.
    Remote,
    /// Pods of one node.
    Local,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// As many bytes as go.
    Bulk { streams: usize },
    /// As many requests as go.
    Requests { connections: usize, keep: bool },
}

impl Route {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Remote => "between nodes",
            Self::Local => "within a node",
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bulk { streams } => write!(f, "bulk, streams: {streams}"),
            Self::Requests { connections, keep: true } => write!(f, "requests, connections: {connections}"),
            Self::Requests { connections, keep: false } => {
                write!(f, "new connection per request, at once: {connections}")
            }
        }
    }
}

/// Measures, and adds what was seen to the results.
pub(super) fn measure(
    contender: &Contender,
    route: Route,
    load: Load,
    seconds: u32,
    results: &mut Results,
) -> Result<(), XtaskError> {
    let server = match route {
        Route::Remote => contender.server(),
        Route::Local => contender.local(),
    };
    let (client, pids) = (contender.client(), contender.pids());
    let before = usage::cpu_seconds(&pids)?;
    let mut figures = match load {
        Load::Bulk { streams } => {
            let seen = load::bulk(&client, server.at(IPERF), streams, seconds)?;
            vec![(Unit::Gigabits, seen.bits_per_second / 1e9), (Unit::CpuPerGib, seen.bytes / GIB)]
        }
        Load::Requests { connections, keep } => {
            let seen = load::requests(&client, server.at(HTTP), connections, keep, seconds)?;
            let hundred_thousands = seen.count / 1e5;
            let times = [(Unit::P50, seen.p50), (Unit::P99, seen.p99)];
            let mut figures = vec![(Unit::Rate, seen.per_second), (Unit::CpuPerRequests, hundred_thousands)];
            // Of a connection for each request wrk times only what follows its opening.
            figures.extend(times.into_iter().filter(|_| keep));
            figures
        }
    };
    let spent = usage::cpu_seconds(&pids)? - before;
    let is_cpu = |unit: &Unit| matches!(unit, Unit::CpuPerGib | Unit::CpuPerRequests);
    figures.retain(|(unit, _)| !is_cpu(unit) || !pids.is_empty());
    let text: Vec<_> = figures
        .into_iter()
        .map(|(unit, value)| {
            let value = if is_cpu(&unit) { spent / value.max(f64::EPSILON) } else { value };
            let metric = Metric::new(route.name(), load.to_string(), unit);
            let text = format!("{} {}", metric.show(value), unit.name());
            results.add(metric, &contender.name, value);
            text
        })
        .collect();
    println!("  {:<8} {}", contender.name, text.join(", "));
    Ok(())
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
