//! Header blocks: any bytes, as a sequence of blocks of one connection; and fields that our encoder writes, which any
//! decoder must read back.
#![no_main]

use fuzz::Input;
use hbone::h2::hpack::{Decoder, Encoder, Indexing};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static HEAP: fuzz::Heap = tikv_jemallocator::Jemalloc;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    if input.byte() & 1 == 0 { any_bytes(input) } else { round_trip(input) }
});

fn any_bytes(mut input: Input<'_>) {
    let before = fuzz::live();
    let mut decoder = Decoder::default();
    while !input.is_empty() {
        let length = input.size();
        let block = input.take(length);
        // A byte stands for 4 KiB at most: the whole table.
        let mut most = block.len() * 4096 + 4096;
        let fields = |name: &[u8], value: &[u8]| most -= name.len() + value.len();
        if decoder.decode(block, fields).is_err() {
            return;
        }
        // The dynamic table, by its own count of 32 bytes a field, and what its fields cost beside.
        assert!(fuzz::live() - before <= 64 << 10, "{}", fuzz::live() - before);
    }
}

fn round_trip(mut input: Input<'_>) {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    while !input.is_empty() {
        if input.byte().is_multiple_of(8) {
            encoder.set_table_size(input.u16().into());
        }
        let mut block = Vec::new();
        encoder.begin(&mut block);
        let mut want = Vec::new();
        for _ in 0..input.byte() % 8 {
            let name = NAMES[input.below(NAMES.len())];
            let length = input.size();
            let value: String = input.take(length).iter().map(|byte| char::from(byte & 0x7f)).collect();
            let indexing = [Indexing::Repeated, Indexing::Unique][input.below(2)];
            encoder.field(&mut block, name, &value, indexing);
            want.push((name.as_bytes().to_vec(), value.into_bytes()));
        }
        let mut fields = Vec::new();
        let read = decoder.decode(&block, |name, value| fields.push((name.to_vec(), value.to_vec())));
        assert_eq!((read, fields), (Ok(()), want));
    }
}

const NAMES: [&str; 6] = [":method", ":authority", ":status", "baggage", "forwarded", "x"];
