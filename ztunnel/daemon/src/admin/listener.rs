//! Where the server listens: a Unix socket, the loopback interface, or (for metrics and probes only) any address, or
//! nowhere: who hands connections over decides about them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// Connections that somebody else in the process hands over, already made.
    Handed(mpsc::Receiver<StdUnixStream>),
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Binding failed.
    #[error("cannot listen on {on}")]
    Bind {
        /// Address or path.
        on: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The admin server is not for the network.
    #[error("admin address {addr} is not a loopback address")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// There is a file of another kind at the path.
    #[error("{path:?} exists and is not a socket")]
    NotSocket {
        /// The path.
        path: PathBuf,
    },
}

/// A connection of either kind.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on a loopback address.
    ///
    /// # Errors
    /// [`BindError`], also when `addr` is not a loopback address.
    pub async fn loopback(addr: SocketAddr) -> Result<Self, BindError> {
        if !addr.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback { addr });
        }
        Self::any(addr).await
    }

    /// Listens on any address: for metrics and probes. `[::]` means all of the node's addresses, also where the
    /// kernel has no IPv6.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn any(addr: SocketAddr) -> Result<Self, BindError> {
        let bound = bind_any(addr).await;
        bound.map(Self::Tcp).map_err(|source| BindError::Bind { on: addr.to_string(), source })
    }

    /// Listens on a socket at `path`, for its owner only. One that a dead process left there is replaced.
    ///
    /// # Errors
    /// [`BindError`], also when a file that is no socket is in the way.
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Bind { on: path.display().to_string(), source };
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(BindError::NotSocket { path: path.to_owned() }),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self::Unix(listener))
    }

    /// Its TCP address; none for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Handed(_) | Self::Unix(_) => None,
        }
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Self::Handed(connections) => match connections.recv().await {
                Some(connection) => UnixStream::from_std(connection).map(Stream::Unix),
                // Nobody is left to hand any over.
                None => std::future::pending().await,
            },
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// Listens on `addr`. `[::]` means all of the machine's addresses, also where the kernel has no IPv6.
///
/// # Errors
/// What the system answers.
pub async fn bind_any(addr: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(addr).await;
    let no_ipv6 = |error: &io::Error| error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32);
    if addr.is_ipv6() && addr.ip().is_unspecified() && bound.as_ref().is_err_and(no_ipv6) {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port())).await;
    }
    bound
}
