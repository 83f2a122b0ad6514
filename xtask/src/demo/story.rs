//! The calls that the demo makes, and what was seen of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use harness::{AccessRecord, LabError, Marker, Mesh, Packets, Pod, serve};

use crate::demo::{OUTSIDE, report};
use crate::error::XtaskError;

/// A call from a pod to another.
struct Call {
    from: &'static str,
    to: &'static str,
    /// What it is to show.
    what: &'static str,
    /// A shell's command; `MARK` stands for the payload's mark.
    command: &'static str,
    expected: Expected,
}

/// What is to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// An mTLS tunnel between nodes.
    Tunnel,
    /// Within a node: nothing is on the wire.
    NodeLocal,
    /// As it is: one side is not in the mesh.
    Plaintext,
}

/// What was seen of a call.
pub(super) struct Seen {
    pub(super) from: Pod,
    pub(super) to: Pod,
    pub(super) what: &'static str,
    pub(super) record: AccessRecord,
    /// Packets between the two pods that passed between nodes.
    pub(super) packets: usize,
    /// Those that hold the payload's mark.
    pub(super) marked: usize,
    expected: Expected,
}

/// A name that a pod asks for.
struct Question {
    pod: &'static str,
    name: &'static str,
    kind: &'static str,
    answer: IpAddr,
    by: Answerer,
}

/// Who answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answerer {
    Daemon,
    /// The cluster's DNS service, to which the daemon has forwarded it.
    Cluster,
}

/// What a pod was told of a name.
pub(super) struct Answer {
    question: &'static Question,
    pub(super) answer: String,
    pub(super) by: Answerer,
}

/// What was seen of the whole story.
pub(super) struct Told {
    pub(super) calls: Vec<Seen>,
    pub(super) names: Vec<Answer>,
}

/// Makes the calls, and gathers what the daemons and the wire say of them.
pub(super) fn tell(mesh: &Mesh, dns: &serve::Dns) -> Result<Told, XtaskError> {
    let capture = mesh.capture()?;
    let mut marks = Vec::new();
    for call in CALLS {
        let mark = Marker::random()?;
        let said = mesh.pod(call.from).sh(&call.command.replace("MARK", &mark.to_string()))?;
        print!("$ {}: {}\n  {said}", call.from, call.command);
        marks.push(mark);
    }
    let names = ask_names(mesh, dns)?;
    let packets = capture.stop(mesh)?;
    let seen = CALLS.iter().zip(&marks).map(|(call, mark)| see(mesh, call, mark, &packets));
    Ok(Told { calls: seen.collect::<Result<_, _>>()?, names })
}

impl Told {
    pub(super) fn text(&self) -> String {
        report::story(self)
    }

    /// Whether all was as it is promised.
    pub(super) fn check(&self) -> Result<(), XtaskError> {
        let calls = self.calls.iter().filter_map(Seen::surprise);
        let surprises: Vec<_> = calls.chain(self.names.iter().filter_map(Answer::surprise)).collect();
        if surprises.is_empty() { Ok(()) } else { Err(XtaskError::Surprise(surprises.join("; "))) }
    }
}

impl Seen {
    fn surprise(&self) -> Option<String> {
        let Self { record, packets, marked, .. } = self;
        let path = record.path.as_str();
        let fine = match self.expected {
            Expected::Tunnel => path == "hbone" && *packets > 0 && *marked == 0,
            Expected::NodeLocal => path == "node-local" && *packets == 0 && *marked == 0,
            // What the mesh does not carry must be found, or looking for it proves nothing.
            Expected::Plaintext => ["direct", "passthrough"].contains(&path) && *marked > 0,
        };
        let (from, to) = (self.from.name(), self.to.name());
        (!fine).then(|| {
            format!("{from} to {to} went by {path}, {marked} of {packets} packets held its payload; {:?} was expected", self.expected)
        })
    }
}

impl Answer {
    pub(super) const fn pod(&self) -> &'static str {
        self.question.pod
    }

    pub(super) fn asked(&self) -> String {
        format!("{} {}", self.question.name, self.question.kind)
    }

    fn surprise(&self) -> Option<String> {
        let Self { question, answer, by } = self;
        let fine = answer.parse() == Ok(question.answer) && *by == question.by;
        let (pod, asked) = (question.pod, self.asked());
        (!fine).then(|| {
            format!(
                "{pod} asked for {asked} and was told {answer:?} by {by:?}; {} by {:?} was expected",
                question.answer, question.by
            )
        })
    }
}

fn see(mesh: &Mesh, call: &Call, mark: &Marker, packets: &Packets) -> Result<Seen, LabError> {
    let (from, to) = (mesh.pod(call.from), mesh.pod(call.to));
    let remote = from.node().name() != to.node().name();
    // Who called is known best where it was verified.
    let (node, direction) =
        if remote && mesh.wants_capture(&to) { (to.node(), "inbound") } else { (from.node(), "outbound") };
    let is_it = |it: &AccessRecord| it.direction == direction && it.joins(from.name(), to.name());
    let record = mesh.daemon(node.name()).wait_record(is_it)?;
    let between =
        from.ips().iter().flat_map(|one| to.ips().iter().map(|other| packets.between(*one, *other)));
    let (mut count, mut marked) = (0, 0);
    for packets in between {
        // Each is on the links of both nodes.
        let packets = packets.on_link_of(from.node().name());
        count += packets.len();
        marked += packets.holding(mark.as_bytes());
    }
    Ok(Seen { from, to, what: call.what, record, packets: count, marked, expected: call.expected })
}

fn ask_names(mesh: &Mesh, dns: &serve::Dns) -> Result<Vec<Answer>, LabError> {
    let ask = |question: &'static Question| {
        let Question { pod, name, kind, .. } = question;
        let said = mesh.pod(pod).sh(&format!("dig +search +short {name} {kind}"))?;
        let forwarded = dns.asked().iter().any(|asked| asked.starts_with(name));
        let by = if forwarded { Answerer::Cluster } else { Answerer::Daemon };
        Ok(Answer { question, answer: said.lines().last().unwrap_or_default().to_owned(), by })
    };
    QUESTIONS.iter().map(ask).collect()
}

const QUESTIONS: &[Question] = &[
    Question {
        pod: "shop/frontend",
        name: "catalog",
        kind: "A",
        answer: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 12)),
        by: Answerer::Daemon,
    },
    Question {
        pod: "shop/frontend",
        name: "vault.bank",
        kind: "AAAA",
        answer: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0x22)),
        by: Answerer::Daemon,
    },
    Question { pod: "shop/cart", name: OUTSIDE, kind: "A", answer: harness::WIRE_V4, by: Answerer::Cluster },
];

/// Each pair of pods once, so that what is seen of two pods is of that call.
const CALLS: &[Call] = &[
    Call {
        from: "shop/frontend",
        to: "shop/catalog",
        what: "HTTP to a Service",
        command: "curl -sS -m 10 http://catalog/MARK",
        expected: Expected::Tunnel,
    },
    Call {
        from: "shop/frontend",
        to: "shop/cart",
        what: "HTTP to a Service, same node",
        command: "curl -sS -m 10 http://cart/MARK",
        expected: Expected::NodeLocal,
    },
    Call {
        from: "shop/cart",
        to: "bank/ledger",
        what: "TCP echo, other namespace",
        command: "echo MARK | socat -t 10 - TCP:ledger.bank:9000",
        expected: Expected::Tunnel,
    },
    Call {
        from: "shop/frontend",
        to: "bank/vault",
        what: "HTTP to an IPv6-only pod",
        command: "curl -sS -m 10 http://vault.bank/MARK",
        expected: Expected::Tunnel,
    },
    Call {
        from: "legacy/batch",
        to: "shop/catalog",
        what: "HTTP from outside the mesh",
        command: "curl -sS -m 10 http://10.244.2.10:8080/MARK",
        expected: Expected::Plaintext,
    },
    Call {
        from: "shop/cart",
        to: "legacy/printer",
        what: "HTTP to outside the mesh",
        command: "curl -sS -m 10 http://10.244.2.12:8080/MARK",
        expected: Expected::Plaintext,
    },
];
