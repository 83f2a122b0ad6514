//! Why connections are cut, and how they are told.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use authz::Denied;
use certs::describe;

use crate::decision::{CrossingError, InboundError, Refusal};

/// Why a live connection is cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum Cut {
    /// The way to another network is gone, or who answered there.
    #[error("the connection to another network may no longer be: {0}")]
    CrossingRefused(CrossingError),
    /// The namespace's egress settings changed.
    #[error("egress is no longer allowed: {0}")]
    EgressRefused(Refusal),
    /// Another identity is at the peer's address.
    #[error("the peer is no longer who it was")]
    PeerChanged,
    /// Policy demands an identity of who has none, or refuses for another reason, and nobody at the other end would.
    #[error("policy no longer allows plaintext: {}", describe(.0))]
    PlaintextRefused(Denied),
    /// The pod is no longer captured, or gone.
    #[error("the pod is gone")]
    PodGone,
    /// Policy changed.
    #[error("policy no longer allows the connection: {}", describe(.0))]
    Refused(InboundError),
    /// The daemon ends.
    #[error("the daemon ends")]
    Shutdown,
}

/// Where a connection's task is told that it is cut.
#[derive(Debug, Default)]
pub(super) struct CutCell {
    why: RefCell<Option<Cut>>,
    waker: RefCell<Option<Waker>>,
}

impl From<CrossingError> for Cut {
    fn from(error: CrossingError) -> Self {
        match error {
            CrossingError::Egress(refusal) => Self::EgressRefused(refusal),
            other => Self::CrossingRefused(other),
        }
    }
}

impl From<Refusal> for Cut {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::PlaintextRefused { denied, .. } => Self::PlaintextRefused(denied),
            other => Self::EgressRefused(other),
        }
    }
}

impl Cut {
    /// Whether policy is why.
    pub(in crate::proxy) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The label of metrics.
    pub(in crate::proxy) const fn label(&self) -> &'static str {
        match self {
            Self::CrossingRefused(_) => "crossing",
            Self::EgressRefused(_) => "egress",
            Self::PeerChanged => "peer_changed",
            Self::PodGone => "pod_gone",
            Self::PlaintextRefused(_) | Self::Refused(_) => "policy",
            Self::Shutdown => "shutdown",
        }
    }
}

impl CutCell {
    pub(super) fn cut(&self, why: &Cut) {
        self.why.borrow_mut().get_or_insert_with(|| why.clone());
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.why.borrow().is_some()
    }

    /// Why it is cut, once it is. The task that asks is woken then.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Cut> {
        if let Some(why) = self.why.borrow().clone() {
            return Poll::Ready(why);
        }
        match &mut *self.waker.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
