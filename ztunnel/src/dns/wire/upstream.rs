//! The answers of name servers.

use hickory_proto::op::ResponseCode;

use super::Query;
use super::header::{HEADER, Header, QUERY, TRUNCATED};

impl Query {
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
}

/// The response code of a name server's answer, without what EDNS adds to it.
pub(in crate::dns) fn code_of(answer: &[u8]) -> Option<ResponseCode> {
    Header::parse(answer).map(|header| ResponseCode::from_low(header.code()))
}

/// Whether a name server had to cut its answer short.
pub(in crate::dns) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// The question's name is compared without its case: not every name server repeats it.
fn same_question(one: &[u8], other: &[u8]) -> bool {
    let fixed = TYPE_AND_CLASS;
    one.len() == other.len()
        && one.len() >= fixed
        && one[one.len() - fixed..] == other[other.len() - fixed..]
        && one[..one.len() - fixed].eq_ignore_ascii_case(&other[..other.len() - fixed])
}

/// Errors that a name server may give without repeating the question: FORMERR, SERVFAIL, NOTIMP, REFUSED.
const BARE_ERRORS: [u8; 4] = [1, 2, 4, 5];
/// Size of what follows the name in a question.
const TYPE_AND_CLASS: usize = 4;
