//! What is said in each conversation.

use harness::LabError;
use hbone::authority::{Authority, Host};
use hbone::baggage::Baggage;
use hbone::forwarded::Forwarded;
use hbone::h2::{ConnectRequest, ConnectResponse, StreamId};

use super::end::{Act, End, Seen, unexpected};
use crate::world::{APP, BARE, RESETTER, THEIRS};

/// One conversation.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) peer: Peer,
    pub(crate) run: fn(&mut End<'_>) -> Result<(), LabError>,
}

/// Which end the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Its pod calls ours, there.
    Client(Called),
    /// We call its pod.
    Server,
}

/// How the peer's client names our pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    V4,
    V6,
    Service,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client-v4",
        about: "A client calls a pod by its IPv4 address; bytes go both ways, it ends its half first.",
        peer: Peer::Client(Called::V4),
        run: |end| call(end, Called::V4),
    },
    Scenario {
        name: "client-v6",
        about: "A client calls a pod by its IPv6 address; bytes go both ways, it ends its half first.",
        peer: Peer::Client(Called::V6),
        run: |end| call(end, Called::V6),
    },
    Scenario {
        name: "client-service",
        about: "A client calls a Service's address; bytes go both ways, it ends its half first.",
        peer: Peer::Client(Called::Service),
        run: |end| call(end, Called::Service),
    },
    Scenario {
        name: "client-hears-the-end-first",
        about: "We end our half first; the client goes on sending.",
        peer: Peer::Client(Called::V4),
        run: hears_the_end_first,
    },
    Scenario {
        name: "client-resets",
        about: "The client's application resets its connection.",
        peer: Peer::Client(Called::V4),
        run: resets,
    },
    Scenario {
        name: "client-is-reset",
        about: "We reset the client's stream.",
        peer: Peer::Client(Called::V4),
        run: is_reset,
    },
    Scenario {
        name: "client-is-refused",
        about: "We answer 503.",
        peer: Peer::Client(Called::V4),
        run: is_refused,
    },
    Scenario {
        name: "client-is-told-to-go",
        about: "We go away with a stream open: it goes on, and the client's next call comes by another connection.",
        peer: Peer::Client(Called::V4),
        run: is_told_to_go,
    },
    Scenario {
        name: "server-answers",
        about: "A server is asked for an address of its pod, then for a port of a Service by name.",
        peer: Peer::Server,
        run: answers,
    },
    Scenario {
        name: "server-refuses",
        about: "A server is asked for another pod's address, for a port that nobody listens on, and for its own port.",
        peer: Peer::Server,
        run: refuses,
    },
    Scenario {
        name: "server-resets",
        about: "The server's application resets its connection; then we reset a stream.",
        peer: Peer::Server,
        run: server_resets,
    },
    Scenario {
        name: "server-drains",
        about: "The server's daemon is replaced with a stream open: the stream goes on.",
        peer: Peer::Server,
        run: drains,
    },
];

fn call(end: &mut End<'_>, called: Called) -> Result<(), LabError> {
    let stream = accept(end, called)?;
    end.act(Act::Send(b"hello"))?;
    assert_eq!(end.payload(stream, 5)?, b"hello");
    end.send(stream, b"world", false)?;
    end.act(Act::Hear(b"world"))?;
    end.act(Act::Finish)?;
    end.end(stream)?;
    end.send(stream, b"bye", true)?;
    end.act(Act::Hear(b"bye"))?;
    end.act(Act::HearEnd)?;
    lives(end)
}

fn hears_the_end_first(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = accept(end, Called::V4)?;
    end.send(stream, b"bye", true)?;
    end.act(Act::Hear(b"bye"))?;
    end.act(Act::HearEnd)?;
    end.act(Act::Send(b"still here"))?;
    assert_eq!(end.payload(stream, 10)?, b"still here");
    end.act(Act::Finish)?;
    end.end(stream)?;
    lives(end)
}

fn resets(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = accept(end, Called::V4)?;
    end.act(Act::Send(b"x"))?;
    end.payload(stream, 1)?;
    end.act(Act::Reset)?;
    match end.next()? {
        // Istio's proxy tells of a reset as of an end.
        Seen::Reset(from, _) if from == stream => {}
        Seen::End(from) if from == stream => end.send(stream, b"", true)?,
        other => return Err(unexpected("a reset", &other)),
    }
    lives(end)
}

fn is_reset(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = accept(end, Called::V4)?;
    end.act(Act::Send(b"x"))?;
    end.payload(stream, 1)?;
    end.reset(stream)?;
    end.act(Act::HearEnd)?;
    lives(end)
}

fn is_refused(end: &mut End<'_>) -> Result<(), LabError> {
    let (stream, _) = end.request()?;
    end.respond(stream, &ConnectResponse::new(503), true)?;
    end.act(Act::HearEnd)?;
    lives(end)
}

fn is_told_to_go(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = accept(end, Called::V4)?;
    end.go_away()?;
    lives(end)?;
    end.act(Act::ConnectElsewhere)?;
    end.act(Act::Send(b"still here"))?;
    assert_eq!(end.payload(stream, 10)?, b"still here");
    end.act(Act::Finish)?;
    end.end(stream)?;
    end.send(stream, b"bye", true)?;
    end.act(Act::Hear(b"bye"))?;
    end.act(Act::HearEnd)
}

fn answers(end: &mut End<'_>) -> Result<(), LabError> {
    for authority in [format!("{}:{APP}", THEIRS[0]), "theirs.shop.svc.cluster.local:80".to_owned()] {
        let stream = end.open(&asking(&authority))?;
        let response = end.response(stream)?;
        assert_eq!(response.status, 200, "{authority}");
        let baggage = Baggage::parse(response.baggage.as_deref().unwrap_or_default());
        assert_eq!((&*baggage.namespace, &*baggage.service), ("shop", "theirs"), "{authority}");
        end.send(stream, b"hello", false)?;
        assert_eq!(end.payload(stream, 5)?, b"hello");
        end.send(stream, b"bye", true)?;
        assert_eq!(end.payload(stream, 3)?, b"bye");
        end.end(stream)?;
    }
    lives(end)
}

fn refuses(end: &mut End<'_>) -> Result<(), LabError> {
    let cases = [(format!("{}:{APP}", BARE[0]), 400), (format!("{}:9", THEIRS[0]), 503)];
    for (authority, status) in cases {
        let stream = end.open(&asking(&authority))?;
        assert_eq!(end.response(stream)?.status, status, "{authority}");
        lives(end)?;
    }
    let own = end.open(&asking(&format!("{}:15008", THEIRS[0])))?;
    assert!(!end.response(own)?.is_success(), "a proxy's own port is nobody's");
    lives(end)
}

fn server_resets(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = end.open(&asking(&format!("{}:{RESETTER}", THEIRS[0])))?;
    assert_eq!(end.response(stream)?.status, 200);
    end.send(stream, b"x", false)?;
    match end.next()? {
        Seen::Reset(from, _) if from == stream => {}
        Seen::End(from) if from == stream => end.send(stream, b"", true)?,
        other => return Err(unexpected("a reset", &other)),
    }
    let stream = end.open(&asking(&format!("{}:{APP}", THEIRS[0])))?;
    assert_eq!(end.response(stream)?.status, 200);
    end.reset(stream)?;
    lives(end)
}

fn drains(end: &mut End<'_>) -> Result<(), LabError> {
    let stream = end.open(&asking(&format!("{}:{APP}", THEIRS[0])))?;
    assert_eq!(end.response(stream)?.status, 200);
    end.act(Act::Upgrade)?;
    let Seen::GoAway(..) = end.next()? else {
        return Err(LabError::Unreadable {
            what: "the peer".to_owned(),
            problem: "does not go away".to_owned(),
        });
    };
    end.send(stream, b"bye", true)?;
    let mut heard = Vec::new();
    loop {
        match end.next()? {
            Seen::Data(_, bytes) => heard.extend(bytes),
            Seen::GoAway(..) => {}
            Seen::End(from) if from == stream => break,
            other => return Err(unexpected("the end of the stream", &other)),
        }
    }
    assert_eq!(heard, b"bye");
    Ok(())
}

/// Takes the client's call: it has what Istio's clients send.
fn accept(end: &mut End<'_>, called: Called) -> Result<StreamId, LabError> {
    let (stream, request) = end.request()?;
    check(&request, called);
    let baggage = Some("k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=bare".into());
    end.respond(stream, &ConnectResponse { status: 200, baggage }, false)?;
    Ok(stream)
}

fn check(request: &ConnectRequest, called: Called) {
    assert!(request.is_connect());
    let authority: Authority = request.authority.parse().expect("an authority");
    let Host::Ip(ip) = authority.host() else { panic!("{} is no address", request.authority) };
    assert!(BARE.iter().any(|it| it == &ip.to_string()), "{ip} is the pod's");
    assert_eq!(authority.port(), APP);
    match called {
        Called::V4 => assert!(ip.is_ipv4()),
        Called::V6 => assert!(ip.is_ipv6()),
        Called::Service => {}
    }
    let forwarded = Forwarded::parse(request.forwarded.as_deref().expect("a forwarded header"));
    let forwarded = forwarded.expect("it says for whom");
    assert!(
        THEIRS.iter().any(|it| it == &forwarded.client.ip().to_string()),
        "{} is the client's",
        forwarded.client
    );
    let host = forwarded.host.as_deref();
    assert_eq!(host, (called == Called::Service).then_some("bare.shop.svc.cluster.local"));
    let baggage = Baggage::parse(request.baggage.as_deref().expect("a baggage header"));
    assert_eq!((&*baggage.namespace, &*baggage.workload, &*baggage.service), ("shop", "theirs", "theirs"));
    let trace: Vec<_> = request.traceparent.as_deref().expect("a traceparent header").split('-').collect();
    assert_eq!(trace.iter().map(|it| it.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
}

/// What we ask as a client.
fn asking(authority: &str) -> ConnectRequest {
    ConnectRequest {
        baggage: Some(
            "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=bare,service.name=bare".into(),
        ),
        forwarded: Some(format!("for=\"{}:40000\"", BARE[0]).into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".into()),
        ..ConnectRequest::new(authority)
    }
}

/// The connection goes on, whatever became of streams.
fn lives(end: &mut End<'_>) -> Result<(), LabError> {
    end.ping()?;
    loop {
        match end.next()? {
            Seen::Pong => return Ok(()),
            Seen::End(_) | Seen::Reset(..) => {}
            other => return Err(unexpected("the answer to a ping", &other)),
        }
    }
}
