//! What a client asks.

use hickory_proto::op::ResponseCode;

use super::header::{HEADER, Header, QUERY};
use super::reader::Reader;
use super::{MAX_DATAGRAM, Question, Unusable};

/// A query that makes sense.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) bytes: Vec<u8>,
    pub(super) question_end: usize,
    question: Question,
    edns: Option<Edns>,
}

/// What a client says by EDNS (RFC 6891 §6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) payload: u16,
}

impl Query {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is not a query with one question (RFC 9619), or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let header = Header::parse(bytes).filter(|header| !header.is_answer()).ok_or(Unusable::NotAQuery)?;
        let refused = |code| Unusable::Refused { id: header.id, code };
        if header.opcode() != QUERY {
            return Err(refused(ResponseCode::NotImp));
        }
        let malformed = refused(ResponseCode::FormErr);
        if header.questions != 1 {
            return Err(malformed);
        }
        let mut reader = Reader::behind_header(bytes);
        let question = reader.question().ok_or(malformed)?;
        let question_end = reader.at;
        let edns = reader.edns(header.records).ok_or(malformed)?;
        if edns.is_some_and(|(_, version)| version != 0) {
            return Err(refused(ResponseCode::BADVERS));
        }
        let edns = edns.map(|(edns, _)| edns);
        Ok(Self { bytes: bytes.to_vec(), question_end, question, edns })
    }

    /// What is asked.
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// The message's id.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The message as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether recursion is desired.
    pub fn recursion_desired(&self) -> bool {
        self.bytes[2] & 1 != 0
    }

    /// Whether signatures are not to be checked.
    pub fn checking_disabled(&self) -> bool {
        self.bytes[3] & 0x10 != 0
    }

    /// Whether it speaks EDNS, and so must its answer.
    pub const fn speaks_edns(&self) -> bool {
        self.edns.is_some()
    }

    /// How long an answer in a datagram may be.
    pub fn datagram_limit(&self) -> usize {
        self.edns.map_or(PLAIN_DATAGRAM, |edns| usize::from(edns.payload).clamp(PLAIN_DATAGRAM, MAX_DATAGRAM))
    }

    /// The same query under another id.
    pub fn with_id(&self, id: u16) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    pub(super) fn raw_question(&self) -> &[u8] {
        &self.bytes[HEADER..self.question_end]
    }
}

/// Longest answer in a datagram without EDNS (RFC 1035 §2.3.4).
const PLAIN_DATAGRAM: usize = 512;
