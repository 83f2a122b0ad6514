//! What the kernel says, or something that pretends to be the kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ztunnel::netlink::{Attributes, Messages, TcpSocket};

fuzz_target!(|datagram: &[u8]| {
    let mut room = datagram.len();
    for message in Messages::new(datagram) {
        let Ok(message) = message else { return };
        room = room.checked_sub(16 + message.payload.len()).expect("messages do not overlap");
        let socket = TcpSocket::parse(message.payload);
        assert!(message.payload.len() < 72 || socket.is_some());
        attributes(message.payload, 0);
        if let Some(behind) = message.payload.get(4..) {
            attributes(behind, 0);
        }
    }
});

fn attributes(payload: &[u8], depth: u32) {
    let mut room = payload.len();
    for (kind, value) in Attributes::new(payload) {
        room = room.checked_sub(4 + value.len()).expect("attributes do not overlap");
        assert!(kind < 1 << 14 && Attributes::new(payload).find(kind).is_some());
        if depth < 4 {
            attributes(value, depth + 1);
        }
    }
}
