//! Much in both directions at once, every byte checked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread;

use crate::{LabError, Pod};

/// Sends `length` bytes to a server that sends them back, and checks each that comes.
///
/// # Errors
/// When the connection breaks, or a byte is wrong or missing.
pub fn exchange(client: &Pod, echo: SocketAddr, length: usize) -> Result<(), LabError> {
    let stream = client.connect(echo)?;
    let mut writer = stream.try_clone()?;
    let writing = thread::spawn(move || -> std::io::Result<()> {
        let mut at = 0;
        while at < length {
            let chunk = noise(at, CHUNK.min(length - at));
            writer.write_all(chunk)?;
            at += chunk.len();
        }
        writer.shutdown(Shutdown::Write)
    });
    let heard = check(&stream)?;
    writing.join().expect("the writer does not panic")?;
    if heard == length { Ok(()) } else { Err(wrong(format!("{heard} of {length} bytes came back"))) }
}

/// Reads to the end and checks every byte; how many there were.
fn check(mut stream: &TcpStream) -> Result<usize, LabError> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(at);
        }
        if buffer[..count] != *noise(at, count) {
            return Err(wrong(format!("a byte between {at} and {} is wrong", at + count)));
        }
        at += count;
    }
}

/// What is sent: it repeats itself after so odd a number of bytes that none that is lost or doubled goes unseen.
fn noise(at: usize, length: usize) -> &'static [u8] {
    static TWICE: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |at: usize| ((at % PERIOD).wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
    let twice = TWICE.get_or_init(|| (0..2 * PERIOD).map(byte).collect());
    &twice[at % PERIOD..][..length]
}

fn wrong(problem: String) -> LabError {
    LabError::Unreadable { what: "what an echo sent back".to_owned(), problem }
}

/// A prime.
const PERIOD: usize = 1_048_573;

/// Bytes that are read or written at once.
const CHUNK: usize = 256 << 10;
