//! A non-blocking stream socket, nearly always of TCP, on the reactor of one worker.
//!
//! tokio's `TcpStream` hides short reads: it asks the kernel once more to learn that nothing is left. Here a short
//! read clears readiness by itself, which saves one syscall per message. The end of the stream survives that:
//! tokio keeps "closed" readiness as a final state.

use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use socket2::{Domain, SockRef, Socket as RawSocket, Type};
use tokio::io::unix::AsyncFd;

/// A connected (or connecting) socket, registered with the current runtime.
#[derive(Debug)]
pub struct Socket {
    io: AsyncFd<RawSocket>,
    /// The reactor was made to forget that there is something to read.
    unread: Cell<bool>,
    /// The reactor was made to forget that there is room to write.
    unwritten: Cell<bool>,
    /// Closing it sends RST.
    resets: Cell<bool>,
}

impl Socket {
    /// Registers `raw` with the current runtime and makes it non-blocking.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking, or the reactor is out of descriptors.
    pub fn new(raw: RawSocket) -> io::Result<Self> {
        raw.set_nonblocking(true)?;
        Self::from_nonblocking(raw)
    }

    /// Registers a socket that is non-blocking already.
    ///
    /// # Errors
    /// When the reactor is out of descriptors.
    pub fn from_nonblocking(raw: RawSocket) -> io::Result<Self> {
        let io = register(raw)?;
        Ok(Self { io, unread: Cell::new(false), unwritten: Cell::new(false), resets: Cell::new(false) })
    }

    /// Two sockets within this process, joined: what is written to one is read from the other. Their kernel buffers
    /// bound what is on its way. Closing one is an end to the other, and a reset where something was left unread.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = RawSocket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        Ok((Self::from_nonblocking(one)?, Self::from_nonblocking(other)?))
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// What connect(2) reports.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    ///
    /// `raw` must be non-blocking.
    pub async fn connect(raw: RawSocket, address: SocketAddr) -> io::Result<Self> {
        match raw.connect(&address.into()) {
            Ok(()) => return Self::from_nonblocking(raw),
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let socket = Self::from_nonblocking(raw)?;
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
        if self.unread.take() {
            match read(self.io.get_ref(), buffers) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // The reactor knows nothing of what is left.
                result => {
                    self.unread.set(true);
                    return Poll::Ready(result);
                }
            }
        }
        loop {
            let mut guard = ready!(self.io.poll_read_ready(cx))?;
            match read(self.io.get_ref(), buffers) {
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
            let Poll::Ready(guard) = self.io.poll_write_ready(cx) else {
                return self.try_forgotten(|| self.try_send_vectored(buffers));
            };
            let mut guard = guard?;
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
            match write(self.io.get_ref(), buffers) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Runs `read` when there may be something to read, and again until it does not say `WouldBlock`.
    ///
    /// # Errors
    /// What `read` reports.
    pub fn poll_read_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if self.unread.take() {
            match read(self.as_fd()) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => {
                    self.unread.set(true);
                    return Poll::Ready(result);
                }
            }
        }
        loop {
            let mut guard = ready!(self.io.poll_read_ready(cx))?;
            match read(self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Whether the connection has failed, mostly by a reset, while nobody wants its bytes: these stay where they are.
    /// Behind the end of the stream, it is to be asked after whoever writes in the same turn of the reactor: room that
    /// comes between the two would be forgotten.
    pub fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut guard = match ready!(self.io.poll_read_ready(cx)) {
                Ok(guard) => guard,
                Err(error) => return Poll::Ready(error),
            };
            if guard.ready().is_read_closed() {
                return self.poll_failure_behind_end(cx);
            }
            // Only who finds nothing is woken by what comes.
            guard.clear_ready();
            self.unread.set(true);
        }
    }

    /// [`poll_failure`](Self::poll_failure) of a connection whose end has come. The reactor never forgets that, so
    /// nothing wakes a reader any more; but whatever fails a connection ends the way out, too.
    fn poll_failure_behind_end(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut guard = match ready!(self.io.poll_write_ready(cx)) {
                Ok(guard) => guard,
                Err(error) => return Poll::Ready(error),
            };
            if guard.ready().is_write_closed() {
                // Without an error, who was at the other end of a pair is gone: nothing is left that could fail.
                return match self.io.get_ref().take_error() {
                    Ok(Some(error)) | Err(error) => Poll::Ready(error),
                    Ok(None) => Poll::Pending,
                };
            }
            guard.clear_ready();
            self.unwritten.set(true);
        }
    }

    /// Runs `write` where only the reactor knows of no room. It has the task woken when there is.
    fn try_forgotten<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
        while self.unwritten.take() {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.unwritten.set(true),
                result => {
                    self.unwritten.set(true);
                    return Poll::Ready(result);
                }
            }
        }
        Poll::Pending
    }

    /// Runs `write` when there may be room to write, and again until it does not say `WouldBlock`.
    ///
    /// # Errors
    /// What `write` reports.
    pub fn poll_write_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let Poll::Ready(guard) = self.io.poll_write_ready(cx) else {
                return self.try_forgotten(|| write(self.as_fd()));
            };
            let mut guard = guard?;
            match write(self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
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

    /// Makes the coming close send RST instead of FIN, dropping what is still unsent: whoever is at the other end must
    /// not take for an end what is none. Costs nothing before the socket is closed.
    pub fn reset_on_close(&self) {
        self.resets.set(true);
    }

    /// Makes the coming close send FIN, as it does where nothing else was said.
    pub fn end_on_close(&self) {
        self.resets.set(false);
    }

    /// The underlying socket, for its options.
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }
}

/// A listening TCP socket, registered with the current runtime.
#[derive(Debug)]
pub struct Listener {
    io: AsyncFd<RawSocket>,
}

impl Listener {
    /// Registers a listening, non-blocking socket with the current runtime.
    ///
    /// # Errors
    /// When the reactor is out of descriptors.
    pub fn new(raw: RawSocket) -> io::Result<Self> {
        Ok(Self { io: register(raw)? })
    }

    /// The next connection, non-blocking, and who opened it. Not registered: it may be for another worker.
    ///
    /// # Errors
    /// What accept4(2) reports; `EMFILE` and the like leave the connection where it is.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<RawSocket> {
        loop {
            let mut guard = self.io.readable().await?;
            match self.try_accept()? {
                Some(socket) => return Ok(socket),
                None => guard.clear_ready(),
            }
        }
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn try_accept(&self) -> io::Result<Option<RawSocket>> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        loop {
            match accept4(self.io.get_ref().as_raw_fd(), flags) {
                Ok(fd) => return Ok(Some(adopt(fd))),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// recv(2) where it will do: recvmsg(2) has the kernel copy and check two structures more.
fn read(mut socket: &RawSocket, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match buffers {
        [buffer] => socket.read(buffer),
        several => socket.read_vectored(several),
    }
}

/// send(2) where it will do.
fn write(mut socket: &RawSocket, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    match buffers {
        [buffer] => socket.write(buffer),
        several => socket.write_vectored(several),
    }
}

/// The kernel has just made `fd` for us.
#[expect(unsafe_code, reason = "nix hands accepted sockets out as numbers")]
fn adopt(fd: std::os::fd::RawFd) -> RawSocket {
    // SAFETY: accept4(2) returned the descriptor this moment, so it is open and nobody else's.
    unsafe { RawSocket::from_raw_fd(fd) }
}

#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn register(raw: RawSocket) -> io::Result<AsyncFd<RawSocket>> {
    // SAFETY: `raw` owns its descriptor, always shows the same one, and goes into the registration as a whole: it is
    // closed when that is dropped and not before.
    let registered = unsafe { AsyncFd::register(raw) };
    registered.map_err(|refused| {
        let (raw, error) = refused.into_parts();
        reset(&raw);
        error
    })
}

/// Makes the coming close send RST.
fn reset(socket: &RawSocket) {
    // A socket that cannot take the option any more is one that the peer has reset already.
    let _already_gone = socket.set_linger(Some(Duration::ZERO));
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.resets.get() {
            reset(self.io.get_ref());
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests;
