//! Applications that never stop: some open one connection after another, some have one for all that time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use harness::Pod;

/// Connections from pods to echo servers, until it is [finished](Load::finish).
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    openers: Vec<JoinHandle<Outcome>>,
    streams: Vec<JoinHandle<Outcome>>,
}

/// What all of a kind did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections that were opened, used and closed.
    pub(crate) opened: usize,
    /// Bytes that came back on those that lasted.
    pub(crate) streamed: usize,
}

/// How much was done, or what failed after how much.
type Outcome = Result<usize, (usize, std::io::Error)>;

impl Load {
    /// Of each pair, two that open connections and one stream of bytes each way.
    pub(crate) fn start(pairs: &[(&Pod, SocketAddr)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |run: fn(&Pod, SocketAddr, &AtomicBool) -> Outcome, (pod, to): (&Pod, SocketAddr)| {
            let (pod, stop) = (pod.clone(), stop.clone());
            thread::spawn(move || run(&pod, to, &stop))
        };
        let openers =
            pairs.iter().flat_map(|pair| [spawn(open_all_the_time, *pair), spawn(open_all_the_time, *pair)]);
        let openers = openers.collect();
        let streams = pairs.iter().map(|pair| spawn(stream_all_the_time, *pair)).collect();
        Self { stop, openers, streams }
    }

    /// Whether a connection has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.openers.iter().chain(&self.streams).any(JoinHandle::is_finished)
    }

    /// Ends all, whether or not something failed.
    pub(crate) fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.openers.into_iter().chain(self.streams) {
            let _outcome = thread.join().expect("the load does not panic");
        }
    }

    /// Ends all, and says what they did. Panics when one connection failed.
    pub(crate) fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let sum = |threads: Vec<JoinHandle<Outcome>>, what: &str| {
            threads.into_iter().map(|it| done(it.join().expect("the load does not panic"), what)).sum()
        };
        Tally { opened: sum(self.openers, "connections"), streamed: sum(self.streams, "bytes") }
    }
}

fn done(outcome: Outcome, what: &str) -> usize {
    outcome.unwrap_or_else(|(count, error)| panic!("after {count} {what}: {error}"))
}

fn open_all_the_time(pod: &Pod, to: SocketAddr, stop: &AtomicBool) -> Outcome {
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        once(pod, to, opened).map_err(|error| (opened, error))?;
        opened += 1;
    }
    Ok(opened)
}

fn once(pod: &Pod, to: SocketAddr, number: usize) -> std::io::Result<()> {
    let (sent, mut heard) = (number.to_be_bytes(), Vec::new());
    let mut stream = pod.connect(to)?;
    stream.write_all(&sent)?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut heard)?;
    if heard == sent {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("{} of 8 bytes came back", heard.len())))
    }
}

fn stream_all_the_time(pod: &Pod, to: SocketAddr, stop: &AtomicBool) -> Outcome {
    let mut heard = 0;
    let streamed = pod.connect(to).and_then(|mut stream| stream_until(&mut stream, stop, &mut heard));
    streamed.map(|()| heard).map_err(|error| (heard, error))
}

fn stream_until(stream: &mut TcpStream, stop: &AtomicBool, heard: &mut usize) -> std::io::Result<()> {
    let (block, mut answer) = (vec![7; BLOCK], vec![0; BLOCK]);
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&block)?;
        stream.read_exact(&mut answer)?;
        *heard += BLOCK;
    }
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut answer)? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("more came back than was sent")),
    }
}

/// Few enough bytes for the socket buffers on the way to hold them while nobody reads.
const BLOCK: usize = 32 * 1024;
