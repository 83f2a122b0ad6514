//! What is said on the enrolment socket: one JSON object a packet, answered in order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Pod, PodUid};
use crate::redirect::CaptureOptions;

/// A packet either way: what is said, in which version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packet<T> {
    /// [`VERSION`] of who sends it.
    pub(super) version: u32,
    /// What is said.
    pub(super) body: T,
}

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Capture a pod. Answered when capture works, or with the reason why it does not.
    Add(Box<AddPod>),
    /// Stop capturing a pod.
    Remove {
        /// Which pod.
        uid: PodUid,
        /// Cut what is proxied instead of letting it end: the pod itself is gone.
        now: bool,
    },
    /// Tell of every pod.
    List,
}

/// A pod to capture. Its namespace comes as a file descriptor with the packet, or as a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddPod {
    /// Who it is.
    pub pod: Pod,
    /// Where its network namespace is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// How to capture it, where the caller knows; the mesh's word wins as soon as it is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<CaptureOptions>,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The pod is captured: rules, routes and listeners were verified in its namespace.
    Added,
    /// Nothing new is redirected; `gone` when nothing of ours is left in the namespace.
    Removed {
        /// Whether nothing is left; else proxied connections still end.
        gone: bool,
    },
    /// Some pods; more packets follow while `more`.
    Pods {
        /// The pods.
        pods: Vec<PodStatus>,
        /// Whether more packets follow.
        more: bool,
    },
    /// Not done.
    Refused(Refusal),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub reason: RefusalReason,
    /// For people.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// The namespace holds none of the pod's addresses.
    AddressMissing,
    /// Rules, routes or sockets were refused by the kernel.
    CaptureFailed,
    /// The request makes no sense.
    InvalidRequest,
    /// The namespace cannot be opened, or is none.
    NetnsUnusable,
    /// The caller is not root.
    NotRoot,
    /// A process in the pod holds a port that capture needs.
    PortHeld,
    /// The pod could not be written to the state folder.
    StateUnwritable,
    /// No such pod is enrolled.
    UnknownPod,
    /// The daemon does not speak that version.
    UnsupportedVersion,
}

/// How a pod fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PodStatus {
    /// Who it is.
    pub pod: Pod,
    /// Whether it is captured.
    pub phase: PodPhase,
    /// What is wrong, if anything; of a pod that is captured, what it wants and does not get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How often capture had to be put right since it began.
    pub repairs: u32,
}

/// Whether a pod is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodPhase {
    /// Captured and verified.
    Captured,
    /// Nothing new is captured; what is proxied ends.
    Draining,
    /// It should be captured and is not, or not as it should.
    Failed,
}

/// The protocol's version. A packet of another one is refused.
pub(super) const VERSION: u32 = 1;
/// Longest packet. A pod is some hundred bytes.
pub(super) const MAX_PACKET: usize = 64 * 1024;
/// Pods in one packet of a list.
pub(super) const PODS_A_PACKET: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_as_recorded() {
        let pod = Pod {
            uid: PodUid::try_from("u-1".to_owned()).unwrap(),
            name: "web".into(),
            namespace: "shop".into(),
            service_account: None,
            addresses: vec!["10.0.0.1".parse().unwrap()],
        };
        let add = AddPod { pod, netns: Some("/run/netns/x".into()), options: None };
        let packet = Packet { version: 1, body: Request::Add(Box::new(add)) };
        let wire = r#"{"version":1,"body":{"add":{"pod":{"uid":"u-1","name":"web","namespace":"shop","addresses":["10.0.0.1"]},"netns":"/run/netns/x"}}}"#;
        assert_eq!(serde_json::to_string(&packet).unwrap(), wire);
        assert_eq!(serde_json::from_str::<Packet<Request>>(wire).unwrap(), packet);
        let list = r#"{"version":1,"body":"list"}"#;
        assert_eq!(serde_json::from_str::<Packet<Request>>(list).unwrap().body, Request::List);
    }
}
