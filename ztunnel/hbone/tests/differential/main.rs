//! Our HTTP/2 against the h2 crate: two readings of RFC 9113, one wire.
//!
//! - [`scenario`]: what is to happen in one case, all from one number;
//! - [`ours`], [`theirs`] and [`stream`]: both ends do so;
//! - [`network`] and [`tap`]: the wire between them, which cuts, delays and counts;
//! - [`journal`]: what each end saw, and whether that is what the other sent.
//!
//! `DIFFERENTIAL_SEEDS=1000..2000` runs other cases than the usual ones, or the one that failed.

mod frame;
mod journal;
mod mutations;
mod network;
mod ours;
mod random;
mod scenario;
mod stream;
mod tap;
mod theirs;
mod verdict;
mod violations;

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};

use journal::Journal;
use random::Random;
use scenario::Scenario;
use tap::Tap;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    const fn index(self) -> usize {
        self as usize
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What all tasks of a case share.
pub(crate) struct Case {
    /// Which end is ours.
    ours: End,
    scenario: Scenario,
    journal: RefCell<Journal>,
    tap: Rc<RefCell<Tap>>,
    random: RefCell<Random>,
}

impl Case {
    /// Choices for one task.
    fn random(&self) -> Random {
        self.random.borrow_mut().branch()
    }

    /// Whether this is the stream that is opened when all others are over.
    fn is_last(&self, number: u32) -> bool {
        number.div_ceil(2) as usize == self.scenario.streams.len()
    }
}

#[test]
fn our_server_and_their_client_see_what_the_other_sent() {
    for_all_seeds(1, |seed| run(seed, End::Server));
}

#[test]
fn our_client_and_their_server_see_what_the_other_sent() {
    for_all_seeds(1, |seed| run(seed, End::Client));
}

/// Runs a case for each seed, `times` as many as usual, and says which one failed.
pub(crate) fn for_all_seeds(times: u64, case: impl Fn(u64)) {
    for seed in seeds(times) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(seed))) {
            eprintln!("failed with DIFFERENTIAL_SEEDS={seed}..{}", seed + 1);
            resume_unwind(panic);
        }
    }
}

fn seeds(times: u64) -> Range<u64> {
    let Ok(seeds) = std::env::var("DIFFERENTIAL_SEEDS") else { return 0..times * CASES };
    let (from, to) = seeds.split_once("..").expect("two numbers with dots between");
    from.parse().unwrap()..to.parse().unwrap()
}

fn run(seed: u64, ours: End) {
    let mut scenario = Scenario::new(seed, ours);
    let tap = Tap::new(ours, scenario.random.branch(), scenario.forged, scenario.split);
    let case = Rc::new(Case {
        ours,
        journal: RefCell::default(),
        tap: Rc::new(RefCell::new(tap)),
        random: RefCell::new(scenario.random.branch()),
        scenario,
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        let [client, server] =
            network::network(&mut tasks, &case.tap, case.scenario.piece, &mut case.random());
        match ours {
            End::Client => {
                tasks.spawn_local(ours::run(case.clone(), client));
                tasks.spawn_local(theirs::run_server(case.clone(), server));
            }
            End::Server => {
                tasks.spawn_local(ours::run(case.clone(), server));
                tasks.spawn_local(theirs::run_client(case.clone(), client));
            }
        }
        while !tasks.is_empty() {
            // Time passes when nobody has anything left to do: so this is none that anything takes.
            match tokio::time::timeout(Duration::from_secs(3600), tasks.join_next()).await {
                Ok(ended) => {
                    ended.expect("there are some").unwrap_or_else(|error| resume_unwind(error.into_panic()))
                }
                Err(_elapsed) => panic!("all wait for each other: {:?}", case.tap.borrow().from),
            }
        }
    });
    let tap = case.tap.borrow();
    case.journal.borrow().check(&case.scenario, &tap, ours);
    check_windows(&case, &tap);
}

/// All that our end received it has given back, up to what is not worth a frame.
fn check_windows(case: &Case, tap: &Tap) {
    let left = tap.connection_window(case.ours.other());
    let size = i64::from(case.scenario.connection_window());
    assert!(
        left <= size && left > size - size / 8,
        "{left} of {size} bytes are left of the connection's window"
    );
}

/// Some seconds' worth.
const CASES: u64 = 200;
