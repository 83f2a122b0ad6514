//! One question to an admin server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why an admin server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there, or the connection broke.
    #[error("daemon at {} does not answer", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It refused.
    #[error("daemon answered {status:?} to {page}")]
    Refused {
        /// What was asked for.
        page: String,
        /// The first line of its answer.
        status: String,
    },
}

/// The body of a page. In HTTP/1.0, so that it comes in one piece and ends with the connection.
pub(super) fn get(socket: &Path, page: &str) -> Result<String, AskError> {
    let answer = exchange(socket, page).map_err(|source| AskError::Io { path: socket.to_owned(), source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(AskError::Refused { page: page.to_owned(), status: status.to_owned() }),
    }
}

fn exchange(socket: &Path, page: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {page} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than a page with a note of each pod of a large node.
const LONGEST: u64 = 64 * 1024 * 1024;
