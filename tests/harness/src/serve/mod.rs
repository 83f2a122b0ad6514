//! Small servers, run on threads of the caller with their sockets in a pod's namespace.

mod dns;
mod full;
mod http;
mod server;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

pub use dns::Dns;
pub use full::Full;
pub use http::http;
pub use server::Server;

/// What a server does with its connections.
#[derive(Clone)]
pub struct Handler(Kind);

#[derive(Clone)]
enum Kind {
    /// Serves each connection on a thread of its own.
    Each(Arc<Serve>),
    /// Accepts, and does nothing ever.
    Hold,
}

/// Serves one connection to its end.
type Serve = dyn Fn(&TcpStream) -> io::Result<()> + Send + Sync;

impl Handler {
    /// Serves each connection on a thread of its own, and closes it when `serve` is done; what that reports is nobody's
    /// concern.
    pub fn each(serve: impl Fn(&TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Kind::Each(Arc::new(serve)))
    }
}

/// Sends back what comes, and ends when the client has.
pub fn echo() -> Handler {
    Handler::each(|mut stream| io::copy(&mut { stream }, &mut stream).map(drop))
}

/// Speaks first: sends `text`, then sends back what comes.
pub fn banner(text: impl Into<String>) -> Handler {
    let text = text.into();
    Handler::each(move |mut stream| {
        stream.write_all(text.as_bytes())?;
        io::copy(&mut { stream }, &mut stream).map(drop)
    })
}

/// Reads to the end, then says how many bytes that were.
pub fn sink() -> Handler {
    Handler::each(|mut stream| {
        let count = io::copy(&mut stream, &mut io::sink())?;
        stream.write_all(count.to_string().as_bytes())
    })
}

/// Sends so many bytes, each the low byte of its position, and ends.
pub fn source(count: u64) -> Handler {
    let block: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    Handler::each(move |mut stream| {
        let mut left = count;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            stream.write_all(&block[..length])?;
            left -= length as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    })
}

/// Accepts, and does nothing with its connections until the server is dropped. Costs no thread a connection.
pub const fn hold() -> Handler {
    Handler(Kind::Hold)
}
