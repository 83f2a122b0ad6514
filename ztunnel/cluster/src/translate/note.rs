//! What is not, or not in all, as an object says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::objects::ObjectRef;

/// Something that a person should know of an object: it is not in force as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Note {
    /// The object.
    pub object: ObjectRef,
    /// What there is to know.
    pub remark: Remark,
}

/// What there is to know of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, thiserror::Error)]
#[serde(tag = "remark", rename_all = "camelCase")]
pub enum Remark {
    /// The action of a policy is not known.
    #[error("action is not known: all that the policy selects is denied")]
    ActionUnknown,
    /// The action of a policy is one that only somebody else can take.
    #[error("not enforced: action {action} is not supported")]
    ActionUnsupported {
        /// The action.
        action: &'static str,
    },
    /// A pod wants its DNS queries kept from capture, and its namespace bounds what its pods reach.
    #[error(
        "ambient.istio.io/dns-capture: \"false\" is not honoured: namespace {namespace} has {limit}: deny, which queries \
         would get around; on the namespace it is"
    )]
    DnsCaptureKept {
        /// The namespace.
        namespace: Arc<str>,
        /// Its setting.
        limit: &'static str,
    },
    /// A waypoint does not let objects of this namespace use it.
    #[error("waypoint refuses namespace {namespace}: traffic for it is refused")]
    AttachmentRefused {
        /// The namespace.
        namespace: Arc<str>,
    },
    /// Egress rules of a NetworkPolicy are the network's alone.
    #[error(
        "egress rules are left to the cluster's network, which sees port 15008 instead of a tunnel's real port"
    )]
    EgressNotEnforced,
    /// Another pod in the same node's network, of any namespace, says that it serves its port too, and tunnels go there.
    #[error("port {port} of its node leads to {winner}, which says that it serves it too")]
    HostPortTaken {
        /// The port.
        port: u16,
        /// Who counts.
        winner: ObjectRef,
    },
    /// A gateway of another network that nobody gets there through.
    #[error("no way to another network: {why}")]
    GatewayUnusable {
        /// Why.
        why: &'static str,
    },
    /// A gateway of the own network through which nobody is let in from others.
    #[error("tunnels from other networks are not let in through it: {why}")]
    GatewayNotOwn {
        /// Why.
        why: String,
    },
    /// Another object has its host name, and counts.
    #[error("host {host} is ignored: {winner} has it")]
    HostTaken {
        /// The host name.
        host: Arc<str>,
        /// Who counts.
        winner: ObjectRef,
    },
    /// An exclusion from capture is not honoured.
    #[error("{annotation} is not honoured: {why}")]
    ExclusionRefused {
        /// The annotation.
        annotation: &'static str,
        /// Why.
        why: ExclusionRefusal,
    },
    /// A value is none that the field can have.
    #[error("{field}: {value:?} is ignored")]
    InvalidValue {
        /// The field, label or annotation.
        field: Arc<str>,
        /// Its value.
        value: Arc<str>,
    },
    /// A name, or the value of a field that has a few words only, is not known.
    #[error("{}", unread(field, value.as_deref(), meant.as_deref()))]
    NotKnown {
        /// The field, label or annotation.
        field: Arc<str>,
        /// Its value, where the field is known.
        value: Option<Arc<str>>,
        /// What was probably meant.
        meant: Option<Arc<str>>,
    },
    /// It is said to be on a network that nothing leads to.
    #[error("network {network:?} has no Gateway of class istio-remote, and is not the own one: {known}")]
    NetworkUnknown {
        /// The network.
        network: Arc<str>,
        /// Which there are.
        known: String,
    },
    /// A pod asks for a proxy of its own, and none captures it.
    #[error("it is captured by nobody: it asks for a proxy of its own, and none says that it captures it")]
    OwnProxyMissing,
    /// The proxy that runs inside of a pod finds no such pod.
    #[error("its own proxy does not know it: {why}")]
    OwnPodUnknown {
        /// Why.
        why: &'static str,
    },
    /// The proxy that runs inside of a pod does not capture it.
    #[error("its own proxy leaves it alone: {why}")]
    ProxyIdle {
        /// Why.
        why: &'static str,
    },
    /// A rule of an ALLOW or AUDIT policy asks for what no connection has: it never matches.
    #[error("rule {rule} never matches here: it asks for {fields}")]
    RuleDropped {
        /// The rule, from 0.
        rule: usize,
        /// What it asks for.
        fields: String,
    },
    /// A rule of a DENY policy asks for what no connection has, and nothing else: it never matches.
    #[error("rule {rule} never matches here: it asks for nothing but {fields}")]
    RuleEmpty {
        /// The rule, from 0.
        rule: usize,
        /// What it asks for.
        fields: String,
    },
    /// A rule of a DENY policy asks for what no connection has: it denies more than it says.
    #[error("rule {rule} denies more than it says: it is enforced without {fields}")]
    RuleWidened {
        /// The rule, from 0.
        rule: usize,
        /// What it asks for.
        fields: String,
    },
    /// A setting is not understood, and read as the one that permits least.
    #[error("{field}: {value:?} is not understood: {instead} is in force")]
    ReadStrictly {
        /// The label or annotation.
        field: Arc<str>,
        /// Its value.
        value: Arc<str>,
        /// What is in force.
        instead: &'static str,
    },
    /// The waypoint enforces it, not the node.
    #[error("not enforced at the node: it targets a waypoint")]
    TargetsWaypoint,
    /// A NetworkPolicy keeps tunnels from a pod, and no other lets them in.
    #[error("pod {pod} cannot be reached by tunnel: no NetworkPolicy that selects it lets port {port} in")]
    TunnelShut {
        /// The pod.
        pod: Arc<str>,
        /// The port of tunnels.
        port: u16,
    },
    /// Unknown destinations are denied, and UDP goes anywhere.
    #[error("unknown destinations are denied, but UDP passes to them: ambient.mesh/udp is not deny")]
    UdpUnbounded,
    /// The field, label or annotation has no effect here.
    #[error("{field} has no effect")]
    Unsupported {
        /// The field, label or annotation.
        field: Arc<str>,
    },
    /// Objects ask for a waypoint that is not there: their traffic is refused.
    #[error("waypoint does not exist: traffic for it is refused")]
    WaypointMissing,
    /// Objects ask for a waypoint that has no address: their traffic is refused.
    #[error("waypoint has no address in its status: traffic for it is refused")]
    WaypointNotReady,
}

impl Remark {
    /// The label of metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::ActionUnknown => "action_unknown",
            Self::ActionUnsupported { .. } => "action_unsupported",
            Self::AttachmentRefused { .. } => "attachment_refused",
            Self::DnsCaptureKept { .. } => "dns_capture_kept",
            Self::EgressNotEnforced => "egress_not_enforced",
            Self::ExclusionRefused { .. } => "exclusion_refused",
            Self::GatewayNotOwn { .. } | Self::GatewayUnusable { .. } => "gateway_unusable",
            Self::HostPortTaken { .. } => "host_port_taken",
            Self::HostTaken { .. } => "host_taken",
            Self::InvalidValue { .. } => "invalid_value",
            Self::NetworkUnknown { .. } => "network_unknown",
            Self::NotKnown { .. } => "not_known",
            Self::OwnPodUnknown { .. } => "own_pod_unknown",
            Self::OwnProxyMissing => "own_proxy_missing",
            Self::ProxyIdle { .. } => "proxy_idle",
            Self::ReadStrictly { .. } => "read_strictly",
            Self::RuleDropped { .. } => "rule_dropped",
            Self::RuleEmpty { .. } => "rule_empty",
            Self::RuleWidened { .. } => "rule_widened",
            Self::TargetsWaypoint => "targets_waypoint",
            Self::TunnelShut { .. } => "tunnel_shut",
            Self::UdpUnbounded => "udp_unbounded",
            Self::Unsupported { .. } => "unsupported",
            Self::WaypointMissing => "waypoint_missing",
            Self::WaypointNotReady => "waypoint_not_ready",
        }
    }
}

/// Why an exclusion from capture is not honoured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum ExclusionRefusal {
    /// All ports are wanted, and ALLOW policies apply, which would not be asked.
    #[error("ALLOW policy {0} applies, and would not be asked: it takes one that allows everybody")]
    AllAllow(Arc<str>),
    /// All ports are wanted, and a DENY policy applies to one.
    #[error("DENY policy {0} applies: it takes one that selects other pods")]
    AllDenied(Arc<str>),
    /// All ports are wanted, and plaintext is not accepted at one.
    #[error(
        "STRICT mutual TLS applies: it takes a PeerAuthentication that selects the pod and is PERMISSIVE at all ports"
    )]
    AllStrict,
    /// The namespace denies unknown destinations.
    #[error("namespace {0} denies unknown destinations")]
    EgressDenied(Arc<str>),
    /// The namespace doesn't allow any.
    #[error(
        "namespace {0} does not allow exclusions: it takes ambient.mesh/allow-exclusions: \"true\" on it"
    )]
    NamespaceForbids(Arc<str>),
    /// ALLOW policies apply, and would not be asked about the port.
    #[error("ALLOW policies apply, and would not be asked about port {0}")]
    PortAllow(u16),
    /// A DENY policy is about the port.
    #[error("port {0} is under a DENY policy")]
    PortDenied(u16),
    /// Plaintext is not accepted at the port.
    #[error("port {0} is under STRICT mutual TLS")]
    PortStrict(u16),
}

/// Notes while they are made: each is said once.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Whose objects are translated.
    namespace: Option<Arc<str>>,
    all: NotesOf,
}

/// Notes by the namespace whose objects gave cause to them, which need not be those that they are about; under none,
/// those of objects that are about many.
pub(super) type NotesOf = BTreeMap<Option<Arc<str>>, BTreeSet<Note>>;

impl Notes {
    /// What follows comes of an object of that namespace.
    pub(super) fn of(&mut self, namespace: &Arc<str>) -> &mut Self {
        if self.namespace.as_ref() != Some(namespace) {
            self.namespace = Some(namespace.clone());
        }
        self
    }

    /// What follows comes of an object that is about many namespaces.
    pub(super) fn wide(&mut self) -> &mut Self {
        self.namespace = None;
        self
    }

    pub(super) fn add(&mut self, object: ObjectRef, remark: Remark) {
        self.all.entry(self.namespace.clone()).or_default().insert(Note { object, remark });
    }

    pub(super) fn finish(self) -> NotesOf {
        self.all
    }
}

fn unread(field: &str, value: Option<&str>, meant: Option<&str>) -> String {
    let value = value.map(|value| format!(": {value:?}")).unwrap_or_default();
    let meant = meant.map(|meant| format!(", did you mean {meant:?}?")).unwrap_or_default();
    format!("{field}{value} is not known{meant}")
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.remark)
    }
}
