//! A name server in the peer's namespace, with odd habits.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use ztunnel::netns::{PodNetns, in_netns};

/// Listens on port 53 of these addresses. Answers `A` with 203.0.113.4 where it was asked by IPv4, and 203.0.113.6
/// where it was by IPv6.
pub(crate) struct Server {
    sockets: Vec<(IpAddr, StdSocket, StdListener)>,
}

impl Server {
    pub(crate) fn bind(netns: &PodNetns, ips: &[IpAddr]) -> Self {
        let bound = |ip: &IpAddr| {
            let sockets =
                in_netns(netns, || Ok((StdSocket::bind((*ip, 53))?, StdListener::bind((*ip, 53))?)));
            let (udp, tcp) = sockets.unwrap();
            udp.set_nonblocking(true).unwrap();
            tcp.set_nonblocking(true).unwrap();
            (*ip, udp, tcp)
        };
        Self { sockets: ips.iter().map(bound).collect() }
    }

    pub(crate) fn serve(self, tasks: &mut JoinSet<io::Result<()>>) {
        let hurry = Arc::new(Notify::new());
        for (ip, udp, tcp) in self.sockets {
            tasks.spawn(by_udp(ip, UdpSocket::from_std(udp).unwrap()));
            tasks.spawn(by_tcp(ip, TcpListener::from_std(tcp).unwrap(), hurry.clone()));
        }
    }
}

async fn by_udp(ip: IpAddr, socket: UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let mut answer = answer(&query, ip);
        match host(&query).as_str() {
            "long" => {
                answer.answers.clear();
                answer.metadata.truncation = true;
            }
            "forged" => forge(&socket, &answer, client).await?,
            _ => {}
        }
        socket.send_to(&answer.to_vec().unwrap(), client).await?;
    }
}

/// What an attacker would send who sees the question, not its id; or the id, not the question.
async fn forge(socket: &UdpSocket, answer: &Message, client: SocketAddr) -> io::Result<()> {
    let mut forged = answer.clone();
    forged.answers = vec![record(&forged, RData::A(A([198, 51, 100, 66].into())))];
    let mut other_id = forged.clone();
    other_id.metadata.id = forged.id.wrapping_add(1);
    let mut other_name = forged;
    other_name.queries[0].set_name(Name::from_ascii("other.up.test.").unwrap());
    for lie in [other_id, other_name] {
        socket.send_to(&lie.to_vec().unwrap(), client).await?;
    }
    socket.send_to(b"nonsense", client).await?;
    Ok(())
}

async fn by_tcp(ip: IpAddr, listener: TcpListener, hurry: Arc<Notify>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(one_by_tcp(ip, stream, hurry.clone()));
    }
}

async fn one_by_tcp(ip: IpAddr, mut stream: TcpStream, hurry: Arc<Notify>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    let query = Message::from_vec(&bytes).unwrap();
    match host(&query).as_str() {
        // Answered once another question was.
        "slow" => hurry.notified().await,
        "fast" => hurry.notify_one(),
        _ => {}
    }
    let answer = answer(&query, ip).to_vec().unwrap();
    stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
    stream.write_all(&answer).await
}

fn answer(query: &Message, ip: IpAddr) -> Message {
    let mut answer = Message::new(query.id, MessageType::Response, OpCode::Query);
    answer.add_query(query.queries[0].clone());
    let data = match (query.queries[0].query_type(), ip) {
        (RecordType::A, IpAddr::V4(_)) => Some(RData::A(A([203, 0, 113, 4].into()))),
        (RecordType::A, IpAddr::V6(_)) => Some(RData::A(A([203, 0, 113, 6].into()))),
        (RecordType::AAAA, _) => Some(RData::AAAA(AAAA("2001:db8::53".parse().unwrap()))),
        _ => None,
    };
    match host(query).as_str() {
        "unwilling" => answer.metadata.response_code = ResponseCode::Refused,
        host if !query.queries[0].name().to_ascii().ends_with(".up.test.") || host == "nothing" => {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        "long" => {
            let data = |host| RData::A(A([203, 0, 113, host].into()));
            answer.answers = (0..200).map(|host| record(&answer, data(host))).collect();
        }
        _ => answer.answers.extend(data.map(|data| record(&answer, data))),
    }
    answer
}

fn record(answer: &Message, data: RData) -> Record {
    Record::from_rdata(answer.queries[0].name().clone(), 60, data)
}

/// The question's first label, without its case.
fn host(query: &Message) -> String {
    let name = query.queries[0].name().to_ascii().to_ascii_lowercase();
    name.split('.').next().unwrap_or_default().to_owned()
}
