//! Idle connections, many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use crate::bench::limits;
use crate::error::XtaskError;

/// Opens connections, sends one request on each, says how many are open, and holds them until its input ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct HoldArgs {
    to: SocketAddr,
    count: usize,
}

impl HoldArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        limits::raise()?;
        let mut held = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            held.push(self.open()?);
        }
        println!("{}", held.len());
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// A connection that has been used: one that never was may not be open at its far end.
    fn open(&self) -> Result<TcpStream, XtaskError> {
        let mut stream = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        // One byte of the answer is enough.
        stream.read_exact(&mut [0])?;
        Ok(stream)
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
