//! Loads: iperf3 and wrk, and what they say.

use std::net::SocketAddr;

use harness::Pod;
use serde_json::Value;

use crate::error::XtaskError;

/// What iperf3 has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bulk {
    pub(super) bytes: f64,
    pub(super) bits_per_second: f64,
}

/// What wrk has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Requests {
    pub(super) count: f64,
    pub(super) per_second: f64,
    /// Microseconds.
    pub(super) p50: f64,
    /// Microseconds.
    pub(super) p99: f64,
}

/// Sends as fast as it goes, in so many streams at once.
pub(super) fn bulk(client: &Pod, to: SocketAddr, streams: usize, seconds: u32) -> Result<Bulk, XtaskError> {
    let (ip, port) = (to.ip(), to.port());
    let command = format!("iperf3 -c {ip} -p {port} -P {streams} -t {seconds} -J");
    let done = client.output(&command)?;
    read_iperf(&done.stdout).ok_or(XtaskError::Unreadable { what: command, problem: done.stdout })
}

/// Asks over so many connections at once, each kept or each for one request.
pub(super) fn requests(
    client: &Pod,
    to: SocketAddr,
    connections: usize,
    keep: bool,
    seconds: u32,
) -> Result<Requests, XtaskError> {
    let threads = connections.min(THREADS);
    let header = if keep { "" } else { "-H 'Connection: close' " };
    let command = format!("wrk -t{threads} -c{connections} -d{seconds}s --latency {header}http://{to}/");
    let done = client.output(&command)?;
    let said = format!("{}{}", done.stdout, done.stderr);
    read_wrk(&said).ok_or(XtaskError::Unreadable { what: command, problem: said })
}

fn read_iperf(text: &str) -> Option<Bulk> {
    let end: Value = serde_json::from_str(text).ok()?;
    let received = end.pointer("/end/sum_received")?;
    let number = |name: &str| received.get(name)?.as_f64();
    Some(Bulk { bytes: number("bytes")?, bits_per_second: number("bits_per_second")? })
}

/// An answer that is not 200, or that did not come, spoils the whole run.
fn read_wrk(text: &str) -> Option<Requests> {
    let spoilt = ["Non-2xx", "Socket errors"].iter().any(|sign| text.contains(sign));
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label))?;
        Some(line.trim().to_owned())
    };
    let whole = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let read = Requests {
        count: whole.0.parse().ok()?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50: microseconds(&after("50%")?)?,
        p99: microseconds(&after("99%")?)?,
    };
    (!spoilt).then_some(read)
}

fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// wrk's own threads: more would take the processors from what is measured.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_words_are_read_and_failures_spoil_them() {
        let text = "Running 1s test @ http://10.244.2.11:8080/\n  1 threads and 1 connections\n  Latency Distribution\n     \
                    50%  115.00us\n     75%  121.00us\n     90%  140.00us\n     99%    1.02ms\n  8123 requests in 1.00s, \
                    1.02MB read\nRequests/sec:   8100.50\nTransfer/sec:      1.01MB\n";
        let read = read_wrk(text).unwrap();
        assert_eq!(read, Requests { count: 8123.0, per_second: 8100.5, p50: 115.0, p99: 1020.0 });
        assert_eq!(read_wrk(&format!("{text}  Non-2xx or 3xx responses: 4\n")), None);
    }

    #[test]
    fn iperfs_words_are_read() {
        let text = r#"{ "end": { "sum_received": { "bytes": 1000, "bits_per_second": 8000.5 } } }"#;
        assert_eq!(read_iperf(text), Some(Bulk { bytes: 1000.0, bits_per_second: 8000.5 }));
        assert_eq!(read_iperf(r#"{ "error": "unable to connect" }"#), None);
    }
}
