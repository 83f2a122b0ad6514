//! What every other suite stands on: that a lab's pods reach each other, and that its recordings see what is sent.

use std::io::{Read, Write};

use harness::{Cluster, Lab, LabError, Marker, PodSpec, Stack, serve};

#[test]
fn pods_of_two_nodes_reach_each_other_in_every_stack() -> Result<(), LabError> {
    let mut cluster = Cluster::two_nodes();
    for (name, stack) in [("four", Stack::V4), ("six", Stack::V6), ("both", Stack::Dual)] {
        cluster.pod(PodSpec::new("shop", &format!("{name}-1")).stack(stack).node("node1"));
        cluster.pod(PodSpec::new("shop", &format!("{name}-2")).stack(stack).node("node2"));
    }
    let lab = Lab::up(&cluster)?;
    for name in ["four", "six", "both"] {
        let (client, server) = (lab.pod(&format!("shop/{name}-1")), lab.pod(&format!("shop/{name}-2")));
        let echo = server.serve(0, serve::echo())?;
        for ip in server.ips() {
            let mut stream = client.connect((*ip, echo.port()).into())?;
            stream.write_all(b"ping")?;
            let mut heard = [0; 4];
            stream.read_exact(&mut heard)?;
            assert_eq!(&heard, b"ping");
        }
        let seen: Vec<_> = echo.peers().iter().map(std::net::SocketAddr::ip).collect();
        assert_eq!(seen, client.ips());
    }
    Ok(())
}

#[test]
fn a_recording_holds_what_is_sent_in_plaintext_and_nothing_else() -> Result<(), LabError> {
    let lab = Lab::up(&two_pods())?;
    let (client, server) = (lab.pod("shop/client"), lab.pod("shop/server"));
    let (sent, kept) = (Marker::random()?, Marker::random()?);
    let sink = server.serve(0, serve::sink())?;
    let capture = lab.capture()?;
    let mut stream = client.connect(server.at(sink.port()))?;
    stream.write_all(&sent.payload(100_000))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    let packets = capture.stop(&lab)?;
    assert!(packets.between(client.ip(), server.ip()).of_port(sink.port()).holding(sent.as_bytes()) > 2);
    assert_eq!(packets.holding(kept.as_bytes()), 0);
    Ok(())
}

#[test]
fn a_pod_is_gone_when_its_manifest_is_and_another_may_have_its_address() -> Result<(), LabError> {
    let mut cluster = two_pods();
    let lab = Lab::up(&cluster)?;
    let (client, first) = (lab.pod("shop/client"), lab.pod("shop/server"));
    let _served = first.serve(8080, serve::http("first"))?;
    let url = format!("curl -sm 5 http://{}", first.at(8080));
    assert_eq!(client.sh(&url)?, "first");
    cluster.remove("Pod", "shop", "server");
    cluster.pod(PodSpec::new("shop", "other").node("node2").addresses(first.ips()));
    lab.update(&cluster)?;
    let _served = lab.pod("shop/other").serve(8080, serve::http("second"))?;
    assert_eq!(client.sh(&url)?, "second");
    Ok(())
}

#[test]
fn pods_resolve_names_that_the_world_outside_knows() -> Result<(), LabError> {
    let lab = Lab::up(&two_pods())?;
    let address = ["192.0.2.7".parse().expect("an address")];
    let dns = serve::Dns::start(lab.wire(), &[("example.test", &address)])?;
    let client = lab.pod("shop/client");
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(client.sh(&format!("dig +short {transport} example.test"))?, "192.0.2.7\n");
    }
    assert!(client.sh("dig nowhere.test")?.contains("NXDOMAIN"));
    assert_eq!(dns.asked(), ["example.test", "example.test", "nowhere.test"]);
    Ok(())
}

#[test]
fn a_lab_leaves_nothing_behind() -> Result<(), LabError> {
    let lab = Lab::up(&two_pods())?;
    let (folder, pod) = (lab.folder(), lab.pod("shop/client"));
    let (netns, mut sleeper) = (pod.netns().path(), pod.spawn("sleep 1000")?);
    assert!(folder.exists() && netns.exists());
    drop(lab);
    assert!(!folder.exists() && !netns.exists());
    assert!(!sleeper.wait(harness::PATIENCE)?.success());
    Ok(())
}

fn two_pods() -> Cluster {
    let mut cluster = Cluster::two_nodes();
    cluster.pod(PodSpec::new("shop", "client").node("node1"));
    cluster.pod(PodSpec::new("shop", "server").node("node2"));
    cluster
}
