//! Recorded packets, and looking into them.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::LabError;

/// Packets of one or more links, each link's in order.
#[derive(Clone, Debug, Default)]
pub struct Packets(Vec<Packet>);

/// A packet as it was on the wire, from its Ethernet header on. One that passes from node to node is on the links of
/// both.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The node whose link it was on.
    link: Arc<str>,
    frame: Vec<u8>,
    flow: Option<Flow>,
}

/// Between whom, as far as the packet is IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    /// Of TCP and UDP.
    ports: Option<(u16, u16)>,
}

impl Packets {
    /// Reads a file of the classic format of libpcap, in this machine's byte order.
    pub(crate) fn read(path: &Path, link: &Arc<str>) -> Result<Self, LabError> {
        let bytes = fs::read(path).map_err(LabError::file(path))?;
        let wrong = |problem: &str| LabError::Unreadable {
            what: path.display().to_string(),
            problem: problem.to_owned(),
        };
        if bytes.first_chunk() != Some(&MAGIC.to_ne_bytes()) {
            return Err(wrong("no capture of this machine"));
        }
        let (mut rest, mut packets) = (&bytes[FILE_HEADER..], Vec::new());
        // The last record may be half written while the capture goes on.
        while let Some((header, after)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *header;
            let length =
                usize::try_from(u32::from_ne_bytes([a, b, c, d])).map_err(|_| wrong("a giant packet"))?;
            let Some((frame, after)) = after.split_at_checked(length) else { break };
            packets.push(Packet::new(frame, link.clone()));
            rest = after;
        }
        Ok(Self(packets))
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Every packet.
    pub fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.0.iter()
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many hold `bytes`.
    pub fn holding(&self, bytes: &[u8]) -> usize {
        self.iter().filter(|packet| packet.holds(bytes)).count()
    }

    /// Those between the two addresses, either way.
    #[must_use]
    pub fn between(&self, one: IpAddr, other: IpAddr) -> Self {
        self.only(|flow| [(one, other), (other, one)].contains(&(flow.source, flow.destination)))
    }

    /// Those with the TCP or UDP port at either end.
    #[must_use]
    pub fn of_port(&self, port: u16) -> Self {
        self.only(|flow| flow.ports.is_some_and(|(from, to)| from == port || to == port))
    }

    /// Those on the link of that node.
    #[must_use]
    pub fn on_link_of(&self, node: &str) -> Self {
        Self(self.iter().filter(|packet| &*packet.link == node).cloned().collect())
    }

    fn only(&self, wanted: impl Fn(&Flow) -> bool) -> Self {
        Self(self.iter().filter(|it| it.flow.as_ref().is_some_and(&wanted)).cloned().collect())
    }
}

impl Packet {
    fn new(frame: &[u8], link: Arc<str>) -> Self {
        Self { link, frame: frame.to_vec(), flow: Flow::of(frame) }
    }

    /// Whether the bytes are anywhere in it.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.frame.windows(bytes.len()).any(|window| window == bytes)
    }

    /// Its source and destination, if it is IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        self.flow.map(|flow| (flow.source, flow.destination))
    }

    /// Its source and destination port, if it is TCP or UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        self.flow.and_then(|flow| flow.ports)
    }

    /// The frame, from its Ethernet header on.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

impl Flow {
    fn of(frame: &[u8]) -> Option<Self> {
        let (header, packet) = frame.split_at_checked(ETHERNET)?;
        let (source, destination, protocol, length) = match header.last_chunk()? {
            [0x08, 0x00] => {
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
                let length = usize::from(packet[0] & 0xf) * 4;
                (IpAddr::from(source), IpAddr::from(destination), packet[9], length)
            }
            [0x86, 0xdd] => {
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
                (IpAddr::from(source), IpAddr::from(destination), packet[6], 40)
            }
            _ => return None,
        };
        let ports = packet.get(length..length + 4).filter(|_| [TCP, UDP].contains(&protocol));
        let ports = ports.map(|it| (u16::from_be_bytes([it[0], it[1]]), u16::from_be_bytes([it[2], it[3]])));
        Some(Self { source, destination, ports })
    }
}

/// Begins a file with microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_tells_between_whom_it_goes_and_what_it_holds() {
        let mut frame = vec![0; ETHERNET];
        frame[12] = 0x08;
        frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, TCP, 0, 0, 10, 244, 1, 10, 10, 244, 2, 11]);
        frame.extend([0x3a, 0xa0, 0x00, 0x50]);
        frame.extend(b"..marker..");
        let packets = Packets(vec![Packet::new(&frame, "node1".into())]);
        let (one, other) = ("10.244.1.10".parse().unwrap(), "10.244.2.11".parse().unwrap());
        assert_eq!(packets.between(other, one).of_port(15008).holding(b"marker"), 1);
        assert_eq!((packets.on_link_of("node1").len(), packets.on_link_of("node2").len()), (1, 0));
        assert_eq!(packets.between(one, one).len(), 0);
        assert_eq!(packets.of_port(443).len() + packets.holding(b"markers"), 0);
    }
}
