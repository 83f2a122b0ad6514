//! TLS records, opened where they lie: whatever is sealed, cut and delivered arrives as it was; whatever was changed on
//! the way never does; and bytes that nobody sealed are refused.
#![no_main]

use fuzz::{Ends, Input, handshake};
use hbone::record::{HEADER, MAX_CONTENT, Opened, Records, TRAILER};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let Ends { mut client, server, mut to_client } = handshake();
    match input.byte() & 3 {
        0 => garbage(client, input.rest().to_vec()),
        1 => damaged(client, to_client, &mut input),
        _ => {
            tickets(&mut client, &mut to_client);
            client.update_keys_after(u64::from(input.byte()));
            let mut way = Way {
                sender: client,
                receiver: server,
                wire: Vec::new(),
                buffer: Vec::new(),
                want: Vec::new(),
            };
            while !input.is_empty() && way.turn(&mut input) {}
        }
    }
});

/// Bytes that the peer did not seal: refused, or not yet complete.
fn garbage(mut records: Records, mut buffer: Vec<u8>) {
    match records.open(&mut buffer) {
        Ok(Opened::Incomplete { needed }) => assert!(needed > buffer.len()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(error.alert().is_some()),
    }
}

/// What the server sent behind its handshake, with one byte changed.
fn damaged(mut records: Records, mut buffer: Vec<u8>, input: &mut Input<'_>) {
    let at = usize::from(input.u16()) % buffer.len();
    buffer[at] ^= input.byte().max(1);
    while !buffer.is_empty() {
        match records.open(&mut buffer) {
            Ok(Opened::Control { consumed }) => drop(buffer.drain(..consumed)),
            Ok(Opened::Incomplete { needed }) => return assert!(needed > buffer.len()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return assert!(error.alert().is_some()),
        }
    }
    // The version in a record's header means nothing, and is authenticated all the same.
    panic!("a changed byte was not noticed");
}

/// A client takes its tickets before it says anything.
fn tickets(client: &mut Records, buffer: &mut Vec<u8>) {
    while !buffer.is_empty() {
        match client.open(buffer) {
            Ok(Opened::Control { consumed }) => drop(buffer.drain(..consumed)),
            other => panic!("{other:?}"),
        }
    }
}

/// From one end to the other.
struct Way {
    sender: Records,
    receiver: Records,
    /// Sealed and not delivered.
    wire: Vec<u8>,
    /// Delivered and not opened.
    buffer: Vec<u8>,
    /// Content that is to come out.
    want: Vec<u8>,
}

impl Way {
    /// Whether the connection goes on.
    fn turn(&mut self, input: &mut Input<'_>) -> bool {
        match input.byte() % 16 {
            0..8 => {
                if self.sender.key_update_due() {
                    self.sender.key_update(&mut self.wire).expect("the schedule goes on");
                }
                let (length, first) = (input.size().min(MAX_CONTENT), input.byte());
                let content: Vec<u8> =
                    (0..length).map(|at| first.wrapping_add(at.to_le_bytes()[0])).collect();
                let mut record = vec![0; HEADER + length + TRAILER];
                record[HEADER..][..length].copy_from_slice(&content);
                assert_eq!(self.sender.seal(&mut record, length), record.len());
                self.wire.extend_from_slice(&record);
                self.want.extend_from_slice(&content);
                true
            }
            8 => {
                self.sender.key_update(&mut self.wire).expect("the schedule goes on");
                true
            }
            9 if input.byte() == 0 => {
                let goodbye = self.sender.close_notify();
                self.wire.extend_from_slice(&goodbye);
                self.deliver(usize::MAX);
                assert!(matches!(self.open(), Some(Opened::CloseNotify { .. }) | None));
                assert!(self.want.is_empty());
                false
            }
            _ => {
                self.deliver(input.size());
                self.open();
                self.buffer.len() <= MAX_CONTENT + 1024
            }
        }
    }

    fn deliver(&mut self, count: usize) {
        self.buffer.extend(self.wire.drain(..count.min(self.wire.len())));
    }

    /// Opens all that is there; the end, if it came. None after so many records without content that it is refused.
    fn open(&mut self) -> Option<Opened> {
        loop {
            match self.receiver.open(&mut self.buffer) {
                Ok(Opened::Data { consumed, plaintext }) => {
                    let content = &self.buffer[plaintext];
                    assert_eq!(content, &self.want[..content.len()]);
                    self.want.drain(..content.len());
                    self.buffer.drain(..consumed);
                }
                Ok(Opened::Control { consumed }) => drop(self.buffer.drain(..consumed)),
                Ok(opened) => return Some(opened),
                Err(hbone::record::RecordError::TooManyFruitless) => {
                    self.want.clear();
                    self.wire.clear();
                    self.buffer = vec![0; 2 * MAX_CONTENT];
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
