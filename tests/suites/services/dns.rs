//! Names, as programs in pods ask for them.

use e2e::calls::shop;
use harness::{Lab, LabError, Mesh, Pod, PodSpec, Stack, WIRE_V4, WIRE_V6, eventually, serve};
use serde_json::json;

use crate::mall::{Web, mall};

#[test]
fn a_service_has_its_address_by_every_form_of_its_name_over_udp_and_tcp() -> Result<(), LabError> {
    let mut cluster = mall(Stack::V4);
    cluster.ambient("bank");
    cluster.pod(PodSpec::new("bank", "teller").node("node2"));
    let mesh = Mesh::up(&cluster)?;
    let (client, teller) = (mesh.pod("shop/client"), mesh.pod("bank/teller"));
    mesh.apply(&Web(Stack::V4).manifest(""))?;
    for transport in ["+notcp", "+tcp"] {
        let whole = format!("+short {transport} web.shop.svc.cluster.local");
        until_told(&client, &whole, &["10.96.9.1"])?;
        until_told(&teller, &whole, &["10.96.9.1"])?;
    }
    // The resolver of the pod's C library searches by itself, and dig when it is asked to.
    for name in ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"] {
        assert_eq!(looked_up(&client, name)?, ["10.96.9.1"], "{name}");
        let told = dig(&client, &format!("+search +short {name}"))?;
        assert_eq!(told.last().map(String::as_str), Some("10.96.9.1"), "{name}");
    }
    for name in ["web.shop", "web.shop.svc", "web.shop.svc.cluster.local"] {
        assert_eq!(looked_up(&teller, name)?, ["10.96.9.1"], "{name} from another namespace");
    }
    assert_eq!(looked_up(&teller, "web")?, Vec::<String>::new(), "it is of another namespace");
    // It has no IPv6 address, and is there all the same.
    let answer = client.sh("dig AAAA web.shop.svc.cluster.local")?;
    assert!(answer.contains("status: NOERROR") && answer.contains("ANSWER: 0"), "{answer}");
    Ok(())
}

#[test]
fn a_headless_service_has_the_addresses_of_its_pods() -> Result<(), LabError> {
    let mesh = Mesh::up(&mall(Stack::Dual))?;
    let client = mesh.pod("shop/client");
    let webs = ["web-1", "web-2", "web-3"].map(|name| mesh.pod(&format!("shop/{name}")));
    let _echo = webs.iter().map(|web| web.serve(8080, serve::echo())).collect::<Result<Vec<_>, _>>()?;
    mesh.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: webs, namespace: shop}\nspec:\n  clusterIP: None\n  \
         clusterIPs: [None]\n  ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv4, IPv6]\n  \
         selector: {app: web}\n  ports: [{name: tcp, port: 8080}]\n",
    )?;
    for (kind, v4) in [("A", true), ("AAAA", false)] {
        let ips = webs.iter().flat_map(|web| web.ips()).filter(|ip| ip.is_ipv4() == v4);
        let ips: Vec<_> = ips.map(ToString::to_string).collect();
        let ips: Vec<_> = ips.iter().map(String::as_str).collect();
        until_told(&client, &format!("+short {kind} webs.shop.svc.cluster.local"), &ips)?;
    }
    let first = looked_up(&client, "webs")?;
    let to = format!("{}:8080", first[0]).parse().or_else(|_| format!("[{}]:8080", first[0]).parse());
    e2e::calls::opened(&client, to.expect("an address"))?;
    Ok(())
}

#[test]
fn entries_answer_for_their_names_and_wildcards_for_all_below_them() -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(Stack::V4))?;
    let client = mesh.pod("shop/client");
    let entry = |name: &str, host: &str, address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{hosts: [\"{host}\"], addresses: [{address}], resolution: STATIC, \
             ports: [{{name: tcp, number: 80, protocol: TCP}}]}}\n"
        )
    };
    mesh.apply(&entry("wide", "*.wild.test", "192.0.2.20"))?;
    mesh.apply(&entry("narrow", "*.in.wild.test", "192.0.2.21"))?;
    mesh.apply(&entry("exact", "one.wild.test", "192.0.2.22"))?;
    for (name, address) in [
        ("a.wild.test", "192.0.2.20"),
        ("a.b.wild.test", "192.0.2.20"),
        ("a.in.wild.test", "192.0.2.21"),
        ("one.wild.test", "192.0.2.22"),
        ("ONE.Wild.TEST", "192.0.2.22"),
    ] {
        until_told(&client, &format!("+short {name}"), &[address])?;
        assert_eq!(looked_up(&client, name)?, [address], "{name}");
    }
    Ok(())
}

#[test]
fn what_the_mesh_does_not_know_is_asked_of_the_pods_own_name_server() -> Result<(), LabError> {
    let mut cluster = shop(Stack::V4);
    let node = "172.30.0.12";
    let own = json!({ "spec": { "dnsPolicy": "None", "dnsConfig": { "nameservers": [node], "searches": ["up.test"] } } });
    cluster.pod(PodSpec::new("shop", "peculiar").node("node1").merge(own));
    let lab = Lab::up(&cluster)?;
    let usual =
        serve::Dns::start(lab.wire(), &[("name.up.test", &["192.0.2.1".parse().expect("an address")])])?;
    let other = serve::Dns::start(
        lab.node("node2").netns(),
        &[("name.up.test", &["192.0.2.2".parse().expect("an address")])],
    )?;
    let mesh = Mesh::on(lab, &Default::default())?;
    let (client, peculiar) = (mesh.pod("shop/client"), mesh.pod("shop/peculiar"));
    mesh.apply(&Web(Stack::V4).manifest(""))?;
    until_told(&peculiar, "+short web.shop.svc.cluster.local", &["10.96.9.1"])?;
    let before = other.asked().len();
    assert_eq!(dig(&peculiar, "+short web.shop.svc.cluster.local")?, ["10.96.9.1"]);
    assert_eq!(other.asked().len(), before, "the mesh answers");
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(dig(&client, &format!("+short {transport} name.up.test"))?, ["192.0.2.1"]);
        assert_eq!(dig(&peculiar, &format!("+short {transport} name.up.test"))?, ["192.0.2.2"]);
    }
    assert_eq!(looked_up(&peculiar, "name")?, ["192.0.2.2"], "by its own search list");
    assert_eq!(looked_up(&peculiar, "web")?, Vec::<String>::new(), "it does not search the cluster");
    assert!(client.sh("dig nowhere.test")?.contains("status: NXDOMAIN"));
    assert!(usual.asked().contains(&"nowhere.test".to_owned()));
    Ok(())
}

#[test]
fn a_pod_with_only_ipv6_asks_and_is_told_by_ipv6() -> Result<(), LabError> {
    let lab = Lab::up(&mall(Stack::V6))?;
    let outside = "2001:db8::7".parse().expect("an address");
    let _dns = serve::Dns::start(lab.wire(), &[("out.test", &[outside])])?;
    let mesh = Mesh::on(lab, &Default::default())?;
    let client = mesh.pod("shop/client");
    mesh.apply(&Web(Stack::V6).manifest(""))?;
    for transport in ["+notcp", "+tcp"] {
        let words = format!("+short {transport} AAAA web.shop.svc.cluster.local");
        until_told(&client, &words, &["fd00:96::9:1"])?;
        assert_eq!(dig(&client, &format!("+short {transport} AAAA out.test"))?, ["2001:db8::7"]);
    }
    assert_eq!(looked_up(&client, "web")?, ["fd00:96::9:1"]);
    assert!(client.sh("cat /etc/resolv.conf")?.contains(&WIRE_V6.to_string()));
    assert!(!client.sh("cat /etc/resolv.conf")?.contains(&WIRE_V4.to_string()));
    Ok(())
}

/// The lines that dig prints.
fn dig(pod: &Pod, words: &str) -> Result<Vec<String>, LabError> {
    Ok(pod.sh(&format!("dig +time=2 +tries=2 {words}"))?.lines().map(str::to_owned).collect())
}

/// Waits until dig prints these lines, in any order.
fn until_told(pod: &Pod, words: &str, wanted: &[&str]) -> Result<(), LabError> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    let mut last = Vec::new();
    eventually(&format!("dig {words} prints {wanted:?}"), || {
        let told = pod.output(&format!("dig +time=1 +tries=1 {words}"))?.stdout;
        last = told.lines().map(str::to_owned).collect();
        last.sort_unstable();
        Ok((last == wanted).then_some(()))
    })
}

/// What the C library of programs finds, each address once; nothing for a name that it does not find.
fn looked_up(pod: &Pod, name: &str) -> Result<Vec<String>, LabError> {
    let told = pod.output(&format!("getent ahosts {name}"))?.stdout;
    let mut found: Vec<_> =
        told.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
