//! HPACK (RFC 7541): header lists as bytes.
//!
//! The decoder is complete and hands each field on as it is decoded, so that a small block which stands for a huge
//! list costs no memory. The encoder is for the few headers of the tunnel: it never writes Huffman codes.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod statics;
mod table;

pub use self::decoder::{Decoder, HpackError};
pub use self::encoder::{Encoder, Indexing};

/// Size of a dynamic table until a peer says otherwise; ours never do. 4 KiB: room for a dozen values of `baggage`.
pub(super) const DEFAULT_TABLE_SIZE: usize = 4096;

/// What each field counts beside its bytes, in tables and list sizes (RFC 7541 §4.1).
pub(super) const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
