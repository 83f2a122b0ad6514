use std::net::Ipv4Addr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use ztunnel::dns::{DnsPolicy, PodResolver};

use super::scene::{Scene, ips, query};
use crate::lab::Stack;

const STACKS: [Stack; 3] = [Stack::V4, Stack::V6, Stack::Dual];

#[test]
fn what_the_mesh_knows_is_answered_whichever_server_was_asked() {
    for stack in STACKS {
        let scene = Scene::new(stack);
        for server in scene.servers() {
            let answer = scene.udp(server, "Web.shop.svc.cluster.local.", RecordType::A);
            assert_eq!((answer.id, ips(&answer)), (4711, vec!["10.96.0.1".to_owned()]));
            assert_eq!(answer.queries[0].name().to_string(), "Web.shop.svc.cluster.local.");
            let by_tcp = scene.tcp(server, &["web.shop.svc.cluster.local.", "api.front.svc.cluster.local."]);
            let by_tcp: Vec<_> = by_tcp.iter().flat_map(ips).collect();
            assert_eq!(by_tcp, ["10.96.0.1", "10.96.0.2"]);
            let none = scene.udp(server, "web.shop.svc.cluster.local.", RecordType::AAAA);
            assert_eq!((none.response_code, none.answers.len()), (ResponseCode::NoError, 0));
        }
        // Neither port nor name of a server matters: nobody listens there.
        let nowhere = match stack {
            Stack::V6 => "[fd00:77::99]:53",
            Stack::V4 | Stack::Dual => "10.77.0.99:53",
        };
        let answer = scene.udp(nowhere.parse().unwrap(), "web.", RecordType::A);
        assert_eq!(ips(&answer), ["10.96.0.1"]);
    }
}

#[test]
fn other_questions_reach_the_very_server_that_was_asked() {
    for stack in STACKS {
        let scene = Scene::new(stack);
        for server in scene.servers() {
            let own = if server.is_ipv4() { "203.0.113.4" } else { "203.0.113.6" };
            let answer = scene.udp(server, "WWW.up.test.", RecordType::A);
            assert_eq!((answer.id, ips(&answer)), (4711, vec![own.to_owned()]));
            assert_eq!(answer.queries[0].name().to_string(), "WWW.up.test.");
            assert_eq!(ips(&scene.tcp(server, &["www.up.test."])[0]), [own]);
            let missing = scene.udp(server, "wub.shop.svc.cluster.local.", RecordType::A);
            assert_eq!(missing.response_code, ResponseCode::NXDomain, "the cluster's own DNS decides");
        }
    }
}

#[test]
fn a_name_that_the_mesh_knows_exists_whatever_is_asked_of_it() {
    let scene = Scene::new(Stack::V4);
    let answer = scene.udp(scene.servers()[0], "web.shop.svc.cluster.local.", RecordType::HTTPS);
    assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
}

#[test]
fn a_cut_answer_is_passed_on_as_such_and_comes_whole_over_tcp() {
    let scene = Scene::new(Stack::V4);
    let server = scene.servers()[0];
    assert!(scene.udp(server, "long.up.test.", RecordType::A).truncation);
    assert_eq!(scene.tcp(server, &["long.up.test."])[0].answers.len(), 200);
}

#[test]
fn forged_answers_are_not_believed() {
    let scene = Scene::new(Stack::V4);
    let answer = scene.udp(scene.servers()[0], "forged.up.test.", RecordType::A);
    assert_eq!(ips(&answer), ["203.0.113.4"]);
}

#[test]
fn a_quick_answer_overtakes_a_slow_one_on_a_connection() {
    let scene = Scene::new(Stack::V4);
    let answers = scene.tcp(scene.servers()[0], &["slow.up.test.", "fast.up.test."]);
    let names: Vec<_> = answers.iter().map(|it| it.queries[0].name().to_string()).collect();
    assert_eq!(names, ["fast.up.test.", "slow.up.test."]);
}

#[test]
fn a_query_that_nobody_redirected_goes_where_the_pods_resolver_asks() {
    let scene = Scene::with(Stack::Dual, |ips| PodResolver {
        policy: DnsPolicy::None,
        nameservers: [&["10.77.0.99".parse().unwrap()], ips].concat(),
        ..PodResolver::default()
    });
    let direct = (Ipv4Addr::LOCALHOST, 15053).into();
    let answer = scene.udp(direct, "www.up.test.", RecordType::A);
    assert_eq!(ips(&answer), ["203.0.113.4"], "the second server, as the first is not there");
    assert_eq!(ips(&scene.tcp(direct, &["www.up.test."])[0]), ["203.0.113.4"]);
}

#[test]
fn without_a_server_that_answers_the_query_fails_and_is_counted() {
    let scene = Scene::new(Stack::V4);
    let direct = (Ipv4Addr::LOCALHOST, 15053).into();
    assert_eq!(scene.udp(direct, "www.up.test.", RecordType::A).response_code, ResponseCode::ServFail);
    scene.udp(scene.servers()[0], "www.up.test.", RecordType::A);
    let labels = "{request_protocol=\"udp\",request_query_type=\"A\",source_canonical_revision=\"unknown\",\
                  source_canonical_service=\"unknown\"}";
    let text = scene.metrics.render();
    for (name, count) in [("requests", 2), ("upstream_requests", 2), ("upstream_failures", 1)] {
        let line = format!("istio_dns_{name}_total{labels} {count}");
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(text.contains("istio_dns_upstream_request_duration_seconds_count"));
}

#[test]
fn malformed_queries_are_refused_and_answers_are_ignored() {
    let scene = Scene::new(Stack::V4);
    let server = scene.servers()[0];
    let sound = query("web.", RecordType::A);
    let answer = Message::from_vec(&scene.datagram(server, &sound[..sound.len() - 1])).unwrap();
    assert_eq!((answer.id, answer.response_code), (4711, ResponseCode::FormErr));
    let mut notify = sound;
    notify[2] |= 4 << 3;
    let answer = Message::from_vec(&scene.datagram(server, &notify)).unwrap();
    assert_eq!(answer.response_code, ResponseCode::NotImp);
    assert_eq!(ips(&scene.udp(server, "web.", RecordType::A)), ["10.96.0.1"]);
}
