//! How a CA is reached.

use std::fmt;
use std::io;
use std::pin::Pin;

use tokio::net::TcpStream;

/// Opens connections to hosts.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// Connects to a port of a host, which is a name or an IP address.
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;
}

/// As any process does.
#[derive(Debug)]
pub(super) struct Plainly;

impl Dial for Plainly {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>> {
        Box::pin(TcpStream::connect((host, port)))
    }
}
