//! Queries over TCP (RFC 7766): pipelined, answered in the order in which answers come.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::exchange::{Transport, framed};
use super::pod::{PodDns, Turn};
use super::proxy::ended_well;
use crate::redirect::original_destination;

/// Accepts and serves connections of one listener, for as long as it is polled.
pub(super) async fn serve(dns: Arc<PodDns>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                ended_well(ended);
            }
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(dns.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(pod = %dns.captured().pod.uid, %error, "DNS connection cannot be accepted");
                    sleep(RECOVERY).await;
                }
            }
        }
    }
}

async fn connection(dns: Arc<PodDns>, stream: TcpStream) {
    let origin = original_destination(&stream).ok();
    // A client that hangs up, or is hung up on, has nothing to be told.
    if let Err(error) = (Connection { dns, origin, stream, input: BytesMut::new() }).serve().await {
        tracing::debug!(%error, "DNS connection ended");
    }
}

struct Connection {
    dns: Arc<PodDns>,
    origin: Option<SocketAddr>,
    stream: TcpStream,
    input: BytesMut,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        let mut forwards: JoinSet<Option<Vec<u8>>> = JoinSet::new();
        let mut is_open = true;
        loop {
            self.take_all(&mut forwards).await?;
            let waiting = forwards.len();
            if !is_open && waiting == 0 {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = forwards.join_next() => {
                    if let Some(reply) = ended_well(ended).flatten() {
                        self.send(&reply).await?;
                    }
                }
                read = timeout(IDLE, self.stream.read_buf(&mut self.input)),
                    if is_open && waiting < MAX_PIPELINED => match read {
                    Ok(read) => is_open = read? > 0,
                    // Nothing was asked for long: time to part, unless answers are awaited still.
                    Err(_elapsed) => is_open = false,
                }
            }
        }
    }

    /// Decides about all messages that are complete, as long as more may wait for answers. Each answer is sent before
    /// the next is made: they may be much longer than what they answer.
    async fn take_all(&mut self, forwards: &mut JoinSet<Option<Vec<u8>>>) -> io::Result<()> {
        while forwards.len() < MAX_PIPELINED
            && let Some(message) = next_message(&mut self.input)
        {
            let origin = || self.origin.ok_or_else(|| io::ErrorKind::NotFound.into());
            match self.dns.take(&message, Transport::Tcp, origin) {
                Turn::Drop => {}
                Turn::Forward(forward) => {
                    let dns = self.dns.clone();
                    forwards.spawn(async move { dns.forward(forward).await });
                }
                Turn::Reply(reply) => self.send(&reply).await?,
            }
        }
        Ok(())
    }

    async fn send(&mut self, reply: &[u8]) -> io::Result<()> {
        let framed = framed(reply)?;
        let sent = timeout(IDLE, self.stream.write_all(&framed)).await;
        sent.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The next message, once all of it is there.
fn next_message(input: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes(*input.first_chunk()?));
    if input.len() < PREFIX + length {
        return None;
    }
    input.advance(PREFIX);
    Some(input.split_to(length))
}

/// Connections of one pod and family at a time; more wait in the listen queue. Resolvers use one or two.
const MAX_CONNECTIONS: usize = 64;
/// Queries of one connection that wait for name servers: a client that asks more waits to be read.
const MAX_PIPELINED: usize = 16;
/// How long a connection may say nothing, or take no answer: RFC 7766 §6.2.3 asks for seconds.
const IDLE: Duration = Duration::from_secs(10);
/// Pause after an error that would be there again at once, such as want of files.
const RECOVERY: Duration = Duration::from_millis(50);
/// Size of a message's length.
const PREFIX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_and_one_at_a_time() {
        let mut input = BytesMut::from(&b"\0\x02ab\0\0\0\x03cd"[..]);
        assert_eq!(next_message(&mut input).unwrap(), b"ab"[..]);
        assert_eq!(next_message(&mut input).unwrap(), b""[..]);
        assert_eq!(next_message(&mut input), None);
        input.extend_from_slice(b"e");
        assert_eq!(next_message(&mut input).unwrap(), b"cde"[..]);
        assert_eq!(next_message(&mut input), None);
    }
}
