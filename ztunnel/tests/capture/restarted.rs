//! What a daemon makes of the pods that an earlier one captured.

use ztunnel::enrol::{PodPhase, client};
use ztunnel::redirect::RulesDigest;

use crate::daemon::{Daemon, Event};
use crate::enrolment::{by_path, traces, uid};
use crate::lab::{Lab, Stack, accept, assert_talk, dial, listen};

#[test]
fn a_restarted_daemon_finds_its_pods_and_touches_no_rule() {
    let lab = Lab::new(Stack::Dual);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let marks = daemon.await_captured().marks;
    let rules = lab.in_pod("nft -a list ruleset");
    daemon.stop();
    assert_eq!(lab.in_pod("nft -a list ruleset"), rules);
    assert_eq!(lab.in_pod("ss -Hlntu"), "");
    daemon.start();
    let captured = daemon.await_captured();
    assert_eq!(captured.marks, marks);
    assert_eq!(lab.in_pod("nft -a list ruleset"), rules);
    let mut near = dial(&lab.pod, (lab.peer_ips()[0], 80).into()).unwrap();
    assert_talk(&mut near, &mut accept(&captured.listeners.outbound).0);
}

#[test]
fn while_no_daemon_runs_the_pod_is_closed() {
    let lab = Lab::new(Stack::Dual);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let servers: Vec<_> = lab.peer_ips().into_iter().map(|ip| listen(&lab.peer, ip)).collect();
    drop(daemon.await_captured());
    daemon.stop();
    for (_, address) in &servers {
        let refused = dial(&lab.pod, *address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    for (app, address) in lab.pod_ips().into_iter().map(|ip| listen(&lab.pod, ip)) {
        let refused = dial(&lab.peer, address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        app.set_nonblocking(true).unwrap();
        assert_eq!(app.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_restarted_daemon_repairs_what_was_spoiled_meanwhile() {
    let lab = Lab::new(Stack::V4);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let rules = lab.in_pod("nft list ruleset");
    daemon.stop();
    lab.in_pod("nft delete table inet ambient_mesh");
    lab.in_pod("ip rule del priority 32764");
    daemon.start();
    daemon.await_captured();
    assert_eq!(lab.in_pod("nft list ruleset"), rules);
    assert!(lab.in_pod("ip rule").contains("32764:"));
}

#[test]
fn a_daemon_of_another_build_has_its_own_rules_in_force() {
    let lab = Lab::new(Stack::V4);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let rules = lab.in_pod("nft list ruleset");
    drop(daemon.await_captured());
    for made in [None, Some(7)] {
        daemon.stop();
        // As a build wrote it that had a rule more.
        lab.in_pod("nft insert rule inet ambient_mesh filter_input udp dport 9 accept");
        let digest = RulesDigest::take(&lab.pod).unwrap();
        daemon.rewrite_record("u-1", |record| {
            let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
            record["digest"] = serde_json::to_value(digest).unwrap();
            record.as_object_mut().unwrap().remove("made").unwrap();
            made.into_iter().for_each(|made| record["made"] = serde_json::json!(made));
            record.to_string()
        });
        daemon.start();
        let status = daemon.await_status(|it| it.phase == PodPhase::Captured);
        assert_eq!((status.repairs, status.problem), (0, None));
        assert_eq!(lab.in_pod("nft list ruleset"), rules);
    }
}

#[test]
fn a_restarted_daemon_captures_a_pod_that_its_predecessor_had_just_begun_with() {
    // It died before the first rule, or when all were in force and it had not written that down.
    let untouched = [
        "nft delete table inet ambient_mesh",
        "ip rule del priority 32764",
        "ip rule del priority 32764",
        "ip -6 rule del priority 32764",
        "ip -6 rule del priority 32764",
        "ip route flush table 100",
        "ip -6 route flush table 100",
    ];
    for damages in [&untouched[..], &[]] {
        let lab = Lab::new(Stack::Dual);
        let before = traces(&lab);
        let mut daemon = Daemon::new(&lab);
        client::add(&daemon.socket(), by_path(&lab), None).unwrap();
        let marks = daemon.await_captured().marks;
        let rules = lab.in_pod("nft list ruleset");
        daemon.stop();
        damages.iter().for_each(|damage| drop(lab.in_pod(damage)));
        daemon.rewrite_record("u-1", |record| {
            let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
            assert!(record["digest"].is_u64(), "{record}");
            record["digest"] = serde_json::Value::Null;
            record["made"] = serde_json::Value::Null;
            record.to_string()
        });
        daemon.start();
        let captured = daemon.await_captured();
        assert_eq!(captured.marks, marks);
        assert_eq!(lab.in_pod("nft list ruleset"), rules);
        for ip in lab.peer_ips() {
            let mut near = dial(&lab.pod, (ip, 80).into()).unwrap();
            assert_talk(&mut near, &mut accept(&captured.listeners.outbound).0);
        }
        let listed = client::list(&daemon.socket()).unwrap();
        assert_eq!((listed[0].phase, listed[0].repairs), (PodPhase::Captured, 0));
        // The next one finds it as any other.
        drop(captured);
        daemon.stop();
        daemon.start();
        drop(daemon.await_captured());
        assert_eq!(lab.in_pod("nft list ruleset"), rules);
        assert!(client::remove(&daemon.socket(), uid("u-1"), true).unwrap());
        assert_eq!((traces(&lab), daemon.records()), (before, 0));
    }
}

#[test]
fn a_restarted_daemon_takes_no_later_namespace_with_the_same_inode_for_its_pods() {
    let (old, new) = (Lab::new(Stack::V4), Lab::new(Stack::V4));
    let before = traces(&new);
    let mut daemon = Daemon::new(&old);
    client::add(&daemon.socket(), by_path(&old), None).unwrap();
    drop(daemon.await_captured());
    daemon.stop();
    // As if the old one had ended, and the kernel had given its number to the other pod's.
    daemon.rewrite_record("u-1", |record| {
        let number = |lab: &Lab| format!(r#""netns_inode":{}"#, lab.pod.inode());
        let path = |lab: &Lab| lab.pod_path().display().to_string();
        record.replace(&number(&old), &number(&new)).replace(&path(&old), &path(&new))
    });
    daemon.start();
    daemon.await_event(|event| matches!(event, Event::Report(_)).then_some(()));
    assert_eq!(client::list(&daemon.socket()).unwrap(), []);
    assert_eq!(traces(&new), before);
    assert_eq!(daemon.records(), 0);
}

#[test]
fn a_record_without_a_cookie_is_of_the_namespace_with_the_pods_address() {
    let lab = Lab::new(Stack::V4);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    drop(daemon.await_captured());
    // As an earlier daemon wrote it, or an older kernel has it.
    for (address, pods) in [("10.77.0.2", 1), ("10.77.0.9", 0)] {
        daemon.stop();
        daemon.rewrite_record("u-1", |record| {
            let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
            record.as_object_mut().unwrap().remove("netns_cookie");
            record["pod"]["addresses"] = [address].into();
            record.to_string()
        });
        daemon.start();
        daemon.await_event(|event| matches!(event, Event::Report(_)).then_some(()));
        assert_eq!(client::list(&daemon.socket()).unwrap().len(), pods, "{address}");
    }
}

#[test]
fn a_restarted_daemon_finishes_a_drain() {
    let lab = Lab::new(Stack::V4);
    let before = traces(&lab);
    let mut daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let captured = daemon.await_captured();
    let lease = captured.leases.take().unwrap();
    client::remove(&daemon.socket(), uid("u-1"), false).unwrap();
    daemon.stop();
    drop((lease, captured));
    daemon.start();
    daemon.await_event(|event| matches!(event, Event::Report(_)).then_some(()));
    assert_eq!(traces(&lab), before);
    assert_eq!(daemon.records(), 0);
}
