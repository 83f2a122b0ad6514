//! A non-blocking TCP socket on the reactor of one worker.
//!
//! tokio's `TcpStream` hides short reads: it asks the kernel once more to learn that nothing is left. Here a short
//! read clears readiness by itself, which saves one syscall per message. The end of the stream survives that:
//! tokio keeps "closed" readiness as a final state.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, Socket as RawSocket};
use tokio::io::unix::AsyncFd;

/// A connected (or connecting) TCP socket, registered with the current runtime.
#[derive(Debug)]
pub struct Socket {
    io: AsyncFd<RawSocket>,
}

impl Socket {
    /// Registers `raw` with the current runtime and makes it non-blocking.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking, or the reactor is out of descriptors.
    pub fn new(raw: RawSocket) -> io::Result<Self> {
        raw.set_nonblocking(true)?;
        Ok(Self { io: AsyncFd::new(raw)? })
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// What connect(2) reports.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(raw: RawSocket, address: SocketAddr) -> io::Result<Self> {
        raw.set_nonblocking(true)?;
        match raw.connect(&address.into()) {
            Ok(()) => return Self::new(raw),
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let socket = Self::new(raw)?;
        socket.io.writable().await?.retain_ready();
        match socket.io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(socket),
        }
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    /// What recv(2) reports, `ECONNRESET` included.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_recv_vectored(cx, &mut [IoSliceMut::new(buffer)])
    }

    /// Reads into several buffers at once; 0 is the end of the stream.
    ///
    /// # Errors
    /// What recvmsg(2) reports, `ECONNRESET` included.
    pub fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.io.poll_read_ready(cx))?;
            match self.io.get_ref().read_vectored(buffers) {
                Ok(count) => {
                    if count != 0 && count < buffers.iter().map(|b| b.len()).sum() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes as much of `buffers` as the kernel takes.
    ///
    /// # Errors
    /// What sendmsg(2) reports.
    pub fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.io.poll_write_ready(cx))?;
            match self.try_send_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Writes as much of `buffer` as the kernel takes.
    ///
    /// # Errors
    /// What sendmsg(2) reports.
    pub fn poll_send(&self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, &[IoSlice::new(buffer)])
    }

    /// Writes without asking the reactor first, and without waiting: `WouldBlock` when the kernel's buffer is full.
    ///
    /// # Errors
    /// What sendmsg(2) reports.
    pub fn try_send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.io.get_ref().write_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Sends a FIN: the end of our half of the connection.
    ///
    /// # Errors
    /// What shutdown(2) reports, e.g. when the peer has reset the connection.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.io.get_ref().shutdown(std::net::Shutdown::Write)
    }

    /// Makes the coming close send RST instead of FIN, dropping what is still unsent.
    pub fn reset_on_close(&self) {
        // A socket that cannot take the option any more is one that the peer has reset already.
        let _already_gone = self.io.get_ref().set_linger(Some(Duration::ZERO));
    }

    /// The underlying socket, for its options.
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}
