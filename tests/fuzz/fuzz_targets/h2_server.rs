//! Any bytes from a client, in pieces of any size: no panic, no more streams, answers and memory than the limits say, and windows that
//! add up.
#![no_main]

use hbone::h2::{Connection, Limits};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static HEAP: fuzz::Heap = tikv_jemallocator::Jemalloc;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_concurrent_streams: 8, max_frame_size: 16_384, ..Limits::default() };
    fuzz::receive(Connection::server(limits), limits, true, bytes);
});
