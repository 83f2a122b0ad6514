//! Every bound of a connection.

/// Bounds on what a peer can make us hold or do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the peer may have open at once; at a client, that we open at once whatever the peer allows.
    /// Default 256: few tunnels to a busy peer save sockets and handshakes on both sides, while too many streams in
    /// one make one lost packet hold up all of them.
    pub max_concurrent_streams: u32,
    /// Streams that a client opens before the peer's settings are there. Default 100: what servers are asked to
    /// allow at least (RFC 9113 §6.5.2).
    pub initial_send_streams: u32,
    /// Payload that may be in flight to us on one stream whose reader keeps up, 65,535 to 2^31-1: each begins with
    /// 65,535 and grows. Default 1 MiB: 8 Gb/s at 1 ms.
    pub stream_window: u32,
    /// The same for the whole connection, and the most that it can make us buffer. Default 32 MiB: 65,535 for every
    /// stream, so that no number of stuck ones holds up another, and as much again for those that grow.
    pub connection_window: u32,
    /// Payload of a frame to us, 16,384 to 2^24-1. Default 1 MiB: frames are handed on in pieces, so a long one costs
    /// nothing and saves headers.
    pub max_frame_size: u32,
    /// Size of a header list to us, each field counted with 32 bytes more. Default 16 KiB: W3C allows 8 KiB of
    /// baggage, and Istio's client 16 KiB. A list of more than this resets its stream; one of four times as much, or
    /// a compressed block of that, ends the connection.
    pub max_header_list: u32,
    /// CONTINUATION frames in one header block. Default 8: even 16 KiB of headers need one at most.
    pub max_continuations: u32,
    /// Streams that the peer may reset before they are answered, or have us reset by breaking rules, in a row.
    /// Each answered request restores one, [`Connection::replenish`](super::Connection::replenish) all. Default 200:
    /// someone who gives up on slow connections stays below, "rapid reset" (CVE-2023-44487, CVE-2025-8671) does not.
    pub max_early_resets: u32,
    /// PING, and SETTINGS, between two calls of [`Connection::replenish`](super::Connection::replenish), each of which
    /// makes us send an answer. Frames with payload restore one PING each: peers measure by them. They restore no
    /// SETTINGS, each of which has all streams look whether they may send. Default 1000: at most 26 kB of answers.
    pub max_answers: u32,
    /// Frames without effect (empty DATA, unknown types, closed streams, farewells, answers to pings, windows that are
    /// hardly opened) in a row; payload restores them. Default 10,000: bounds the work for 9 bytes a frame, far above
    /// what honest peers have in flight at a reset.
    pub max_idle_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            initial_send_streams: 100,
            stream_window: 1 << 20,
            connection_window: 32 << 20,
            max_frame_size: 1 << 20,
            max_header_list: 16 << 10,
            max_continuations: 8,
            max_early_resets: 200,
            max_answers: 1000,
            max_idle_frames: 10_000,
        }
    }
}

impl Limits {
    /// Values that the protocol allows, and a connection window of at least four streams' worth.
    pub(super) fn clamped(self) -> Self {
        let stream_window = self.stream_window.clamp(DEFAULT_WINDOW, MAX_WINDOW);
        Self {
            stream_window,
            connection_window: self
                .connection_window
                .clamp(stream_window.saturating_mul(4).min(MAX_WINDOW), MAX_WINDOW),
            max_frame_size: self.max_frame_size.clamp(DEFAULT_FRAME_SIZE, MAX_FRAME_SIZE),
            ..self
        }
    }

    /// Bytes of a header block. The longest Huffman code has 30 bits (RFC 7541 Appendix B), and some peers use the
    /// code even where it makes a text longer: what is a list within the limit may be almost four times as much here.
    pub(super) const fn max_header_block(&self) -> u32 {
        self.max_header_list.saturating_mul(4)
    }

    /// What the windows of all streams together may grow by, so that the connection's never runs out before theirs.
    pub(super) fn spare_window(&self) -> u32 {
        let held_back = self.connection_window / CONNECTION_PARTS;
        let first = self.max_concurrent_streams.saturating_mul(DEFAULT_WINDOW);
        self.connection_window.saturating_sub(held_back).saturating_sub(first)
    }
}

/// The connection's window is given back by such parts: what is consumed and not given back yet is lost to others.
pub(super) const CONNECTION_PARTS: u32 = 8;

/// What a window is until someone says otherwise (RFC 9113 §6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

/// No window may be larger (RFC 9113 §6.9.1).
pub(super) const MAX_WINDOW: u32 = (1 << 31) - 1;

/// What frames may be until someone says otherwise (RFC 9113 §4.2).
pub(super) const DEFAULT_FRAME_SIZE: u32 = 1 << 14;

/// No frame may be longer.
pub(super) const MAX_FRAME_SIZE: u32 = (1 << 24) - 1;
