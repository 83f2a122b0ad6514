//! What policy sees of a connection.

use std::net::{IpAddr, SocketAddr};

use identity::SpiffeId;

use crate::SourceClass;

/// What is known of a connection when policy decides.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// The peer's verified identity; none for plaintext.
    pub source: Option<&'a SpiffeId>,
    /// What a source without an identity is known to be; means nothing beside an identity.
    pub class: Option<SourceClass>,
    /// The original source address.
    pub source_ip: IpAddr,
    /// The real destination: the pod's address and the port that the application listens on.
    pub destination: SocketAddr,
}

/// Attributes, taken apart once for all look-ups of an evaluation.
pub(crate) struct Facts<'a> {
    pub(crate) source: Option<Source<'a>>,
    /// Only where there is no identity.
    pub(crate) class: Option<SourceClass>,
    pub(crate) source_ip: IpAddr,
    pub(crate) destination_ip: IpAddr,
    pub(crate) port: u16,
}

/// Parts of an identity, as policies name them.
pub(crate) struct Source<'a> {
    /// `<trust domain>/ns/<namespace>/sa/<service account>`.
    pub(crate) principal: &'a str,
    pub(crate) namespace: &'a str,
    /// `<namespace>/sa/<service account>`: the principal's tail, so that no text has to be built to look it up.
    pub(crate) account: &'a str,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(attributes: &Attributes<'a>) -> Self {
        Self {
            source: attributes.source.map(Source::of),
            class: attributes.class.filter(|_| attributes.source.is_none()),
            source_ip: attributes.source_ip.to_canonical(),
            destination_ip: attributes.destination.ip().to_canonical(),
            port: attributes.destination.port(),
        }
    }

    /// Whether the connection is the node's own probe.
    pub(crate) fn is_probe(&self) -> bool {
        self.class == Some(SourceClass::Probe)
    }
}

impl<'a> Source<'a> {
    fn of(id: &'a SpiffeId) -> Self {
        let principal = id.principal();
        let account = &principal[id.trust_domain_str().len() + "/ns/".len()..];
        Self { principal, namespace: id.namespace(), account }
    }
}
