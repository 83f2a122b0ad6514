//! Names, as programs in pods ask for them.

use std::fs;

use e2e::calls::shop;
use harness::{Lab, LabError, Mesh, MeshOptions, Pod, PodSpec, Stack, WIRE_V4, WIRE_V6, eventually, serve};
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
fn a_pod_with_its_nodes_configuration_searches_as_the_nodes_file_says() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(by_the_nodes_file)
}

fn by_the_nodes_file(stack: Stack) -> Result<(), LabError> {
    let (kind, service, entry, wire) = match stack {
        Stack::V6 => ("AAAA", "fd00:96::9:1", "2001:db8::20", WIRE_V6),
        Stack::V4 | Stack::Dual => ("A", "10.96.9.1", "192.0.2.20", WIRE_V4),
    };
    let mut cluster = mall(stack);
    cluster.pod(PodSpec::new("shop", "plain").merge(json!({ "spec": { "dnsPolicy": "Default" } })));
    let lab = Lab::up(&cluster)?;
    let _dns = serve::Dns::start(lab.wire(), &[])?;
    let file = lab.folder().join("resolv.conf");
    let says =
        |domain: &str| fs::write(&file, format!("nameserver {wire}\nsearch {domain}\noptions ndots:2\n"));
    says("corp.test")?;
    let config = json!({ "dns": { "resolvConf": file } });
    let mesh = Mesh::on(lab, &MeshOptions { config, ..MeshOptions::default() })?;
    let (client, plain) = (mesh.pod("shop/client"), mesh.pod("shop/plain"));
    mesh.apply(&Web(stack).manifest(""))?;
    mesh.apply(&format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: db, namespace: shop}}\n\
         spec: {{hosts: [db.main.corp.test], addresses: [\"{entry}\"], resolution: STATIC, \
         ports: [{{name: tcp, number: 80, protocol: TCP}}]}}\n"
    ))?;
    let asks = |name: &str| format!("+short {kind} {name}");
    until_told(&plain, &asks("web.shop.svc.cluster.local"), &[service])?;
    // Short names are those of the node's domains, and not of the cluster's.
    until_told(&plain, &asks("db.main"), &[entry])?;
    assert_eq!(dig(&plain, &asks("web"))?, [""; 0]);
    assert_eq!(dig(&client, &asks("web"))?, [service], "others search the cluster");
    // What the C library of programs makes of a name that it searches for.
    let searched = dig(&plain, &asks("web.shop.svc.cluster.local.corp.test"))?;
    assert_eq!(searched.last().map(String::as_str), Some(service));
    says("main.corp.test")?;
    until_told(&plain, &asks("db"), &[entry])?;
    assert_eq!(dig(&plain, &asks("db.main"))?, [""; 0], "as the file says now");
    Ok(())
}

#[test]
fn where_dns_is_not_captured_the_pods_own_name_server_is_asked_for_everything() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(uncaptured)
}

fn uncaptured(stack: Stack) -> Result<(), LabError> {
    const NAME: &str = "web.shop.svc.cluster.local";
    let (service, kind, other) = match stack {
        Stack::V6 => ("fd00:96::9:1", "AAAA", "2001:db8::9"),
        Stack::V4 | Stack::Dual => ("10.96.9.1", "A", "192.0.2.9"),
    };
    // What is configured holds for pods that say nothing; the other pod says the opposite.
    for (enabled, says, captured, past) in
        [(true, "false", "client", "peculiar"), (false, "true", "peculiar", "client")]
    {
        let mut cluster = mall(stack);
        cluster.pod(PodSpec::new("shop", "peculiar").annotation("ambient.istio.io/dns-capture", says));
        let lab = Lab::up(&cluster)?;
        let dns = serve::Dns::start(lab.wire(), &[(NAME, &[other.parse().expect("an address")])])?;
        let config = json!({ "dns": { "enabled": enabled } });
        let mesh = Mesh::on(lab, &MeshOptions { config, ..MeshOptions::default() })?;
        let [captured, past] = [captured, past].map(|name| mesh.pod(&format!("shop/{name}")));
        mesh.apply(&Web(stack).manifest(""))?;
        for transport in ["+notcp", "+tcp"] {
            let words = format!("+short {transport} {kind} {NAME}");
            until_told(&captured, &words, &[service])?;
            let before = dns.asked().len();
            assert_eq!(dig(&captured, &words)?, [service]);
            assert_eq!(dns.asked().len(), before, "the mesh answers");
            assert_eq!(dig(&past, &words)?, [other]);
            assert_eq!(dns.asked()[before..], [NAME], "the name server of the pod does");
        }
        assert_eq!(looked_up(&past, "web")?, [other]);
    }
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
