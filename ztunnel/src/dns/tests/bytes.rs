use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::collection::vec;
use proptest::num;

use super::samples::{World, entry, service};
use crate::dns::{Answer, Decision, Query, Unusable, answered, failed, refused};

#[test]
fn an_answer_repeats_the_question_as_it_was_spelt() {
    let query = query("WeB.sHoP.", RecordType::A, None);
    let message = parsed(&answered(&query, &of(1), 512).unwrap());
    assert_eq!((message.id, message.response_code), (7, ResponseCode::NoError));
    assert!(message.authoritative && message.recursion_available && message.recursion_desired);
    assert_eq!(message.queries[0].name().to_string(), "WeB.sHoP.");
    assert_eq!(message.answers[0].name.to_string(), "WeB.sHoP.");
    assert_eq!(message.answers[0].ttl, 30);
    assert!(message.edns.is_none());
}

#[test]
fn an_alias_leads_to_its_addresses() {
    let answer = Answer { canonical: Some("web.shop.svc.cluster.local".to_owned()), ..of(1) };
    let message = parsed(&answered(&query("web.shop.", RecordType::A, None), &answer, 512).unwrap());
    let canonical = Name::from_ascii("web.shop.svc.cluster.local.").unwrap();
    assert!(matches!(&message.answers[0].data, RData::CNAME(to) if to.0 == canonical));
    assert_eq!(message.answers[1].name, canonical);
}

#[test]
fn an_answer_that_does_not_fit_says_so_and_gives_what_fits() {
    for (payload, limit) in [(None, 512), (Some(1232), 1232)] {
        let query = query("web.shop.", RecordType::A, payload);
        let bytes = answered(&query, &of(500), query.datagram_limit()).unwrap();
        let message = parsed(&bytes);
        assert!(bytes.len() <= limit && bytes.len() + 64 > limit, "{} of {limit}", bytes.len());
        assert!(message.truncation);
        assert_eq!(message.edns.is_some(), payload.is_some());
        let by_tcp = parsed(&answered(&query, &of(500), 65_535).unwrap());
        assert_eq!((by_tcp.answers.len(), by_tcp.truncation), (500, false));
    }
}

#[test]
fn the_largest_service_fits_into_what_tcp_can_carry() {
    let query = query("web.shop.", RecordType::AAAA, None);
    let addresses = (0..10_000_u128).map(|host| IpAddr::V6(Ipv6Addr::from_bits(host))).collect();
    let bytes = answered(&query, &Answer { canonical: None, addresses }, 65_535).unwrap();
    assert!(bytes.len() <= 65_535);
    assert!(parsed(&bytes).answers.len() > 1000);
}

#[test]
fn failures_repeat_the_question_and_refusals_say_next_to_nothing() {
    let query = query("web.shop.", RecordType::A, Some(1232));
    let message = parsed(&failed(&query, ResponseCode::ServFail).unwrap());
    assert_eq!((message.id, message.response_code), (7, ResponseCode::ServFail));
    assert_eq!(message.queries.len(), 1);
    let bytes = refused(9, ResponseCode::FormErr).unwrap();
    assert_eq!((parsed(&bytes).id, bytes.len()), (9, 12));
    let message = parsed(&refused(9, ResponseCode::BADVERS).unwrap());
    assert_eq!(u16::from(message.response_code), u16::from(ResponseCode::BADVERS));
}

proptest::proptest! {
    /// Whatever comes in: what goes out can be read, belongs to it, and is no longer than what was asked for.
    #[test]
    fn any_message_gets_a_sound_answer(bytes in vec(num::u8::ANY, 0..300)) {
        check(&world(), &bytes);
    }

    #[test]
    fn any_name_gets_a_sound_answer(
        labels in vec(vec(num::u8::ANY, 1..20), 0..8),
        suffix in 0_usize..4,
        kind in num::u16::ANY,
        payload in num::u16::ANY,
    ) {
        let mut bytes = b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01".to_vec();
        let suffix = ["", "example.com", "shop.svc.cluster.local", "web.shop.svc.cluster.local"][suffix];
        let suffix = suffix.split('.').filter(|label| !label.is_empty()).map(|label| label.as_bytes().to_vec());
        for label in labels.into_iter().chain(suffix) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label);
        }
        bytes.push(0);
        bytes.extend((kind % 40).to_be_bytes());
        bytes.extend(b"\0\x01\0\0\x29");
        bytes.extend(payload.to_be_bytes());
        bytes.extend(b"\0\0\0\0\0\0");
        check(&world(), &bytes);
    }
}

fn world() -> World {
    let many: Vec<_> = (0..100_u32).map(|host| Ipv4Addr::from_bits(host).to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    World::of([service("shop", "web", &many), entry("shop", "*.example.com", &["240.240.0.1", "fd00::1"])])
}

fn check(world: &World, bytes: &[u8]) {
    let reply = match Query::parse(bytes) {
        Err(Unusable::NotAQuery) => return,
        Err(Unusable::Refused { id, code }) => refused(id, code).unwrap(),
        Ok(query) => {
            let question = query.question();
            let Some(name) = &question.name else { return };
            match world.ask(name, question.kind) {
                Decision::Answer(answer) => {
                    let reply = answered(&query, &answer, query.datagram_limit()).unwrap();
                    assert!(reply.len() <= query.datagram_limit());
                    assert!(query.is_answered_by(&reply, query.id()));
                    reply
                }
                Decision::Forward { .. } | Decision::ServFail => {
                    failed(&query, ResponseCode::ServFail).unwrap()
                }
            }
        }
    };
    assert_eq!(parsed(&reply).id.to_be_bytes(), bytes[..2]);
}

fn of(count: u32) -> Answer {
    let addresses = (0..count).map(|host| IpAddr::V4(Ipv4Addr::from_bits(host))).collect();
    Answer { canonical: None, addresses }
}

fn query(name: &str, kind: RecordType, payload: Option<u16>) -> Query {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    Query::parse(&message.to_vec().unwrap()).unwrap()
}

fn parsed(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).unwrap()
}
