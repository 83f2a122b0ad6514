//! Which congestion control our sockets use.
//!
//! One that paces what it sends, as BBR does where it is the system's choice, has the kernel set a timer for each
//! packet of a bulk transfer. A tunnelled connection consists of three, so that would take as much processor time as
//! all else together. What never leaves a pod knows no congestion, and tunnels mostly join nodes of one site.

use std::io;

use daemon::config::Value;
use socket2::{Domain, Protocol, Socket, Type};

/// A congestion control, by the kernel's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongestionControl {
    /// Padded by zeros. Empty for what the socket's namespace has as default (`net.ipv4.tcp_congestion_control`).
    name: [u8; MAX_NAME],
}

impl CongestionControl {
    /// Whatever the socket's namespace uses.
    pub const SYSTEM: Self = Self::named(b"");

    /// Linux's own default, which does not pace and is at home on long ways too (RFC 9438).
    pub const CUBIC: Self = Self::named(b"cubic");

    /// What every kernel has: for connections inside a pod.
    pub(super) const RENO: Self = Self::named(b"reno");

    const fn named(text: &[u8]) -> Self {
        let mut name = [0; MAX_NAME];
        let (front, _) = name.split_at_mut(text.len());
        front.copy_from_slice(text);
        Self { name }
    }

    /// This, or the system's and a warning where the kernel does not have this one.
    #[must_use]
    pub fn or_system(self) -> Self {
        let tried = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
            .and_then(|socket| self.apply(&socket));
        match tried {
            Ok(()) => self,
            Err(error) => {
                let name = self.show();
                tracing::warn!(%error, %name, "the kernel lacks this congestion control; tunnels use the system's");
                Self::SYSTEM
            }
        }
    }

    /// Sets it on a socket that is not connected yet; what a listener accepts inherits it.
    pub(super) fn apply(self, socket: &Socket) -> io::Result<()> {
        match self.text() {
            "" => Ok(()),
            name => socket.set_tcp_congestion(name.as_bytes()),
        }
    }

    fn text(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(MAX_NAME);
        std::str::from_utf8(&self.name[..end]).unwrap_or_default()
    }
}

impl Value for CongestionControl {
    const WANT: &'static str = "system, or a name from net.ipv4.tcp_available_congestion_control";

    fn parse(text: &str) -> Option<Self> {
        if text == SYSTEM {
            return Some(Self::SYSTEM);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = !text.is_empty() && text.len() < MAX_NAME && text.bytes().all(is_name);
        fits.then(|| Self::named(text.as_bytes()))
    }

    fn show(&self) -> String {
        match self.text() {
            "" => SYSTEM.to_owned(),
            name => name.to_owned(),
        }
    }
}

const SYSTEM: &str = "system";

/// The kernel's limit, with the zero behind a name (TCP_CA_NAME_MAX).
const MAX_NAME: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn in_use(socket: &Socket) -> CongestionControl {
        let name = socket.tcp_congestion().unwrap();
        CongestionControl::parse(std::str::from_utf8(&name).unwrap().trim_end_matches('\0')).unwrap()
    }

    fn socket() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap()
    }

    #[test]
    fn a_socket_uses_what_it_is_given() {
        let socket = socket();
        CongestionControl::RENO.apply(&socket).unwrap();
        assert_eq!(in_use(&socket), CongestionControl::RENO);
        CongestionControl::SYSTEM.apply(&socket).unwrap();
        assert_eq!(in_use(&socket), CongestionControl::RENO);
    }

    #[test]
    fn what_the_kernel_lacks_is_left_to_the_system() {
        assert_eq!(CongestionControl::named(b"nonsense").or_system(), CongestionControl::SYSTEM);
        assert_eq!(CongestionControl::RENO.or_system(), CongestionControl::RENO);
    }

    #[test]
    fn names_are_read_as_they_are_shown_and_long_ones_refused() {
        for text in ["system", "cubic", "bbr", "a234567890bcdef"] {
            assert_eq!(CongestionControl::parse(text).unwrap().show(), text);
        }
        for text in ["", "a234567890bcdefg", "no name"] {
            assert_eq!(CongestionControl::parse(text), None);
        }
    }
}
