//! `ztunnel ca status`: how a CA fares, asked of its admin socket.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

/// Prints who signs, which roots are trusted and until when, and what became of requests.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The CA's admin socket: listen.adminSocket.
    #[arg(long, value_name = "PATH", env = "ZTUNNEL_CA_ADMIN_SOCKET")]
    socket: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// What came is not a CA's answer.
    #[error("{socket} is not a CA's admin socket: {problem}", socket = socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers there.
    #[error("no CA answers at {socket}", socket = socket.display())]
    Ask {
        /// The socket.
        socket: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[from] io::Error),
}

/// How a CA fares. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaStatus {
    /// The signing certificate first, its root last.
    pub chain: Vec<ShownCertificate>,
    /// All roots that are trusted.
    pub trusted_roots: Vec<ShownCertificate>,
    /// When the first certificate of the chain ends: nothing is signed beyond.
    pub chain_ends: u64,
    /// What became of requests since the start.
    #[serde(flatten)]
    pub counts: CaCounts,
}

/// What became of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaCounts {
    /// All of them.
    pub requests: u64,
    /// Certificates that were signed.
    pub signatures: u64,
    /// Those that were refused, by reason.
    pub refusals: BTreeMap<String, u64>,
}

/// A certificate, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificate {
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// Its last second.
    pub ends: u64,
}

impl StatusArgs {
    /// Asks, and prints the answer to `out`.
    ///
    /// # Errors
    /// When no CA answers.
    pub fn run(&self, out: &mut impl Write) -> Result<(), StatusError> {
        let status = self.ask()?;
        if self.json {
            let text = serde_json::to_string_pretty(&status).map_err(io::Error::from)?;
            return Ok(writeln!(out, "{text}")?);
        }
        Ok(out.write_all(status.text(UnixTime::now()).as_bytes())?)
    }

    fn ask(&self) -> Result<CaStatus, StatusError> {
        let (status, body) =
            self.get().map_err(|source| StatusError::Ask { socket: self.socket.clone(), source })?;
        let wrong = |problem| StatusError::Answer { socket: self.socket.clone(), problem };
        if !status.contains(" 200 ") {
            return Err(wrong(status));
        }
        serde_json::from_str(&body).map_err(|error| wrong(error.to_string()))
    }

    /// The status line of an answer, and its body.
    fn get(&self) -> io::Result<(String, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP/1.0: whole, and closed at its end.
        stream.write_all(b"GET /config_dump/ca HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    }
}

impl CaStatus {
    /// For people.
    fn text(&self, now: UnixTime) -> String {
        let mut text = String::new();
        for (name, certificates) in [("signs with", &self.chain), ("trusted roots", &self.trusted_roots)] {
            for (at, certificate) in certificates.iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                let ends = until(certificate.ends, now);
                let _never_fails = writeln!(text, "{name:<14} {}  {ends}", certificate.serial);
            }
        }
        let CaCounts { requests, signatures, refusals } = &self.counts;
        let refused: u64 = refusals.values().sum();
        let reasons: Vec<_> = refusals.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let _never_fails = writeln!(
            text,
            "requests       {requests}\nsigned         {signatures}\nrefused        {refused}{reasons}"
        );
        text
    }
}

fn until(end: u64, now: UnixTime) -> String {
    let left = end.saturating_sub(now.as_secs());
    match left {
        0 => "HAS ENDED".to_owned(),
        1..3600 => format!("ends in {} minutes", left.div_ceil(60)),
        3600..172_800 => format!("ends in {} hours", left / 3600),
        _ => format!("ends in {} days", left / 86_400),
    }
}

/// An answer takes some microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A status with the most roots and reasons that there can be stays far below this.
const MAX_ANSWER: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_well() {
        let certificate = |serial: &str, ends| ShownCertificate { serial: serial.to_owned(), ends };
        let status = CaStatus {
            chain: vec![certificate("0a", 1000 + 7200), certificate("0b", 1000 + 10 * 86_400)],
            trusted_roots: vec![certificate("0b", 1000 + 10 * 86_400), certificate("0c", 900)],
            chain_ends: 8200,
            counts: CaCounts {
                requests: 12,
                signatures: 9,
                refusals: [("other_node".to_owned(), 2), ("token".to_owned(), 1)].into(),
            },
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1000));
        assert_eq!(
            status.text(now),
            "signs with     0a  ends in 2 hours\n               0b  ends in 10 days\n\
             trusted roots  0b  ends in 10 days\n               0c  HAS ENDED\n\
             requests       12\nsigned         9\nrefused        3 (other_node 2, token 1)\n"
        );
    }

    #[test]
    fn a_status_is_json_and_back() {
        let counts = CaCounts { requests: 1, signatures: 1, refusals: BTreeMap::new() };
        let status = CaStatus { chain: Vec::new(), trusted_roots: Vec::new(), chain_ends: 5, counts };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(
            text,
            r#"{"chain":[],"trusted_roots":[],"chain_ends":5,"requests":1,"signatures":1,"refusals":{}}"#
        );
        assert_eq!(serde_json::from_str::<CaStatus>(&text).unwrap(), status);
    }
}
