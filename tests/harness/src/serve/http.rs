//! As much of an HTTP/1.1 server as curl and wrk need.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::serve::Handler;

/// Answers every request with 200 and `body`; headers tell the client's address and the path that it asked for.
pub fn http(body: impl Into<String>) -> Handler {
    let body = body.into();
    Handler::each(move |stream| answer_all(stream, &body))
}

fn answer_all(mut stream: &TcpStream, body: &str) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader)? {
        let last = head.contains("connection: close");
        let connection = if last { "close" } else { "keep-alive" };
        let (ip, path) = (peer.ip().to_canonical(), head.split(' ').nth(1).unwrap_or_default());
        // In one piece: each write would be a packet of its own.
        let answer = format!(
            "HTTP/1.1 200 OK\r\nx-peer: {ip}\r\nx-path: {path}\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes())?;
        if last {
            break;
        }
    }
    Ok(())
}

/// A request's head in lower case; none at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(Some(head.to_ascii_lowercase()))
}

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
