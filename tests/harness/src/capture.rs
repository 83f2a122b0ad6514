//! Recording what passes between nodes.

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::pcap::Packets;
use crate::process::Process;
use crate::{Lab, LabError, Netns, Node, PATIENCE, eventually};

/// A recording of the packets on every link of the wire, going on until it is stopped.
#[derive(Debug)]
pub struct Capture {
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    tcpdump: Process,
    file: PathBuf,
    complaints: PathBuf,
    /// The node at the end of the link.
    node: Arc<str>,
    ip: IpAddr,
}

/// Random text to look for: whoever sees it has seen the payload that it was put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(String);

impl Capture {
    pub(crate) fn start(lab: &Lab) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut links = Vec::new();
        for node in lab.nodes() {
            let file = lab.folder().join(format!("capture-{number}-{}.pcap", node.name()));
            links.push(Link::record(lab.wire(), node, file)?);
        }
        let capture = Self { links };
        capture.catch_up(lab)?;
        Ok(capture)
    }

    /// Stops recording once all is written that was sent so far, and hands it out.
    ///
    /// # Errors
    /// When packets were lost: what is not in the recording would prove nothing.
    pub fn stop(mut self, lab: &Lab) -> Result<Packets, LabError> {
        self.catch_up(lab)?;
        let mut packets = Packets::default();
        for link in &mut self.links {
            packets.append(link.stop()?);
        }
        Ok(packets)
    }

    /// What was recorded so far, of all that was sent before the call.
    ///
    /// # Errors
    /// When the recording stands still.
    pub fn so_far(&self, lab: &Lab) -> Result<Packets, LabError> {
        self.catch_up(lab)?;
        let mut packets = Packets::default();
        for link in &self.links {
            packets.append(Packets::read(&link.file, &link.node)?);
        }
        Ok(packets)
    }

    /// Sends a marked packet over each link and waits until it is written: a recorder that is ended before it has
    /// read its ring forgets what is there.
    fn catch_up(&self, lab: &Lab) -> Result<(), LabError> {
        for link in &self.links {
            let marker = Marker::random()?;
            eventually("a capture has caught up", || {
                let socket = lab.wire().within(|| UdpSocket::bind(("::", 0)))?;
                let node = match link.ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                socket.send_to(marker.as_bytes(), (node, DISCARD))?;
                let written =
                    link.file.exists().then(|| Packets::read(&link.file, &link.node).ok()).flatten();
                Ok(written.is_some_and(|packets| packets.holding(marker.as_bytes()) > 0).then_some(()))
            })?;
        }
        Ok(())
    }
}

impl Link {
    fn record(wire: &Netns, node: &Node, file: PathBuf) -> Result<Self, LabError> {
        let complaints = file.with_extension("log");
        let log = std::fs::File::create(&complaints).map_err(LabError::file(&complaints))?;
        let mut command = Command::new("tcpdump");
        command.args(["-U", "-n", "-s", "0", "-B", RING, "-Z", "root", "-i", node.port(), "-w"]);
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let tcpdump = Process::new("tcpdump", wire.spawn(&mut command)?);
        Ok(Self { tcpdump, file, complaints, node: node.name().into(), ip: node.ip() })
    }

    fn stop(&mut self) -> Result<Packets, LabError> {
        self.tcpdump.signal(Signal::SIGINT)?;
        self.tcpdump.wait(PATIENCE)?;
        let told = std::fs::read_to_string(&self.complaints).map_err(LabError::file(&self.complaints))?;
        if !told.contains("\n0 packets dropped by kernel") {
            return Err(LabError::Unreadable { what: "tcpdump lost packets".to_owned(), problem: told });
        }
        Packets::read(&self.file, &self.node)
    }
}

impl Marker {
    /// A marker that was never used before.
    ///
    /// # Errors
    /// When the kernel has no random bytes.
    pub fn random() -> Result<Self, LabError> {
        let number = getrandom::u64().map_err(std::io::Error::other)?;
        Ok(Self(format!("mark-{number:016x}")))
    }

    /// The marker as bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A payload of at least so many bytes that holds nothing else, so that each packet of it has the marker.
    pub fn payload(&self, bytes: usize) -> Vec<u8> {
        self.0.repeat(bytes.div_ceil(self.0.len())).into_bytes()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// KiB of packets that wait to be written.
const RING: &str = "32768";

/// A port where nobody listens.
const DISCARD: u16 = 9;
