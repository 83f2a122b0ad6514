//! A server that is too busy to accept.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::{LabError, Netns, eventually, program};

/// A listener whose queue is full: the kernel answers nobody who wants to connect, until there is room.
#[derive(Debug)]
pub struct Full {
    listener: TcpListener,
    _filling: TcpStream,
}

impl Full {
    /// Listens in a namespace, on any port.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(netns: &Netns, ip: IpAddr) -> Result<Self, LabError> {
        let (listener, _filling) = netns.within(|| {
            let socket = Socket::new(Domain::for_address(SocketAddr::new(ip, 0)), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(ip, 0).into())?;
            socket.listen(0)?;
            let listener = TcpListener::from(socket);
            let filling = TcpStream::connect(listener.local_addr()?)?;
            Ok((listener, filling))
        })?;
        Ok(Self { listener, _filling })
    }

    /// Its address.
    ///
    /// # Errors
    /// What getsockname(2) reports.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until somebody in a namespace waits for an answer.
    ///
    /// # Errors
    /// When nobody does.
    pub fn dialled_from(&self, netns: &Netns) -> Result<(), LabError> {
        let ask = format!("ss -Htn state syn-sent dport = :{}", self.address()?.port());
        eventually("nobody dials", || {
            let dialling = program::run(&mut netns.shell(&ask), None)?;
            Ok((!dialling.is_empty()).then_some(()))
        })
    }

    /// Makes room, and tells what the next connection says first: a byte, or how it ends.
    ///
    /// # Errors
    /// When nobody comes.
    pub fn next(&self) -> io::Result<io::Result<usize>> {
        let _filled = self.listener.accept()?;
        // A SYN is sent again after at most so long.
        SockRef::from(&self.listener).set_read_timeout(Some(PATIENCE))?;
        let (mut stream, _peer) = self.listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream.read(&mut [0]))
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
