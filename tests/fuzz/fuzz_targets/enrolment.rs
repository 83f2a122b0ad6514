//! Packets on the enrolment socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{json, to_vec};
use ztunnel::enrol::{Answer, Request, read_packet};

fuzz_target!(|packet: &[u8]| {
    if let Ok(request) = read_packet::<Request>(packet) {
        if let Request::Remove { uid, .. } = &request {
            assert!(!uid.as_str().contains(['/', '.']), "it becomes the name of a file");
        }
        let again = to_vec(&json!({"version": 1, "body": request})).expect("it is JSON");
        assert_eq!(read_packet::<Request>(&again).expect("it was read before"), request);
    }
    if let Ok(answer) = read_packet::<Answer>(packet) {
        let again = to_vec(&json!({"version": 1, "body": answer})).expect("it is JSON");
        assert_eq!(read_packet::<Answer>(&again).expect("it was read before"), answer);
    }
});
