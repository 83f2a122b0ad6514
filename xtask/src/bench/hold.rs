//! Idle connections, many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use crate::bench::limits;
use crate::error::XtaskError;

/// Opens connections, sends one request on each, says how many are open, and holds them until its input ends. For each
/// line of it, sends one more on each, and says how many were answered.
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
        for line in std::io::stdin().lines() {
            line?;
            let answered = held.iter_mut().filter_map(|stream| ask(stream).ok());
            println!("{}", answered.count());
        }
        Ok(())
    }

    /// A connection that has been used: one that never was may not be open at its far end.
    fn open(&self) -> Result<TcpStream, XtaskError> {
        let mut stream = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(&mut stream)?;
        Ok(stream)
    }
}

fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    // It is small and comes in one piece.
    let mut answer = [0; 4096];
    if stream.read(&mut answer)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(10);
