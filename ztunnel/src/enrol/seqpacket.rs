//! Unix sockets that keep packets apart: bound for root only, one JSON object a packet.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::fdpass;
use super::protocol::{MAX_PACKET, Packet, VERSION};

/// A listening socket at a path. The path goes when it is dropped, unless the next process has put its own there.
#[derive(Debug)]
pub(super) struct PacketListener {
    socket: Socket,
    path: PathBuf,
    inode: u64,
}

/// One end of a conversation.
#[derive(Debug)]
pub(super) struct PacketStream {
    socket: Socket,
}

/// Why a packet could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The other side hung up.
    #[error("the other side hung up")]
    Closed,
    /// The socket failed.
    #[error("socket failed")]
    Io(#[source] io::Error),
    /// Not what the protocol says.
    #[error("packet is not what the protocol says")]
    Malformed(#[source] serde_json::Error),
    /// Another version of the protocol.
    #[error("protocol version {got} is not spoken here, only {VERSION}")]
    Version {
        /// What the other side speaks.
        got: u32,
    },
}

impl PacketListener {
    /// Listens at `path`, for root alone. A socket that a dead daemon left there is replaced.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
        // Before bind: the file is then born with this mode.
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        let inode = fs::metadata(path)?.ino();
        Ok(Self { socket, path: path.to_owned(), inode })
    }

    /// The next caller, if one waits.
    pub(super) fn accept(&self) -> io::Result<Option<PacketStream>> {
        match self.socket.accept() {
            Ok((socket, _unnamed)) => PacketStream::with_patience(socket, SERVER_PATIENCE).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl PacketStream {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Self::with_patience(socket, CLIENT_PATIENCE)
    }

    /// Whether the other side is root.
    pub(super) fn is_root(&self) -> io::Result<bool> {
        Ok(getsockopt(&self.socket, sockopt::PeerCredentials)?.uid() == 0)
    }

    pub(super) fn send<T: Serialize>(&self, body: &T, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let packet = serde_json::to_vec(&Packet { version: VERSION, body })?;
        fdpass::send(self.socket.as_fd(), &packet, fd)
    }

    pub(super) fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), PacketError> {
        let mut buffer = vec![0; MAX_PACKET];
        let (length, fds) = fdpass::receive(self.socket.as_fd(), &mut buffer).map_err(PacketError::Io)?;
        if length == 0 {
            return Err(PacketError::Closed);
        }
        Ok((read_packet(&buffer[..length])?, fds))
    }

    fn with_patience(socket: Socket, patience: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Self { socket })
    }
}

impl AsFd for PacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for PacketStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PacketListener {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            let _already_gone = fs::remove_file(&self.path);
        }
    }
}

/// What a packet says: a [`Request`](super::Request) or an [`Answer`](super::Answer).
///
/// # Errors
/// When it is of another version of the protocol, or of none.
pub fn read_packet<T: DeserializeOwned>(packet: &[u8]) -> Result<T, PacketError> {
    // The body of another version may be anything, so the version is looked at first.
    let packet: Packet<serde_json::Value> = serde_json::from_slice(packet).map_err(PacketError::Malformed)?;
    if packet.version != VERSION {
        return Err(PacketError::Version { got: packet.version });
    }
    serde_json::from_value(packet.body).map_err(PacketError::Malformed)
}

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 64;
/// How long the daemon waits for a caller to take its answer: everything else of enrolment waits meanwhile.
const SERVER_PATIENCE: Duration = Duration::from_secs(1);
/// How long a caller waits for an answer: behind a hundred others that start with it, an enrolment takes seconds.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_keeps_its_socket_when_the_predecessor_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("enrol.sock");
        let old = PacketListener::bind(&path).unwrap();
        let new = PacketListener::bind(&path).unwrap();
        drop(old);
        let caller = PacketStream::connect(&path).unwrap();
        assert!(new.accept().unwrap().unwrap().is_root().unwrap());
        drop((caller, new));
        assert!(!path.exists());
    }
}
