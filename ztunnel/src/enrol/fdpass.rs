//! File descriptors over a Unix socket.
#![expect(unsafe_code, reason = "the kernel hands over descriptors as bare numbers")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends one packet, with a descriptor or without.
pub(super) fn send(socket: BorrowedFd<'_>, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let fds = fd.map(|fd| [fd.as_raw_fd()]);
    let control = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    let bytes = [IoSlice::new(packet)];
    sendmsg::<()>(socket.as_raw_fd(), &bytes, control.as_slice(), MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one packet and the descriptors that came with it, all closed on exec. Length 0 is the end.
///
/// # Errors
/// `InvalidData` when packet or descriptors did not fit.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([i32; 2]);
    let mut bytes = [IoSliceMut::new(buffer)];
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    let truncated = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
    let cut = received.flags.intersects(truncated);
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: recvmsg has just made these descriptors for this process, and nobody else knows of them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if cut { Err(io::ErrorKind::InvalidData.into()) } else { Ok((received.bytes, fds)) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn a_descriptor_arrives_with_its_packet() {
        let (near, far) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        file.rewind().unwrap();
        send(near.as_fd(), b"packet", Some(file.as_fd())).unwrap();
        send(near.as_fd(), b"bare", None).unwrap();
        let mut buffer = [0; 16];
        let (length, mut fds) = receive(far.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"packet"[..], 1));
        let mut read = String::new();
        File::from(fds.remove(0)).read_to_string(&mut read).unwrap();
        assert_eq!(read, "inside");
        let (length, fds) = receive(far.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"bare"[..], 0));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error() {
        let (near, far) = pair();
        send(near.as_fd(), b"too long", None).unwrap();
        assert_eq!(receive(far.as_fd(), &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
