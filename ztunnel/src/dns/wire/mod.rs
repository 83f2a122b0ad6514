//! Queries as they come in, and answers as name servers give them. Any bytes may come in here.
//!
//! Only what is decided on is read: the header, the question, and what EDNS says. Everything else is passed on as it is.
//!
//! - [`query`]: what a client asks;
//! - [`question`]: what may be asked, and when nothing is;
//! - [`upstream`]: whether a name server answers that, and what the client gets of it;
//! - [`header`], [`reader`]: a message's bytes.

mod header;
mod query;
mod question;
mod reader;
mod upstream;

pub use query::Query;
pub use question::{Question, RecordKind, Unusable};

pub(super) use upstream::{code_of, is_truncated};

/// Longest datagram, whatever a client says: as name servers have it by default.
pub(super) const MAX_DATAGRAM: usize = 4096;

#[cfg(test)]
mod tests;
