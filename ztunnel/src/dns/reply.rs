//! Answers of our own, as bytes.

use std::net::IpAddr;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::{Answer, Query};

/// The answer that the mesh gives to a query, in `limit` bytes at most. What does not fit is left out, and the answer
/// says so: clients come back over TCP.
///
/// # Errors
/// When the query's name cannot be written, which no name that was read is.
pub fn answered(query: &Query, answer: &Answer, limit: usize) -> Result<Vec<u8>, ProtoError> {
    let mut message = echo(query, ResponseCode::NoError)?;
    message.metadata.authoritative = true;
    let mut owner = message.queries.first().map(|question| question.name().clone()).unwrap_or_default();
    if let Some(canonical) = &answer.canonical {
        let canonical = Name::from_ascii(format!("{canonical}."))?;
        message.add_answer(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(canonical.clone()))));
        owner = canonical;
    }
    let record = |ip: &IpAddr| Record::from_rdata(owner.clone(), TTL, rdata(*ip));
    message.add_answers(answer.addresses.iter().map(record));
    fitted(message, limit)
}

/// A failure of a query that makes sense.
///
/// # Errors
/// When the query's name cannot be written, which no name that was read is.
pub fn failed(query: &Query, code: ResponseCode) -> Result<Vec<u8>, ProtoError> {
    echo(query, code)?.to_vec()
}

/// What is said of a message that makes none: as little as possible.
///
/// # Errors
/// Never.
pub fn refused(id: u16, code: ResponseCode) -> Result<Vec<u8>, ProtoError> {
    let mut message = Message::error_msg(id, OpCode::Query, code);
    if code.high() > 0 {
        message.set_edns(edns());
    }
    message.to_vec()
}

/// The start of an answer: the query's id, question and flags.
fn echo(query: &Query, code: ResponseCode) -> Result<Message, ProtoError> {
    let mut message = Message::new(query.id(), MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.recursion_desired = query.recursion_desired();
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = query.checking_disabled();
    let mut decoder = BinDecoder::new(query.bytes()).clone(QUESTION);
    message.add_query(hickory_proto::op::Query::read(&mut decoder)?);
    if query.speaks_edns() {
        message.set_edns(edns());
    }
    Ok(message)
}

fn fitted(mut message: Message, limit: usize) -> Result<Vec<u8>, ProtoError> {
    loop {
        let bytes = message.to_vec()?;
        let excess = bytes.len().saturating_sub(limit);
        if excess == 0 || message.answers.is_empty() {
            return Ok(bytes);
        }
        let fewer = excess.div_ceil(LARGEST_ADDRESS).clamp(1, message.answers.len());
        message.answers.truncate(message.answers.len() - fewer);
        message.metadata.truncation = true;
    }
}

const fn rdata(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(OUR_PAYLOAD);
    edns
}

/// How long clients may keep an answer, in seconds: as Istio's and the cluster's own DNS have it.
const TTL: u32 = 30;
/// Where a question begins.
const QUESTION: u16 = 12;
/// Size of an IPv6 address's record whose name is a pointer.
const LARGEST_ADDRESS: usize = 28;
/// What EDNS says that we take: no query needs more.
const OUR_PAYLOAD: u16 = 1232;
