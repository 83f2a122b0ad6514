//! Istio's labels of a connection.

use std::fmt::Write;
use std::sync::Arc;

use crate::metrics::bounded::OVERFLOW;

/// Who reports what of which connection. Missing values are empty here and `unknown` in the metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLabels {
    /// Which side reports.
    pub reporter: Reporter,
    /// Who opened the connection.
    pub source: Arc<Peer>,
    /// Whom it reached.
    pub destination: Arc<Peer>,
    /// The service that was called.
    pub service: ServiceLabels,
    /// How it was protected.
    pub security: Security,
}

/// One end of a connection: the same for all pods of a deployment, so made once for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Deployment, job, or the pod itself.
    pub workload: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Identity, with `spiffe://`.
    pub principal: Arc<str>,
    /// Label `app`.
    pub app: Arc<str>,
    /// Label `version`.
    pub version: Arc<str>,
    /// Cluster.
    pub cluster: Arc<str>,
    /// Region.
    pub region: Arc<str>,
    /// Zone.
    pub zone: Arc<str>,
    /// Canonical name.
    pub canonical_service: Arc<str>,
    /// Canonical revision.
    pub canonical_revision: Arc<str>,
}

/// The service that was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceLabels {
    /// Host name.
    pub host: Arc<str>,
    /// Name of the object.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
}

/// Which side of a connection reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The destination's node.
    Destination,
    /// The source's node.
    Source,
}

/// How a connection was protected (`connection_security_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// In a tunnel.
    MutualTls,
    /// It never left the node.
    NodeLocal,
    /// Not at all.
    Unknown,
}

/// Why a connection failed (`response_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseFlag {
    /// A certificate was revoked.
    CertRevoked,
    /// The destination did not answer.
    Connect,
    /// Policy refused it.
    Deny,
    /// The tunnel's HTTP/2 did not come up.
    H2HandshakeFailure,
    /// The peer's or our own identity.
    IdentityError,
    /// A NetworkPolicy, as far as that can be told.
    NetworkPolicy,
    /// TLS did not come up.
    TlsFailure,
}

impl ConnectionLabels {
    /// The labels of connections for which there is no room for labels of their own.
    pub(super) fn overflow(&self) -> Self {
        let text: Arc<str> = OVERFLOW.into();
        let peer = Arc::new(Peer { workload: text.clone(), namespace: text.clone(), ..Peer::default() });
        let service = ServiceLabels { host: text.clone(), name: text.clone(), namespace: text };
        Self { source: peer.clone(), destination: peer, service, ..*self }
    }

    /// All labels but `response_flags`, as they stand between the braces of a sample.
    pub(super) fn render(&self) -> Box<str> {
        let mut text = String::with_capacity(1024);
        let security = match self.security {
            Security::MutualTls => "mutual_tls",
            Security::NodeLocal => "node_local",
            Security::Unknown => "unknown",
        };
        label(&mut text, "reporter", self.reporter.as_str());
        for (side, peer) in [("source", &self.source), ("destination", &self.destination)] {
            peer.render(side, &mut text);
        }
        label(&mut text, "destination_service", &self.service.host);
        label(&mut text, "destination_service_namespace", &self.service.namespace);
        label(&mut text, "destination_service_name", &self.service.name);
        label(&mut text, "request_protocol", "tcp");
        label(&mut text, "connection_security_policy", security);
        text.pop();
        text.into()
    }
}

impl Reporter {
    /// Both, in the order of [`Reporter::place`].
    pub(super) const ALL: [Self; 2] = [Self::Destination, Self::Source];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Source => "source",
        }
    }

    /// Its place in [`Reporter::ALL`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

impl Peer {
    fn render(&self, side: &str, text: &mut String) {
        for (name, value) in [
            ("workload", &self.workload),
            ("workload_namespace", &self.namespace),
            ("principal", &self.principal),
            ("app", &self.app),
            ("version", &self.version),
            ("cluster", &self.cluster),
            ("region", &self.region),
            ("zone", &self.zone),
            ("canonical_service", &self.canonical_service),
            ("canonical_revision", &self.canonical_revision),
        ] {
            text.push_str(side);
            text.push('_');
            label(text, name, value);
        }
    }
}

impl ResponseFlag {
    /// All flags, in the order of [`ResponseFlag::place`].
    pub(super) const ALL: [Self; 7] = [
        Self::CertRevoked,
        Self::Connect,
        Self::Deny,
        Self::H2HandshakeFailure,
        Self::IdentityError,
        Self::NetworkPolicy,
        Self::TlsFailure,
    ];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertRevoked => "CERT_REVOKED",
            Self::Connect => "CONNECT",
            Self::Deny => "DENY",
            Self::H2HandshakeFailure => "H2_HANDSHAKE_FAILURE",
            Self::IdentityError => "IDENTITY_ERROR",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::TlsFailure => "TLS_FAILURE",
        }
    }

    /// Its place in [`ResponseFlag::ALL`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// Appends `name="value",`; an empty value is `unknown`.
fn label(text: &mut String, name: &str, value: &str) {
    let value = if value.is_empty() { "unknown" } else { value };
    text.push_str(name);
    text.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.write_char(other).expect("writing to a string never fails"),
        }
    }
    text.push_str("\",");
}
