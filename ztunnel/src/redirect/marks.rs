//! The marks by which rules tell the daemon's packets from the pod's.

use std::io;

/// The three marks of one pod: random, non-zero, all different.
///
/// Whole 32-bit values are compared, so a process in the pod that may set marks (NET_RAW is enough) has to guess one
/// in 2^30 to pass for the daemon. Marks stay inside the pod's namespace: the kernel clears a packet's mark when it
/// crosses a veth pair. Bits 14 and 15 are never set, as a best effort for set-ups where marks do survive: kube-proxy
/// reads exactly these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks {
    /// Socket mark of the daemon's own sockets: never redirected.
    pub socket: u32,
    /// Connection mark of connections that the daemon opened towards the pod under a client's address. The pod's
    /// answers carry it as their packet mark, and policy routing brings them back to the daemon.
    pub spoofed: u32,
    /// Connection mark of everything that was redirected: what is left in the connection table when capture ends.
    pub redirected: u32,
}

impl Marks {
    /// Draws new marks.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn random() -> io::Result<Self> {
        loop {
            let mut bytes = [[0; 4]; 3];
            getrandom::fill(bytes.as_flattened_mut()).map_err(io::Error::from)?;
            let [socket, spoofed, redirected] = bytes.map(|it| u32::from_ne_bytes(it) & !RESERVED);
            let marks = Self { socket, spoofed, redirected };
            if marks.is_sound() {
                return Ok(marks);
            }
        }
    }

    const fn is_sound(self) -> bool {
        let Self { socket, spoofed, redirected } = self;
        socket != 0
            && spoofed != 0
            && redirected != 0
            && socket != spoofed
            && socket != redirected
            && spoofed != redirected
    }
}

/// kube-proxy's masquerade and drop bits.
const RESERVED: u32 = 0xc000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn marks_are_random_and_leave_reserved_bits_alone() {
        let drawn: Vec<Marks> = (0..64).map(|_| Marks::random().unwrap()).collect();
        assert_eq!(drawn.iter().map(|it| it.socket).collect::<BTreeSet<_>>().len(), 64);
        for marks in drawn {
            assert!(marks.is_sound());
            assert_eq!((marks.socket | marks.spoofed | marks.redirected) & 0xc000, 0);
        }
    }
}
