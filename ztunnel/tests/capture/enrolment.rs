//! Enrolment as callers, the mesh and a restarted daemon see it.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ztunnel::enrol::{AddPod, Pod, PodPhase, PodUid, RefusalReason, client};
use ztunnel::netns::in_netns;
use ztunnel::redirect::{CaptureOptions, UdpRule};

use crate::daemon::{Daemon, Event};
use crate::lab::{Lab, Stack, accept, assert_talk, dial, listen, sh};

pub(crate) fn uid(text: &str) -> PodUid {
    text.to_owned().try_into().unwrap()
}

fn pod(lab: &Lab) -> Pod {
    let (name, namespace) = ("web".to_owned(), "shop".to_owned());
    Pod { uid: uid("u-1"), name, namespace, service_account: None, addresses: lab.pod_ips() }
}

pub(crate) fn by_path(lab: &Lab) -> AddPod {
    AddPod { pod: pod(lab), netns: Some(lab.pod_path()), options: None }
}

/// Everything in the pod's namespace that capture could leave behind.
pub(crate) fn traces(lab: &Lab) -> Vec<String> {
    let commands = ["nft list ruleset", "ip rule", "ip -6 rule", "ip route show table 100", "ss -Hlntu"];
    let mut traces: Vec<String> = commands.map(|it| lab.in_pod(&format!("{it} 2>/dev/null || true"))).into();
    traces.push(format!("{} descriptors", lab.open_descriptors()));
    traces
}

#[test]
fn an_added_pod_is_captured_when_the_answer_comes() {
    for stack in [Stack::V4, Stack::V6, Stack::Dual] {
        let lab = Lab::new(stack);
        let daemon = Daemon::new(&lab);
        client::add(&daemon.socket(), by_path(&lab), None).unwrap();
        let captured = daemon.await_captured();
        for ip in lab.peer_ips() {
            let mut near = dial(&lab.pod, (ip, 80).into()).unwrap();
            assert_talk(&mut near, &mut accept(&captured.listeners.outbound).0);
        }
        let listed = client::list(&daemon.socket()).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].phase, listed[0].repairs), (PodPhase::Captured, 0));
        assert_eq!(daemon.records(), 1);
    }
}

#[test]
fn a_removed_pod_drains_and_leaves_nothing() {
    let lab = Lab::new(Stack::Dual);
    let before = traces(&lab);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let captured = daemon.await_captured();
    let lease = captured.leases.take().unwrap();
    let mut near = dial(&lab.pod, (lab.peer_ips()[0], 80).into()).unwrap();
    let mut far = accept(&captured.listeners.outbound).0;
    assert!(!client::remove(&daemon.socket(), uid("u-1"), false).unwrap());
    let draining = daemon.await_event(|event| match event {
        Event::Draining(uid) => Some(uid),
        _ => None,
    });
    assert_eq!(draining, uid("u-1"));
    let (server, address) = listen(&lab.peer, lab.peer_ips()[0]);
    assert_talk(&mut dial(&lab.pod, address).unwrap(), &mut server.accept().unwrap().0);
    assert_talk(&mut near, &mut far);
    assert_eq!(client::list(&daemon.socket()).unwrap()[0].phase, PodPhase::Draining);
    drop((lease, captured));
    assert_eq!(daemon.await_gone(), uid("u-1"));
    drop((near, far));
    assert_eq!(traces(&lab), before);
    assert_eq!((client::list(&daemon.socket()).unwrap().len(), daemon.records()), (0, 0));
}

#[test]
fn a_pod_removed_now_is_gone_with_the_answer() {
    let lab = Lab::new(Stack::V4);
    let before = traces(&lab);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    drop(daemon.await_captured());
    assert!(client::remove(&daemon.socket(), uid("u-1"), true).unwrap());
    assert_eq!(traces(&lab), before);
}

#[test]
fn adding_again_while_draining_captures_again() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let captured = daemon.await_captured();
    let _lease = captured.leases.take().unwrap();
    client::remove(&daemon.socket(), uid("u-1"), false).unwrap();
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let mut near = dial(&lab.pod, (lab.peer_ips()[0], 80).into()).unwrap();
    assert_talk(&mut near, &mut accept(&captured.listeners.outbound).0);
    assert_eq!(client::list(&daemon.socket()).unwrap()[0].phase, PodPhase::Captured);
}

#[test]
fn a_pod_that_holds_a_port_is_refused_and_left_alone() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let _held = in_netns(&lab.pod, || TcpListener::bind(("127.0.0.1", 15006))).unwrap();
    let before = traces(&lab);
    let refused = client::add(&daemon.socket(), by_path(&lab), None).unwrap_err();
    let client::ClientError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!(refusal.reason, RefusalReason::PortHeld);
    assert!(refusal.message.contains("15006"), "{refusal}");
    assert_eq!(traces(&lab), before);
    assert_eq!(daemon.records(), 0);
}

/// By an nft after which the rules are in force and the routes are not.
#[test]
fn a_pod_whose_capture_was_installed_and_does_not_work_is_refused_and_left_alone() {
    const SPOILT: &str = "CAPTURE_TEST_SPOILT";
    if std::env::var_os(SPOILT).is_none() {
        let (folder, nft) = (tempfile::tempdir().unwrap(), sh("command -v nft"));
        let script =
            format!("#!/bin/sh\n{} \"$@\" && ip rule del priority 32764 2>/dev/null || true\n", nft.trim());
        let path = folder.path().join("nft");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let itself = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "enrolment::a_pod_whose_capture_was_installed_and_does_not_work_is_refused_and_left_alone",
            ])
            .env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()))
            .env(SPOILT, "1")
            .output();
        let said = itself.unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        return;
    }
    for stack in [Stack::V4, Stack::Dual] {
        let lab = Lab::new(stack);
        let daemon = Daemon::new(&lab);
        let before = traces(&lab);
        let refused = client::add(&daemon.socket(), by_path(&lab), None).unwrap_err();
        let client::ClientError::Refused(refusal) = refused else { panic!("{refused}") };
        assert_eq!(refusal.reason, RefusalReason::CaptureFailed);
        assert_eq!(refusal.message, "policy routing is missing or not as installed");
        assert_eq!((traces(&lab), daemon.records()), (before, 0));
        assert_eq!(client::list(&daemon.socket()).unwrap(), []);
    }
}

#[test]
fn what_cannot_be_written_down_keeps_no_pod_from_leaving_and_lets_none_in() {
    let (lab, other) = (Lab::new(Stack::V4), Lab::new(Stack::V4));
    let before = traces(&other);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let captured = daemon.await_captured();
    let lease = captured.leases.take().unwrap();
    daemon.lose_state_folder();
    let reason = |error| match error {
        client::ClientError::Refused(refusal) => refusal.reason,
        other => panic!("{other}"),
    };
    let told = client::remove(&daemon.socket(), uid("u-1"), false).unwrap_err();
    assert_eq!(reason(told), RefusalReason::StateUnwritable);
    daemon.await_event(|event| matches!(event, Event::Draining(_)).then_some(()));
    let mut add = by_path(&other);
    add.pod.uid = uid("u-2");
    let told = client::add(&daemon.socket(), add, None).unwrap_err();
    assert_eq!(reason(told), RefusalReason::StateUnwritable);
    assert_eq!(traces(&other), before);
    drop((lease, captured));
    assert_eq!(daemon.await_gone(), uid("u-1"));
}

#[test]
fn a_pod_that_holds_the_port_for_its_queries_has_all_else_in_force() {
    let lab = Lab::new(Stack::V4);
    let _held = in_netns(&lab.pod, || TcpListener::bind(("127.0.0.1", 15053))).unwrap();
    let daemon = Daemon::new(&lab);
    daemon.desire(
        pod(&lab),
        true,
        CaptureOptions { dns: false, inbound: false, ..CaptureOptions::default() },
    );
    drop(daemon.await_captured());
    daemon.desire(pod(&lab), true, CaptureOptions { udp: UdpRule::Refuse, ..CaptureOptions::default() });
    let status = daemon.await_status(|it| it.phase == PodPhase::Failed);
    let problem = status.problem.unwrap_or_default();
    assert!(problem.contains("15053"), "{problem}");
    let rules = lab.in_pod("nft list ruleset");
    assert!(rules.contains("redirect to :15006") && rules.contains("reject"), "{rules}");
    assert!(!rules.contains("dport 53"), "{rules}");
}

#[test]
fn an_interface_that_leads_out_of_the_pod_is_none_of_a_machine_in_it() {
    for (stack, own) in [(Stack::V4, "10.77.0.2"), (Stack::V6, "fd00:77::2")] {
        let lab = Lab::new(stack);
        if stack == Stack::V4 {
            // An uplink that has none of the pod's addresses.
            lab.in_pod("ip link add net1 type veth peer name net2");
            lab.in_pod("ip link set net1 up");
            lab.in_pod("ip route add default dev net1 metric 9");
        }
        let _machine = lab.behind_the_pod();
        let daemon = Daemon::new(&lab);
        let names = ["eth0", "net1", "k6t0", "none0"].map(|it| it.to_owned().try_into().unwrap());
        let wanted = CaptureOptions { virtual_interfaces: names.to_vec(), ..CaptureOptions::default() };
        daemon.desire(pod(&lab), true, wanted.clone());
        let status = daemon.await_status(|it| it.problem.is_some());
        let net1 =
            if stack == Stack::V4 { ", net1 is left out: the pod's default route leads there" } else { "" };
        let problem = format!(
            "istio.io/reroute-virtual-interfaces: eth0 is left out: it has the pod's own address {own}{net1}; \
             it is for interfaces of machines inside of the pod"
        );
        assert_eq!((status.phase, status.problem), (PodPhase::Captured, Some(problem)));
        let rules = lab.in_pod("nft list ruleset");
        let has = |name: &str| rules.contains(&format!("iifname \"{name}\""));
        assert_eq!(["eth0", "k6t0", "none0"].map(has), [false, true, true], "{rules}");
        assert_eq!(has("net1"), stack == Stack::V6, "{rules}");

        daemon.desire(pod(&lab), true, CaptureOptions::default());
        assert_eq!(daemon.await_status(|it| it.problem.is_none()).phase, PodPhase::Captured);
        daemon.desire(pod(&lab), true, wanted);
        daemon.await_status(|it| it.problem.is_some());
        assert!(!lab.in_pod("nft list ruleset").contains("iifname \"eth0\""));
    }
}

#[test]
fn a_namespace_of_another_pod_is_refused() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let mut add = by_path(&lab);
    add.pod.addresses = vec!["10.9.9.9".parse().unwrap()];
    let refused = client::add(&daemon.socket(), add, None).unwrap_err();
    let client::ClientError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!(refusal.reason, RefusalReason::AddressMissing);
}

#[test]
fn a_namespace_may_come_as_a_descriptor() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let add = AddPod { netns: Some("/elsewhere/netns".into()), ..by_path(&lab) };
    client::add(&daemon.socket(), add, Some(lab.pod.as_fd())).unwrap();
    assert_eq!(daemon.await_captured().sockets.netns().inode(), lab.pod.inode());
}

#[test]
fn a_socket_where_no_daemon_listens_is_named_with_what_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("enrol.sock");
    let told = client::list(&missing).unwrap_err().to_string();
    assert!(told.contains(missing.to_str().unwrap()), "{told}");
    assert!(told.contains("ztunnel proxy") && told.contains("state.enrolSocket"), "{told}");
}

#[test]
fn the_socket_is_for_root_alone() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn changed_rules_are_repaired_at_once() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    let rules = lab.in_pod("nft list ruleset");
    lab.in_pod("nft flush chain inet ambient_mesh nat_output");
    let status = daemon.await_status(|it| it.repairs == 1);
    assert_eq!((status.phase, status.problem), (PodPhase::Captured, None));
    assert_eq!(lab.in_pod("nft list ruleset"), rules);
}

#[test]
fn the_mesh_enrols_and_releases_pods_that_run_already() {
    let lab = Lab::new(Stack::Dual);
    let daemon = Daemon::new(&lab);
    let (mut server, mut app) = {
        let (listener, address) = listen(&lab.peer, lab.peer_ips()[0]);
        let app = dial(&lab.pod, address).unwrap();
        (listener.accept().unwrap().0, app)
    };
    daemon.desire(pod(&lab), true, CaptureOptions::default());
    drop(daemon.await_captured());
    assert_talk(&mut app, &mut server);
    daemon.desire(pod(&lab), true, CaptureOptions { inbound: false, ..CaptureOptions::default() });
    client::list(&daemon.socket()).unwrap();
    let (listener, address) = listen(&lab.pod, lab.pod_ips()[0]);
    assert_talk(&mut dial(&lab.peer, address).unwrap(), &mut listener.accept().unwrap().0);
    daemon.desire(pod(&lab), false, CaptureOptions::default());
    assert_eq!(daemon.await_gone(), uid("u-1"));
    assert_talk(&mut app, &mut server);
}

#[test]
fn a_pod_that_nobody_can_find_is_reported() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    let lost = Pod { addresses: vec!["10.9.9.9".parse().unwrap()], ..pod(&lab) };
    daemon.desire(lost, true, CaptureOptions::default());
    let status = daemon.await_status(|it| it.phase == PodPhase::Failed);
    assert_eq!(status.problem.unwrap(), "no namespace with the pod's addresses is mounted");
}

#[test]
fn a_pod_released_on_request_stays_released_until_it_is_added() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    daemon.desire(pod(&lab), true, CaptureOptions::default());
    drop(daemon.await_captured());
    client::remove(&daemon.socket(), uid("u-1"), true).unwrap();
    daemon.desire(pod(&lab), true, CaptureOptions::default());
    assert_eq!(client::list(&daemon.socket()).unwrap(), []);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    assert_eq!(client::list(&daemon.socket()).unwrap().len(), 1);
}

#[test]
fn a_vanished_namespace_is_let_go() {
    let lab = Lab::new(Stack::V4);
    let daemon = Daemon::new(&lab);
    client::add(&daemon.socket(), by_path(&lab), None).unwrap();
    drop(daemon.await_captured());
    lab.delete_pod();
    assert_eq!(daemon.await_gone(), uid("u-1"));
    assert_eq!((lab.open_descriptors(), daemon.records()), (1, 0));
}

#[test]
fn a_sandbox_made_anew_replaces_the_old_one() {
    let (old, new) = (Lab::new(Stack::V4), Lab::new(Stack::V4));
    let daemon = Daemon::new(&old);
    client::add(&daemon.socket(), by_path(&old), None).unwrap();
    drop(daemon.await_captured());
    client::add(&daemon.socket(), by_path(&new), None).unwrap();
    assert_eq!(daemon.await_gone(), uid("u-1"));
    assert_eq!(daemon.await_captured().sockets.netns().inode(), new.pod.inode());
    assert_eq!(old.in_pod("nft list ruleset"), "");
}
