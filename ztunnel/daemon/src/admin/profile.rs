//! Where processor time and memory go: nothing is sampled before somebody asks.

use std::fmt::Write;
use std::time::Duration;

use jemalloc_pprof::PROF_CTL;
use pprof::{ProfilerGuardBuilder, Report};

/// How processor time is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampling {
    pub(super) span: Duration,
    /// Samples a second of processor time.
    pub(super) frequency: i32,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    /// The allocator's own words.
    #[error("heap profile cannot be made: {0}")]
    Heap(String),
    /// Sampling is off.
    #[error(
        "heap sampling is off: POST /debug/pprof/heap/profiling?activate=true, and wait for what is of interest"
    )]
    HeapOff,
    /// Another profile is being made, mostly.
    #[error("processor time cannot be sampled")]
    Processor(#[source] pprof::Error),
    /// The program's allocator cannot.
    #[error("this program's allocator takes no heap samples")]
    Unsupported,
}

impl Sampling {
    /// What the query of a request asks for: `seconds=10&frequency=99`; none when it makes no sense.
    pub(super) fn of(query: &str) -> Option<Self> {
        let mut sampling = Self { span: Duration::from_secs(10), frequency: 99 };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "seconds" => sampling.span = Duration::from_secs(value.parse().ok()?),
                "frequency" => sampling.frequency = value.parse().ok()?,
                _ => return None,
            }
        }
        let fits = sampling.span <= MAX_SPAN && (1..=MAX_FREQUENCY).contains(&sampling.frequency);
        fits.then_some(sampling)
    }
}

/// Stacks that used processor time, one a line with the number of its samples: as flame graphs are made of.
pub(super) async fn processor(sampling: Sampling) -> Result<String, ProfileError> {
    let guard = ProfilerGuardBuilder::default()
        .frequency(sampling.frequency)
        // Unwinding through these from a signal handler may wait for a lock that the interrupted thread holds.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(ProfileError::Processor)?;
    tokio::time::sleep(sampling.span).await;
    // Finding the names of functions takes long enough to hold up everything else on this thread.
    let folded = tokio::task::spawn_blocking(move || guard.report().build().map(|report| folded(&report)));
    match folded.await {
        Ok(folded) => folded.map_err(ProfileError::Processor),
        Err(_panicked) => Err(ProfileError::Processor(pprof::Error::NotRunning)),
    }
}

fn folded(report: &Report) -> String {
    let mut lines: Vec<_> = report
        .data
        .iter()
        .map(|(frames, count)| {
            let mut line = frames.thread_name_or_id();
            for symbol in frames.frames.iter().rev().flatten() {
                write!(line, ";{symbol}").expect("writing to a string never fails");
            }
            format!("{line} {count}\n")
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// Memory in use by where it was allocated, as a compressed pprof profile.
pub(super) async fn heap() -> Result<Vec<u8>, ProfileError> {
    let control = PROF_CTL.as_ref().ok_or(ProfileError::Unsupported)?.clone();
    let mut control = control.lock_owned().await;
    if !control.activated() {
        return Err(ProfileError::HeapOff);
    }
    let dump = tokio::task::spawn_blocking(move || control.dump_pprof());
    match dump.await {
        Ok(dump) => dump.map_err(|error| ProfileError::Heap(error.to_string())),
        Err(_panicked) => Err(ProfileError::Heap("its maker panicked".to_owned())),
    }
}

/// Turns sampling of allocations on or off.
pub(super) async fn sample_heap(on: bool) -> Result<(), ProfileError> {
    let mut control = PROF_CTL.as_ref().ok_or(ProfileError::Unsupported)?.lock().await;
    let done = if on { control.activate() } else { control.deactivate() };
    done.map_err(|error| ProfileError::Heap(error.to_string()))
}

/// Longer than anybody wants to wait, and well below the time that a connection may take.
const MAX_SPAN: Duration = Duration::from_secs(120);

/// More samples would be of the sampling itself.
const MAX_FREQUENCY: i32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_long_and_how_often() {
        let ten = Sampling { span: Duration::from_secs(10), frequency: 99 };
        assert_eq!(Sampling::of(""), Some(ten));
        let asked = Sampling { span: Duration::from_secs(2), frequency: 500 };
        assert_eq!(Sampling::of("seconds=2&frequency=500"), Some(asked));
        for wrong in ["seconds=x", "seconds=121", "frequency=0", "frequency=1001", "seconds=-1", "hz=9"] {
            assert_eq!(Sampling::of(wrong), None, "{wrong}");
        }
    }
}
