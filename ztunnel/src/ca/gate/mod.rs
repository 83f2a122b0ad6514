//! Who calls, and for whom that caller may ask.
//!
//! - [`nodes`], [`replays`]: without Kubernetes' API, a caller is a node that proves itself by its key; [`runs_on`]: and
//!   asks for what runs on it;
//! - [`accounts`]: with it, a caller is a ServiceAccount, by the API server's word; [`reviews`] remembers that word for a
//!   moment, [`rights`] says what it allows, [`view`] is the cluster as far as that needs it;
//! - [`rates`]: how often a caller may ask at all, [`strangers`]: and how often whoever has proven nothing yet.

mod accounts;
mod nodes;
mod rates;
mod replays;
mod reviews;
mod rights;
mod runs_on;
mod strangers;
mod view;

use std::net::IpAddr;
use std::sync::Arc;

use cluster::kubernetes::TokenOwner;
use identity::SpiffeId;
use rustls_pki_types::UnixTime;

use super::refusal::Refusal;
pub use accounts::{AccountGate, AccountSettings};
pub use nodes::{InvalidNodeName, NodeFolder};
pub(super) use rates::Rates;
use replays::Replays;
pub use runs_on::RunsOn;
use runs_on::placed;
pub use strangers::Strangers;
pub use view::{ClusterView, FollowedCluster};

/// Lets callers in that prove who they are, to ask for whom they may.
pub enum Gate {
    /// ServiceAccounts, by their tokens.
    Accounts(AccountGate),
    /// Nodes, by their keys.
    Nodes(NodeGate),
}

/// Lets nodes in that are registered.
pub struct NodeGate {
    nodes: NodeFolder,
    runs_on: Arc<dyn RunsOn>,
    strangers: Strangers,
    replays: Replays,
}

/// A call before anything of it is believed.
pub(super) struct Call<'a> {
    pub(super) token: &'a str,
    /// The certificate request that it sends.
    pub(super) csr: &'a str,
    pub(super) peer: IpAddr,
    pub(super) now: UnixTime,
}

/// Who has proven to be.
pub(super) struct Caller {
    /// For the audit, and to count its calls by: at most one caller has it at a time.
    pub(super) name: String,
    proof: Proof,
}

enum Proof {
    Account(Arc<TokenOwner>),
    Node { claims: certs::NodeClaims },
}

impl Gate {
    /// Finds out who calls.
    pub(super) async fn authenticate(&self, call: &Call<'_>) -> Result<Caller, Refusal> {
        match self {
            Self::Accounts(gate) => {
                let owner = gate.authenticate(call.token, call.peer).await?;
                Ok(Caller { name: accounts::name(&owner), proof: Proof::Account(owner) })
            }
            Self::Nodes(gate) => {
                let claims = gate.authenticate(call)?;
                Ok(Caller { name: claims.node.clone(), proof: Proof::Node { claims } })
            }
        }
    }

    /// Takes note of a call that is answered one way or the other.
    pub(super) fn record(&self, caller: &Caller, now: UnixTime) -> Result<(), Refusal> {
        match (self, &caller.proof) {
            (Self::Nodes(gate), Proof::Node { claims }) => gate.replays.first_use(claims, now),
            _ => Ok(()),
        }
    }

    /// Whether a caller may have a certificate of `identity`, under our trust domain's first name. `named`: whether the
    /// call itself names an identity on whose behalf it is made.
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        identity: &SpiffeId,
        named: bool,
    ) -> Result<(), Refusal> {
        match (self, &caller.proof) {
            (Self::Accounts(gate), Proof::Account(owner)) => gate.permit(owner, identity, named).await,
            (Self::Nodes(_), Proof::Node { .. }) if !named => Err(Refusal::NoIdentity),
            (Self::Nodes(gate), Proof::Node { claims }) => gate.permit(&claims.node, identity).await,
            _ => unreachable!("a caller was let in by the same gate"),
        }
    }
}

impl NodeGate {
    /// Lets those in whose keys are in `nodes`, for what `runs_on` says is on them.
    pub fn new(nodes: NodeFolder, runs_on: Arc<dyn RunsOn>, strangers: Strangers) -> Self {
        Self { nodes, runs_on, strangers, replays: Replays::default() }
    }

    /// Nodes behind one address cost each other nothing: a good proof does not count.
    fn authenticate(&self, call: &Call<'_>) -> Result<certs::NodeClaims, Refusal> {
        self.strangers.admit(call.peer)?;
        let claims = self.nodes.authenticate(call.token, call.csr, call.now)?;
        self.strangers.proven(call.peer);
        Ok(claims)
    }

    async fn permit(&self, node: &str, identity: &SpiffeId) -> Result<(), Refusal> {
        runs_on::verdict(placed(&self.runs_on, node, identity).await, node, identity)
    }
}
