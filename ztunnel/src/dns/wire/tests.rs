//! Messages that make sense, and any others.

use hickory_proto::op::ResponseCode;
use hickory_proto::op::{Edns as OutEdns, Message, MessageType, OpCode, Query as OutQuery};
use hickory_proto::rr::{Name, RecordType};
use proptest::collection::vec;
use proptest::num;

use super::*;

#[test]
fn a_query_is_read_in_lower_case_and_kept_as_it_came() {
    let bytes = asked("Web.Shop.svc.Cluster.Local.", RecordType::AAAA, None);
    let query = Query::parse(&bytes).unwrap();
    let question = Question { name: Some("web.shop.svc.cluster.local".to_owned()), kind: RecordKind::Aaaa };
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
    assert_eq!(Query::parse(bytes).unwrap_err(), Unusable::Refused { id: 7, code: ResponseCode::FormErr });
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
