//! What the demo prints.

use std::path::Path;

use harness::{LabError, Mesh, Pod};

use crate::demo::story::{Answerer, Seen, Told};
use crate::table::{Table, line};

/// The pods, where they are, and whether they are in the mesh.
pub(super) fn cluster(mesh: &Mesh) -> Result<String, LabError> {
    let mut table = Table::new(&["NODE", "POD", "ADDRESSES", "IN THE MESH", "IDENTITY"]);
    let mut pods = mesh.pods();
    pods.sort_by_key(|pod| (pod.node().name().to_owned(), key(pod)));
    for pod in pods {
        let addresses: Vec<_> = pod.ips().iter().map(ToString::to_string).collect();
        let phase = mesh.daemon(pod.node().name()).phase(&pod)?;
        let phase = phase.map_or_else(|| "no".to_owned(), |it| it.phase);
        let identity = if mesh.wants_capture(&pod) { pod.identity() } else { "-".to_owned() };
        table.row([pod.node().name().to_owned(), key(&pod), addresses.join(" "), phase, identity]);
    }
    Ok(table.plain())
}

/// The calls and names, with what the daemons and the wire say of them.
pub(super) fn story(told: &Told) -> String {
    let mut calls =
        Table::new(&["FROM", "TO", "CALL", "PATH", "KNOWN AS", "BYTES", "PACKETS", "IN PLAINTEXT"]);
    for seen in &told.calls {
        let Seen { from, to, what, record, packets, marked, .. } = seen;
        let identity = record.source_identity.as_deref().map_or("-", |id| id.trim_start_matches("spiffe://"));
        calls.row([
            key(from),
            key(to),
            (*what).to_owned(),
            record.path.clone(),
            identity.to_owned(),
            format!("{} / {}", record.bytes_sent, record.bytes_received),
            packets.to_string(),
            marked.to_string(),
        ]);
    }
    let mut names = Table::new(&["FROM", "ASKS FOR", "ANSWER", "ANSWERED BY"]);
    for answer in &told.names {
        let by = match answer.by {
            Answerer::Daemon => "the daemon",
            Answerer::Cluster => "the cluster's DNS service",
        };
        names.row([answer.pod().to_owned(), answer.asked(), answer.answer.clone(), by.to_owned()]);
    }
    let mut text = format!("\n{}\n{}\n", calls.plain(), names.plain());
    line(
        &mut text,
        format_args!("PACKETS is what passed between the two pods on the wire between the nodes;"),
    );
    line(
        &mut text,
        format_args!("IN PLAINTEXT is how many of them held the random mark in the call's payload."),
    );
    text
}

/// What to try while it is up.
pub(super) fn commands(mesh: &Mesh, program: &Path) -> String {
    let (frontend, daemon) = (mesh.pod("shop/frontend"), mesh.daemon("node1"));
    let mut text = String::from("The mesh stays up until Ctrl-C. To play with it, in another terminal:\n\n");
    let frontend = frontend.netns().name();
    line(&mut text, format_args!("ip netns exec {frontend} curl -s http://catalog"));
    line(&mut text, format_args!("ip netns exec {} tcpdump -Ani node1 tcp", mesh.wire().name()));
    let (program, socket) = (program.display(), daemon.enrol_socket());
    line(&mut text, format_args!("{program} enrol --socket {} list", socket.display()));
    let socket = daemon.admin_socket();
    line(&mut text, format_args!("curl -s --unix-socket {} http://localhost/config_dump", socket.display()));
    line(&mut text, format_args!("tail -f {}", daemon.log_file().display()));
    line(&mut text, format_args!("ls {}    # edit one: it takes effect at once", mesh.manifests().display()));
    text
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace(), pod.name())
}
