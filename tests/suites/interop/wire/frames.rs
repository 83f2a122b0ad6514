//! What we say, made comparable: windows and limits are a matter of tuning, and how header lists are packed too.

use hbone::h2::FRAME_HEADER;
use hbone::h2::hpack::Decoder;

/// The frames in `bytes` that mean something to a peer, a line each.
pub(crate) fn meaning(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut headers = Decoder::default();
    let mut lines = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER>() {
        let [l2, l1, l0, kind, flags, stream @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes([0, l2, l1, l0])).expect("a frame's length fits");
        let (payload, next) = behind.split_at(length);
        let stream = u32::from_be_bytes(stream);
        rest = next;
        match kind {
            SETTINGS if flags == 0 => lines.push("SETTINGS".to_owned()),
            WINDOW_UPDATE => {}
            HEADERS => {
                let mut fields = format!("HEADERS {stream} {flags:#x}");
                let field = |name: &[u8], value: &[u8]| {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    fields.push_str(&format!(" {}={:?}", text(name), text(value)));
                };
                headers.decode(payload, field).expect("our own header lists can be read");
                lines.push(fields);
            }
            _ => lines.push(format!("{kind} {stream} {flags:#x} {payload:02x?}")),
        }
    }
    assert!(rest.is_empty(), "our frames are whole");
    lines
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
