//! Asking a daemon of this machine, over its Unix socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or one may not ask.
    #[error("no daemon can be asked at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The connection broke off.
    #[error("daemon did not answer")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("daemon's answer cannot be read")]
    Malformed,
    /// It says no.
    #[error("daemon refuses: {}", said.trim_end())]
    Refused {
        /// The status code.
        status: u16,
        /// Its words.
        said: String,
    },
}

/// What the admin server behind `socket` answers to one request, if that went well.
///
/// # Errors
/// [`AskError`], also when the answer is another than 200.
pub fn ask(socket: &Path, method: &str, path: &str) -> Result<Vec<u8>, AskError> {
    let connected = UnixStream::connect(socket);
    let mut stream = connected.map_err(|source| AskError::Connect { path: socket.into(), source })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let (status, body) = parse(&answer).ok_or(AskError::Malformed)?;
    let body = answer.split_off(body);
    match status {
        200 => Ok(body),
        status => Err(AskError::Refused { status, said: String::from_utf8_lossy(&body).into_owned() }),
    }
}

/// The status, and where the body begins.
fn parse(answer: &[u8]) -> Option<(u16, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, end + 4))
}

/// A profile of processor time takes two minutes at most.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a mesh of a million pods takes to be listed.
const MAX_ANSWER: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_what_follows_its_head() {
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        let (status, body) = parse(answer).unwrap();
        assert_eq!((status, &answer[body..]), (403, &b"no"[..]));
        for wrong in ["", "HTTP/1.1 20", "HTTP/1.1 x00 OK\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_there_is_said_with_the_place() {
        let error = ask(Path::new("/nowhere/admin.sock"), "GET", "/").unwrap_err();
        assert_eq!(error.to_string(), "no daemon can be asked at /nowhere/admin.sock");
    }
}
