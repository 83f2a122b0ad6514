//! A DNS server that knows a few names: where daemons forward what the mesh does not know.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::serve::{Handler, Server};
use crate::{LabError, Netns};

/// A DNS server on port 53 of a namespace, over UDP and TCP.
#[derive(Debug)]
pub struct Dns {
    zone: Arc<Zone>,
    over: Arc<AtomicBool>,
    udp: Option<JoinHandle<()>>,
    _tcp: Server,
}

#[derive(Debug)]
struct Zone {
    /// By name, in lower case, without a final dot.
    names: BTreeMap<String, Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Dns {
    /// Serves names with their addresses; any other name does not exist.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(netns: &Netns, names: &[(&str, &[IpAddr])]) -> Result<Self, LabError> {
        let names = names.iter().map(|(name, ips)| (name.to_ascii_lowercase(), ips.to_vec())).collect();
        let zone = Arc::new(Zone { names, asked: Mutex::default() });
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let socket = netns.within(|| UdpSocket::bind((any, PORT)))?;
        socket.set_read_timeout(Some(STEP))?;
        let over = Arc::new(AtomicBool::new(false));
        let (end, known) = (over.clone(), zone.clone());
        let udp =
            thread::Builder::new().name("dns".to_owned()).spawn(move || known.serve_udp(&socket, &end))?;
        let known = zone.clone();
        let tcp = Server::start(netns, any, PORT, Handler::each(move |stream| known.serve_tcp(stream)))?;
        Ok(Self { zone, over, udp: Some(udp), _tcp: tcp })
    }

    /// The names that it was asked for, oldest first.
    pub fn asked(&self) -> Vec<String> {
        self.zone.asked().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(udp) = self.udp.take() {
            udp.join().expect("the DNS server does not panic");
        }
    }
}

impl Zone {
    fn serve_udp(&self, socket: &UdpSocket, over: &AtomicBool) {
        let mut query = [0; 4096];
        while !over.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
            if let Some(answer) = self.answer(&query[..length]) {
                let _client_is_gone = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, mut stream: &TcpStream) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            let answer = self.answer(&query).ok_or(io::ErrorKind::InvalidData)?;
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
    }

    /// RFC 1035 §4.1: the header, the question as it was, and A or AAAA records.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(query)?;
        let question = query.get(HEADER..end + 4)?;
        let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
        let known = self.names.get(&name);
        self.asked().push(name);
        let wanted = |ip: &&IpAddr| if ip.is_ipv4() { kind == TYPE_A } else { kind == TYPE_AAAA };
        let found: Vec<_> = known.into_iter().flatten().filter(wanted).collect();
        let code = if known.is_some() { NO_ERROR } else { NO_SUCH_NAME };
        let mut answer = query.get(..2)?.to_vec();
        answer.extend([0x85, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
        answer.extend(question);
        for ip in found {
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            // The name is that of the question; class IN, 30 s.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 30, 0, u8::try_from(octets.len()).ok()?]);
            answer.extend(octets);
        }
        Some(answer)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The question's name in lower case, and where it ends.
fn read_name(query: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (HEADER, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

const PORT: u16 = 53;

/// Bytes of a message before its question.
const HEADER: usize = 12;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// How soon the server notices its end.
const STEP: Duration = Duration::from_millis(50);
