use proptest::prelude::*;

use super::*;

fn decode_all(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.push((text(name), text(value)));
    })?;
    Ok(fields)
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn decodes_the_specifications_requests_without_huffman() {
    // RFC 7541, C.3.
    let mut decoder = Decoder::default();
    let first = b"\x82\x86\x84\x41\x0fwww.example.com";
    let mut want = vec![
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":path", "/"),
        field(":authority", "www.example.com"),
    ];
    assert_eq!(decode_all(&mut decoder, first).unwrap(), want);
    let second = b"\x82\x86\x84\xbe\x58\x08no-cache";
    want.push(field("cache-control", "no-cache"));
    assert_eq!(decode_all(&mut decoder, second).unwrap(), want);
}

#[test]
fn decodes_the_specifications_requests_with_huffman() {
    // RFC 7541, C.4.1.
    let block = [
        0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
    ];
    let fields = decode_all(&mut Decoder::default(), &block).unwrap();
    assert_eq!(fields[3], field(":authority", "www.example.com"));
}

#[test]
fn a_field_that_is_evicted_has_no_index_any_more() {
    let mut decoder = Decoder::default();
    // Size 64 holds one field of 1 + 1 + 32 bytes.
    let block = b"\x3f\x21\x40\x01a\x01b\x40\x01c\x01d\xbe";
    assert_eq!(decode_all(&mut decoder, block).unwrap()[2], field("c", "d"));
    assert_eq!(decode_all(&mut decoder, b"\xbf"), Err(HpackError::Index(63)));
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::default();
    let block = b"\x3f\x03\x40\x01a\x01b\x40\x01c\x02dd";
    assert_eq!(decode_all(&mut decoder, block).unwrap().len(), 2);
    assert_eq!(decode_all(&mut decoder, b"\xbe"), Err(HpackError::Index(62)));
}

#[test]
fn broken_blocks_are_refused() {
    let cases: [(&[u8], HpackError); 10] = [
        (b"\x80", HpackError::Index(0)),
        (b"\xbe", HpackError::Index(62)),
        (b"\x7f", HpackError::Truncated),
        (b"\x40\x05abc", HpackError::Truncated),
        (b"\xff\xff\xff\xff\xff\xff\x01", HpackError::IntegerTooLarge),
        (b"\x82\x20", HpackError::SizeUpdate),
        (b"\x3f\xe2\x1f", HpackError::SizeUpdate),
        // Padding of eight bits, padding of zeros, and the end-of-string symbol itself.
        (b"\x40\x81\xff\x01b", HpackError::Huffman),
        (b"\x40\x81\x00\x01b", HpackError::Huffman),
        (b"\x40\x84\xff\xff\xff\xff\x01b", HpackError::Huffman),
    ];
    for (block, want) in cases {
        assert_eq!(decode_all(&mut Decoder::default(), block), Err(want), "{block:02x?}");
    }
}

#[test]
fn a_repeated_field_costs_one_byte() {
    let mut encoder = Encoder::default();
    let mut block = Vec::new();
    encoder.field(&mut block, ":authority", "10.0.0.1:80", Indexing::Repeated);
    let first = block.len();
    encoder.field(&mut block, ":authority", "10.0.0.1:80", Indexing::Repeated);
    assert_eq!((first, block.len()), (13, 14));
}

#[test]
fn a_smaller_and_then_larger_table_is_announced_as_both() {
    let mut encoder = Encoder::default();
    encoder.set_table_size(0);
    encoder.set_table_size(100_000);
    let mut block = Vec::new();
    encoder.begin(&mut block);
    assert_eq!(block, b"\x20\x3f\xe1\x1f");
    block.clear();
    encoder.begin(&mut block);
    assert_eq!(block, b"");
}

/// The slow and obvious way, from the lengths alone.
fn huffman_encode(text: &[u8]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..257).collect();
    order.sort_by_key(|symbol| (huffman::LENGTHS[*symbol], *symbol));
    let mut codes = vec![String::new(); 257];
    let (mut code, mut length) = (0_u64, 0);
    for symbol in order {
        code <<= u32::from(huffman::LENGTHS[symbol] - length);
        length = huffman::LENGTHS[symbol];
        codes[symbol] = format!("{code:0width$b}", width = usize::from(length));
        code += 1;
    }
    let mut bits: String = text.iter().map(|byte| codes[usize::from(*byte)].as_str()).collect();
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    (0..bits.len()).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()).collect()
}

proptest! {
    #[test]
    fn huffman_codes_of_any_bytes_decode(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoded = Vec::new();
        huffman::decode(&huffman_encode(&text), &mut decoded).unwrap();
        prop_assert_eq!(decoded, text);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(block in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _refused = Decoder::default().decode(&block, |_, _| {});
    }

    #[test]
    fn integers_round_trip(value in 0_usize..1 << 28, prefix in 1_u32..=8) {
        let mut bytes = Vec::new();
        integer::encode(&mut bytes, 0, prefix, value);
        let mut rest = &bytes[..];
        match integer::decode(&mut rest, prefix) {
            Ok(decoded) => prop_assert_eq!((decoded, rest.len()), (value, 0)),
            Err(error) => prop_assert!(value >= 1 << 21, "{error}"),
        }
    }

    #[test]
    fn fields_round_trip_under_changing_table_sizes(
        blocks in proptest::collection::vec(
            (proptest::option::of(0_usize..5000), proptest::collection::vec(("[a-d]{1,3}", "[ -~]{0,60}", any::<bool>()), 0..8)),
            0..20,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (size, fields) in blocks {
            if let Some(size) = size {
                encoder.set_table_size(size);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (name, value, repeated) in &fields {
                let indexing = if *repeated { Indexing::Repeated } else { Indexing::Unique };
                encoder.field(&mut block, name, value, indexing);
            }
            let want: Vec<_> = fields.iter().map(|(name, value, _)| field(name, value)).collect();
            prop_assert_eq!(decode_all(&mut decoder, &block).unwrap(), want);
        }
    }
}
