//! `cargo xtask bench`: what the mesh costs, side by side with no mesh and with another.

mod churn;
mod contender;
mod hold;
mod http;
mod limits;
mod load;
mod measure;
mod memory;
mod metric;
mod peer;
mod report;
mod results;
mod scale;
mod usage;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::bench::contender::{Contender, Kind};
use crate::bench::measure::{Load, Route};
use crate::bench::results::Results;
use crate::demo::build_ztunnel;
use crate::error::XtaskError;
use crate::interrupt;
use crate::packages::{Program, Setup};

pub(crate) use hold::HoldArgs;
pub(crate) use http::ServeArgs;

/// Measures throughput, latency, memory and processor time: directly, through the mesh, and through another one.
///
/// Each contender has two nodes of its own, with a client and a second server on the first and a server on the second;
/// they take turns in each round, and the table shows medians. The report is kept in target/bench under the commit.
///
/// A peer is a command of yours. It is run by the shell once its nodes and pods stand, and finds in its environment:
/// BENCH_NODE1_NETNS and BENCH_NODE1_IP (the client's node), BENCH_NODE2_NETNS and BENCH_NODE2_IP (the server's);
/// for each of CLIENT, SERVER and LOCAL (the server on the client's node): BENCH_POD_CLIENT_NETNS, ..._IP, ..._NAME,
/// ..._NAMESPACE, ..._UID, ..._ACCOUNT, ..._NODE; BENCH_MANIFESTS, the folder of the cluster's manifests; BENCH_SCALE,
/// set where that holds 100,000 pods more, for memory. Namespaces are mounted in /run/netns. It prints a line `pid N`
/// for each process whose memory and processor time count, then the line `ready` when the pods are captured. SIGTERM
/// to its process group ends it.
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BenchArgs {
    /// Measures another mesh too: a command, see above.
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// Measures another build of ztunnel too, as "base".
    #[arg(long, value_name = "PROGRAM")]
    base: Option<PathBuf>,
    /// Measures this build of ztunnel instead of building one.
    #[arg(long, value_name = "PROGRAM")]
    ours: Option<PathBuf>,
    /// Leaves our own mesh out.
    #[arg(long)]
    without_ours: bool,
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long each load lasts.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// What is measured. Default: all.
    #[arg(long, value_delimiter = ',', value_name = "LOAD,...")]
    only: Vec<Part>,
    /// Between which pods. Default: both.
    #[arg(long, value_delimiter = ',', value_name = "ROUTE,...")]
    route: Vec<Route>,
    /// Measures nothing: compares what was kept of two commits.
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    compare: Option<Vec<String>>,
    #[command(flatten)]
    setup: Setup,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// As many bytes as go, in 1 and 4 streams.
    Bulk,
    /// Requests on 1, 8 and 64 connections that are kept.
    Keepalive,
    /// A connection for each request, 32 at once.
    New,
    /// Changes to 100,000 workloads and 10,000 services, 1000 a second, in the state store alone.
    Churn,
    /// Memory, idle and for each open connection.
    Memory,
    /// Memory with 100,000 workloads and 10,000 services.
    Scale,
}

impl BenchArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        let folder = results::folder();
        if let Some(names) = &self.compare {
            let [before, after] = [Results::read(&folder, &names[0])?, Results::read(&folder, &names[1])?];
            println!("{}", report::comparison(&before, &after));
            return Ok(());
        }
        self.setup.prepare("bench", PROGRAMS)?;
        limits::raise()?;
        // That is no daemon's, and needs none built.
        let kinds = if self.only == [Part::Churn] { Vec::new() } else { self.kinds()? };
        interrupt::clean_up_on_signals()?;
        let names = if kinds.is_empty() { vec![OURS] } else { kinds.iter().map(Kind::name).collect() };
        let names = names.into_iter().map(str::to_owned).collect();
        let mut results = Results::new(names, self.rounds, self.seconds);
        if self.has(Part::Churn) && !self.without_ours {
            churn::measure(OURS, &mut results)?;
        }
        if self.has(Part::Scale) {
            memory::scale(&kinds, &mut results)?;
        }
        self.measure(&kinds, &mut results)?;
        let report = report::markdown(&results);
        let path = results.write(&folder, &report)?;
        println!("\n{report}\nkept in {}", path.display());
        Ok(())
    }

    fn kinds(&self) -> Result<Vec<Kind>, XtaskError> {
        let mut kinds = vec![Kind::Direct];
        if !self.without_ours {
            let program = self.ours.clone().map_or_else(|| build_ztunnel(false), Ok)?;
            kinds.push(Kind::Ours { name: OURS, program });
        }
        kinds.extend(self.base.clone().map(|program| Kind::Ours { name: "base", program }));
        kinds.extend(self.peer.clone().map(|command| Kind::Peer { command }));
        Ok(kinds)
    }

    /// Contenders take turns, and who begins changes from round to round.
    fn measure(&self, kinds: &[Kind], results: &mut Results) -> Result<(), XtaskError> {
        let loads: Vec<_> = LOADS.iter().filter(|(part, _)| self.has(*part)).map(|(_, load)| *load).collect();
        if loads.is_empty() && !self.has(Part::Memory) {
            return Ok(());
        }
        let mut contenders = kinds.iter().map(Contender::start).collect::<Result<Vec<_>, _>>()?;
        if self.has(Part::Memory) {
            contenders.iter().try_for_each(|it| memory::connections(it, results))?;
        }
        for round in 1..=self.rounds {
            for route in self.routes() {
                for load in &loads {
                    println!("round {round} of {}: {}, {load}", self.rounds, route.name());
                    for contender in &contenders {
                        measure::measure(contender, route, *load, self.seconds, results)?;
                    }
                }
            }
            contenders.rotate_left(1);
        }
        Ok(())
    }

    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn routes(&self) -> Vec<Route> {
        if self.route.is_empty() { vec![Route::Remote, Route::Local] } else { self.route.clone() }
    }
}

/// What loads the contenders.
const PROGRAMS: &[Program] =
    &[Program { name: "iperf3", package: "iperf3" }, Program { name: "wrk", package: "wrk" }];

/// The name of our own mesh in tables.
const OURS: &str = "ours";

const LOADS: &[(Part, Load)] = &[
    (Part::Bulk, Load::Bulk { streams: 1 }),
    (Part::Bulk, Load::Bulk { streams: 4 }),
    (Part::Keepalive, Load::Requests { connections: 1, keep: true }),
    (Part::Keepalive, Load::Requests { connections: 8, keep: true }),
    (Part::Keepalive, Load::Requests { connections: 64, keep: true }),
    (Part::New, Load::Requests { connections: 32, keep: false }),
];
