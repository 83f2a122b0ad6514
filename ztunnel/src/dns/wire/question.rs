//! What may be asked.

use hickory_proto::op::ResponseCode;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without the last dot; none for what cannot be a host's name.
    pub name: Option<String>,
    /// What is wanted of it.
    pub kind: RecordKind,
}

/// What is wanted of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Anything else: the type, of whatever class.
    Other(u16),
}

/// Why a message is not answered as a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Too short to be answered, or an answer itself: answering those would feed loops.
    #[error("not a query")]
    NotAQuery,
    /// Nothing that we can make sense of.
    #[error("query is answered with {code}")]
    Refused {
        /// Its id.
        id: u16,
        /// What is said about it.
        code: ResponseCode,
    },
}

impl RecordKind {
    pub(super) const fn new(kind: u16, class: u16) -> Self {
        match (class, kind) {
            (IN, 1) => Self::A,
            (IN, 28) => Self::Aaaa,
            (_, other) => Self::Other(other),
        }
    }
}

/// Class IN.
const IN: u16 = 1;
