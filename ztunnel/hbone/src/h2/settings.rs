//! SETTINGS (RFC 9113 §6.5).

use super::ConnectionError;
use super::frame;
use super::limits::{DEFAULT_FRAME_SIZE, DEFAULT_WINDOW, Limits, MAX_FRAME_SIZE, MAX_WINDOW};

/// What the peer has told of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerSettings {
    pub(super) header_table_size: u32,
    /// None until the peer has sent its settings.
    pub(super) max_concurrent_streams: Option<u32>,
    pub(super) initial_window: u32,
    pub(super) max_frame_size: u32,
    /// Size of a header list that it takes; a larger one may cost the connection.
    max_header_list: u32,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            max_concurrent_streams: None,
            initial_window: DEFAULT_WINDOW,
            max_frame_size: DEFAULT_FRAME_SIZE,
            max_header_list: u32::MAX,
        }
    }
}

impl PeerSettings {
    /// The longest header list that it is sent: a byte less than it announces, since the h2 crate, on which other
    /// tunnels rest, refuses a list of just that.
    pub(super) const fn longest_header_list(&self) -> u32 {
        self.max_header_list.saturating_sub(1)
    }

    /// Takes over one SETTINGS frame, in order.
    pub(super) fn apply(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        // A peer that does not mention the number of streams does not limit it.
        self.max_concurrent_streams.get_or_insert(u32::MAX);
        for entry in payload.as_chunks::<ENTRY>().0 {
            let [i1, i0, v3, v2, v1, v0] = *entry;
            self.set(u16::from_be_bytes([i1, i0]), u32::from_be_bytes([v3, v2, v1, v0]))?;
        }
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), ConnectionError> {
        let allowed = match id {
            ENABLE_PUSH => 0..=1,
            INITIAL_WINDOW_SIZE => 0..=MAX_WINDOW,
            MAX_FRAME_SIZE_ID => DEFAULT_FRAME_SIZE..=MAX_FRAME_SIZE,
            _ => 0..=u32::MAX,
        };
        if !allowed.contains(&value) {
            return Err(ConnectionError::Setting { id, value });
        }
        match id {
            HEADER_TABLE_SIZE => self.header_table_size = value,
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE_ID => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list = value,
            _ => {}
        }
        Ok(())
    }
}

/// Appends our SETTINGS and the update that opens the connection's window.
pub(super) fn write_ours(out: &mut Vec<u8>, limits: &Limits, is_client: bool) {
    let mut payload = Vec::with_capacity(3 * ENTRY);
    let mut put = |id: u16, value: u32| {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    if is_client {
        put(ENABLE_PUSH, 0);
    } else {
        put(MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams);
    }
    put(MAX_FRAME_SIZE_ID, limits.max_frame_size);
    put(MAX_HEADER_LIST_SIZE, limits.max_header_list);
    frame::write(out, frame::SETTINGS, 0, 0, &payload);
    let increment = limits.connection_window.saturating_sub(DEFAULT_WINDOW);
    if increment > 0 {
        frame::write_window_update(out, 0, increment);
    }
}

/// Bytes of one setting.
pub(super) const ENTRY: usize = 6;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE_ID: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
