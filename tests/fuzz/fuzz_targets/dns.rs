//! A client's message and a name server's answer: what makes sense is answered, and nothing else is.
#![no_main]

use fuzz::{Input, world};
use libfuzzer_sys::fuzz_target;
use mesh::Network;
use ztunnel::dns::{
    Answer, ClientView, ClusterNames, Decision, PodResolver, Query, ResolvConf, Unusable, answer, answered,
    refused,
};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (random, length) = (input.byte().into(), input.u16());
    let message = input.take(length.into());
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(Unusable::NotAQuery) => return,
        Err(Unusable::Refused { id, code }) => {
            let reply = refused(id, code).expect("it can be written");
            assert!(reply.len() < 64 && reply[..2] == message[..2], "little is said to what makes no sense");
            return;
        }
    };
    assert_eq!(query.bytes(), message);
    if let Some(name) = &query.question().name {
        assert!(name.len() < 255 && !name.is_empty() && *name == name.to_ascii_lowercase());
    }
    let resolver = PodResolver::default().view(
        "shop",
        &ClusterNames { domain: "cluster.local".to_owned(), servers: Vec::new() },
        &ResolvConf::default(),
    );
    let network = Network::default();
    let client =
        ClientView { namespace: "shop", network: &network, domain: "cluster.local", resolver: &resolver };
    let answer = match answer(world(), &client, query.question(), random) {
        Decision::Answer(answer) => answer,
        Decision::Forward { .. } | Decision::ServFail => Answer::default(),
    };
    for limit in [query.datagram_limit(), usize::from(u16::MAX)] {
        let reply = answered(&query, &answer, limit).expect("a name that was read can be written");
        assert!(reply.len() <= limit.max(message.len() + 11), "{} > {limit}", reply.len());
        assert!(query.is_answered_by(&reply, query.id()));
    }
    let upstream = input.rest().to_vec();
    let is_answer = query.is_answered_by(&upstream, query.id());
    let limit = query.datagram_limit();
    let adopted = query.adopt(upstream, limit);
    assert!(adopted.len() <= limit);
    assert!(!is_answer || query.is_answered_by(&adopted, query.id()));
});
