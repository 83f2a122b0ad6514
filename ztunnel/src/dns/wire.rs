//! Queries as they come in, and answers as name servers give them. Any bytes may come in here.
//!
//! Only what is decided on is read: the header, the question, and what EDNS says. Everything else is passed on as it is.

use hickory_proto::op::ResponseCode;

/// A query that makes sense.
#[derive(Clone, Debug)]
pub struct Query {
    bytes: Vec<u8>,
    question_end: usize,
    question: Question,
    edns: Option<Edns>,
}

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

/// What a client says by EDNS (RFC 6891 §6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edns {
    payload: u16,
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
        let mut reader = Reader { bytes, at: HEADER };
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

    /// Whether `answer` answers this query as sent under `id`. An error may leave the question out.
    pub fn is_answered_by(&self, answer: &[u8], id: u16) -> bool {
        let Some(header) = Header::parse(answer) else { return false };
        if !header.is_answer() || header.id != id || header.opcode() != QUERY {
            return false;
        }
        match header.questions {
            0 => BARE_ERRORS.contains(&header.code()),
            1 => {
                answer.get(HEADER..self.question_end).is_some_and(|it| same_question(it, self.raw_question()))
            }
            _ => false,
        }
    }

    /// The answer of a name server as the client gets it: under its id, with its spelling of the name (clients check
    /// the case that they chose at random), and no longer than `limit`.
    pub fn adopt(&self, mut answer: Vec<u8>, limit: usize) -> Vec<u8> {
        if answer.len() < HEADER {
            return answer;
        }
        answer[..2].copy_from_slice(&self.bytes[..2]);
        let asked = u16::from_be_bytes([answer[4], answer[5]]) == 1 && answer.len() >= self.question_end;
        if asked {
            answer[HEADER..self.question_end].copy_from_slice(self.raw_question());
        }
        if answer.len() > limit {
            answer.truncate(if asked { self.question_end } else { HEADER });
            answer[2] |= TRUNCATED;
            answer[6..HEADER].fill(0);
        }
        answer
    }

    fn raw_question(&self) -> &[u8] {
        &self.bytes[HEADER..self.question_end]
    }
}

impl RecordKind {
    const fn new(kind: u16, class: u16) -> Self {
        match (class, kind) {
            (IN, 1) => Self::A,
            (IN, 28) => Self::Aaaa,
            (_, other) => Self::Other(other),
        }
    }
}

/// The response code of a name server's answer, without what EDNS adds to it.
pub(super) fn code_of(answer: &[u8]) -> Option<ResponseCode> {
    Header::parse(answer).map(|header| ResponseCode::from_low(header.code()))
}

/// Whether a name server had to cut its answer short.
pub(super) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// RFC 1035 §4.1.1.
struct Header {
    id: u16,
    flags: [u8; 2],
    questions: u16,
    /// Records in all other sections.
    records: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Some(Self {
            id: field(0),
            flags: [header[2], header[3]],
            questions: field(4),
            records: [6, 8, 10].map(|at| u32::from(field(at))).iter().sum(),
        })
    }

    const fn is_answer(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }

    const fn opcode(&self) -> u8 {
        (self.flags[0] >> 3) & 0xf
    }

    const fn code(&self) -> u8 {
        self.flags[1] & 0xf
    }
}

/// Reads a message from its start to its end, once.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|it| it[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|it| u16::from_be_bytes([it[0], it[1]]))
    }

    /// The question. Its name stands in full: there is nothing before it that it could point to.
    fn question(&mut self) -> Option<Question> {
        let start = self.at;
        let mut name = Some(String::new());
        loop {
            let length = usize::from(self.u8()?);
            if length == 0 {
                break;
            }
            let label = (length <= MAX_LABEL).then(|| self.take(length))??;
            if self.at - start >= MAX_NAME {
                return None;
            }
            name = name.filter(|_| label.iter().all(|byte| is_host(*byte))).map(|mut name| {
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                name
            });
        }
        let (kind, class) = (self.u16()?, self.u16()?);
        Some(Question { name: name.filter(|name| !name.is_empty()), kind: RecordKind::new(kind, class) })
    }

    /// What EDNS says in one of the remaining records, and in which version; there may be one such record only.
    #[expect(clippy::option_option, reason = "malformed, or without EDNS")]
    fn edns(&mut self, records: u32) -> Option<Option<(Edns, u8)>> {
        let mut found = None;
        for _ in 0..records {
            self.skip_name()?;
            let (kind, class) = (self.u16()?, self.u16()?);
            let ttl = self.take(4)?;
            let length = self.u16()?;
            self.take(usize::from(length))?;
            if kind == OPT && found.replace((Edns { payload: class }, ttl[1])).is_some() {
                return None;
            }
        }
        Some(found)
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length if usize::from(length) <= MAX_LABEL => self.take(usize::from(length))?,
                pointer if pointer & 0xc0 == 0xc0 => return self.take(1).map(|_| ()),
                _ => return None,
            };
        }
    }
}

/// The question's name is compared without its case: not every name server repeats it.
fn same_question(one: &[u8], other: &[u8]) -> bool {
    let fixed = TYPE_AND_CLASS;
    one.len() == other.len()
        && one.len() >= fixed
        && one[one.len() - fixed..] == other[other.len() - fixed..]
        && one[..one.len() - fixed].eq_ignore_ascii_case(&other[..other.len() - fixed])
}

/// Letters, digits, hyphens, and the underscore that Windows and SRV records are fond of.
const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Errors that a name server may give without repeating the question: FORMERR, SERVFAIL, NOTIMP, REFUSED.
const BARE_ERRORS: [u8; 4] = [1, 2, 4, 5];
/// Opcode of a standard query.
const QUERY: u8 = 0;
/// Class IN.
const IN: u16 = 1;
/// Type OPT (RFC 6891).
const OPT: u16 = 41;
/// Size of a header.
const HEADER: usize = 12;
/// The TC bit, in the third byte of a header.
const TRUNCATED: u8 = 2;
/// Size of what follows the name in a question.
const TYPE_AND_CLASS: usize = 4;
/// Longest label (RFC 1035 §2.3.4); what is longer is a pointer or malformed.
const MAX_LABEL: usize = 63;
/// Longest name with its length bytes (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
/// Longest answer in a datagram without EDNS (RFC 1035 §2.3.4).
const PLAIN_DATAGRAM: usize = 512;
/// Longest datagram, whatever a client says: as name servers have it by default.
pub(super) const MAX_DATAGRAM: usize = 4096;

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns as OutEdns, Message, MessageType, OpCode, Query as OutQuery};
    use hickory_proto::rr::{Name, RecordType};
    use proptest::collection::vec;
    use proptest::num;

    use super::*;

    #[test]
    fn a_query_is_read_in_lower_case_and_kept_as_it_came() {
        let bytes = asked("Web.Shop.svc.Cluster.Local.", RecordType::AAAA, None);
        let query = Query::parse(&bytes).unwrap();
        let question =
            Question { name: Some("web.shop.svc.cluster.local".to_owned()), kind: RecordKind::Aaaa };
        assert_eq!(query.question(), &question);
        assert_eq!((query.bytes(), query.id()), (bytes.as_slice(), 7));
        assert!(query.recursion_desired());
        assert!(!query.speaks_edns());
    }

    #[test]
    fn the_limit_of_a_datagram_is_what_edns_says_within_reason() {
        for (payload, limit) in [(None, 512), (Some(100), 512), (Some(1232), 1232), (Some(65_000), 4096)] {
            let query = Query::parse(&asked("a.", RecordType::A, payload)).unwrap();
            assert_eq!(query.datagram_limit(), limit, "{payload:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_hosts_name_has_no_name() {
        for name in ["a\\.b.example.", "."] {
            let query = Query::parse(&asked(name, RecordType::A, None)).unwrap();
            assert_eq!(query.question().name, None, "{name}");
        }
    }

    #[test]
    fn cut_queries_are_malformed_wherever_they_are_cut() {
        let bytes = asked("web.shop.", RecordType::A, Some(1232));
        for end in 0..bytes.len() {
            let want = match end {
                0..12 => Unusable::NotAQuery,
                _ => Unusable::Refused { id: 7, code: ResponseCode::FormErr },
            };
            assert_eq!(Query::parse(&bytes[..end]).unwrap_err(), want, "{end}");
        }
    }

    #[test]
    fn answers_are_never_answered() {
        let mut bytes = asked("web.", RecordType::A, None);
        bytes[2] |= 0x80;
        assert_eq!(Query::parse(&bytes).unwrap_err(), Unusable::NotAQuery);
    }

    #[test]
    fn other_opcodes_other_versions_and_two_questions_are_refused() {
        let plain = asked("web.", RecordType::A, Some(1232));
        let mut notify = plain.clone();
        notify[2] |= 4 << 3;
        let mut two = plain.clone();
        two[5] = 2;
        let mut version = plain.clone();
        let opt = plain.len() - 11;
        version[opt + 6] = 1;
        let mut twice = plain.clone();
        twice.extend_from_slice(&plain[opt..]);
        twice[11] = 2;
        for (bytes, code) in [
            (notify, ResponseCode::NotImp),
            (two, ResponseCode::FormErr),
            (twice, ResponseCode::FormErr),
            (version, ResponseCode::BADVERS),
        ] {
            assert_eq!(Query::parse(&bytes).unwrap_err(), Unusable::Refused { id: 7, code });
        }
    }

    #[test]
    fn a_name_that_points_somewhere_is_malformed() {
        let bytes = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01";
        assert_eq!(
            Query::parse(bytes).unwrap_err(),
            Unusable::Refused { id: 7, code: ResponseCode::FormErr }
        );
    }

    #[test]
    fn only_the_answer_to_the_very_question_is_one() {
        let query = Query::parse(&asked("Web.shop.", RecordType::A, None)).unwrap();
        let answer = |name, kind| {
            let mut bytes = asked(name, kind, None);
            bytes[2] |= 0x80;
            bytes
        };
        assert!(query.is_answered_by(&answer("web.SHOP.", RecordType::A), 7));
        assert!(!query.is_answered_by(&answer("web.shop.", RecordType::A), 8));
        assert!(!query.is_answered_by(&answer("web.shop.", RecordType::AAAA), 7));
        assert!(!query.is_answered_by(&answer("wub.shop.", RecordType::A), 7));
        assert!(!query.is_answered_by(query.bytes(), 7), "a query is no answer");
        let refused = b"\0\x07\x80\x05\0\0\0\0\0\0\0\0";
        assert!(query.is_answered_by(refused, 7), "errors may be bare");
        let nothing = b"\0\x07\x80\x03\0\0\0\0\0\0\0\0";
        assert!(!query.is_answered_by(nothing, 7), "that there is no such name must be said of a name");
    }

    #[test]
    fn an_adopted_answer_has_the_clients_id_and_spelling_and_fits() {
        let query = Query::parse(&asked("WeB.shop.", RecordType::A, None)).unwrap();
        let mut answer = asked("web.shop.", RecordType::A, Some(1232));
        answer[0] = 9;
        answer[2] |= 0x80;
        let adopted = Message::from_vec(&query.adopt(answer.clone(), 512)).unwrap();
        assert_eq!((adopted.id, adopted.truncation), (7, false));
        assert_eq!(adopted.queries[0].name().to_string(), "WeB.shop.");
        let cut = Message::from_vec(&query.adopt(answer, 30)).unwrap();
        assert!(cut.truncation);
        assert_eq!(cut.queries.len(), 1);
        assert!(cut.edns.is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_survived(bytes in vec(num::u8::ANY, 0..600), answer in vec(num::u8::ANY, 0..600)) {
            if let Ok(query) = Query::parse(&bytes) {
                let _whether = query.is_answered_by(&answer, 0);
                assert!(query.adopt(answer, 512).len() <= 512);
            }
        }

        #[test]
        fn any_damage_is_survived(at in 0_usize..40, byte in num::u8::ANY) {
            let mut bytes = asked("web.shop.svc.cluster.local.", RecordType::A, Some(1232));
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            if let Ok(query) = Query::parse(&bytes) {
                assert!(query.question().name.as_ref().is_none_or(|name| name.len() < 255));
            }
        }
    }

    fn asked(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(OutQuery::query(Name::from_ascii(name).unwrap(), kind));
        if let Some(payload) = payload {
            let mut edns = OutEdns::new();
            edns.set_max_payload(payload);
            message.edns = Some(edns);
        }
        message.to_vec().unwrap()
    }
}
