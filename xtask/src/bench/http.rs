//! An HTTP server that costs little, so that what is measured is what is in front of it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::limits;
use crate::error::XtaskError;

/// Answers every request with a few bytes, on two threads; for the bench.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    port: u16,
}

/// A thread's connections. Nothing is kept of one between two events but a request that has come in part.
struct Worker {
    epoll: Epoll,
    listener: Socket,
    connections: HashMap<u64, Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    socket: Socket,
    /// The beginning of a request that has not come whole.
    partial: Vec<u8>,
}

impl ServeArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        limits::raise()?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.port);
        let workers = (0..THREADS).map(|_| Worker::listen(address)).collect::<Result<Vec<_>, _>>()?;
        let threads = workers.into_iter().map(|mut worker| thread::spawn(move || worker.serve()));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|it| it.join().expect("a server's thread does not panic"))?;
        Ok(())
    }
}

impl Worker {
    fn listen(address: SocketAddr) -> Result<Self, XtaskError> {
        let listener =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        listener.set_reuse_port(true)?;
        listener.bind(&address.into())?;
        listener.listen(BACKLOG)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        epoll.add(listener.as_fd(), event).map_err(io::Error::from)?;
        Ok(Self { epoll, listener, connections: HashMap::new(), buffer: vec![0; BUFFER] })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE)?;
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(),
                    // A connection that fails is over.
                    key => drop((!self.answer(key).unwrap_or(false)).then(|| self.connections.remove(&key))),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let Ok(key) = u64::try_from(socket.as_raw_fd()) else { continue };
            let event = EpollEvent::new(EpollFlags::EPOLLIN, key);
            let ready = socket.set_nonblocking(true).is_ok() && socket.set_tcp_nodelay(true).is_ok();
            if ready && self.epoll.add(socket.as_fd(), event).is_ok() {
                self.connections.insert(key, Connection { socket, partial: Vec::new() });
            }
        }
    }

    /// Answers what has come; whether the connection goes on.
    fn answer(&mut self, key: u64) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(&key) else { return Ok(true) };
        let length = match connection.socket.read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            other => other?,
        };
        let mut come = &self.buffer[..length];
        if !connection.partial.is_empty() {
            connection.partial.extend(come);
            come = &connection.partial;
        }
        let (requests, rest) = whole_requests(come);
        let last = requests.windows(CLOSE.len()).any(|it| it == CLOSE);
        let count = requests.windows(END.len()).filter(|it| *it == END).count();
        let rest = rest.to_vec();
        // Answers are few and small: a socket that does not take them all belongs to no client of ours.
        connection.socket.write_all(&if last { LAST_ANSWER } else { ANSWER }.repeat(count))?;
        connection.partial = rest;
        Ok(length > 0 && !last)
    }
}

/// What has come whole, and the beginning of the next.
fn whole_requests(come: &[u8]) -> (&[u8], &[u8]) {
    let last = come.windows(END.len()).rposition(|it| it == END);
    come.split_at(last.map_or(0, |at| at + END.len()))
}

const THREADS: usize = 2;

/// More than any bench opens at a time.
const BACKLOG: i32 = 4096;

const BUFFER: usize = 64 * 1024;

/// No file descriptor is this.
const LISTENER: u64 = u64::MAX;

const END: &[u8] = b"\r\n\r\n";

/// As wrk sends it.
const CLOSE: &[u8] = b"Connection: close";

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, world!\n";

/// A client that is not told takes the end of the connection for an error.
const LAST_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, world!\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_part_waits_for_its_rest() {
        let come = b"GET / HTTP/1.1\r\n\r\nGET /b HT";
        assert_eq!(whole_requests(come), (&come[..18], &come[18..]));
        assert_eq!(whole_requests(b"GET"), (&b""[..], &b"GET"[..]));
    }
}
