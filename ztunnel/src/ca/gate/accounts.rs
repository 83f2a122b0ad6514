//! ServiceAccounts as callers, by their tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::kubernetes::{NamespacedName, Placement, ReviewError, TokenOwner};
use identity::SpiffeId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::reviews::Reviews;
use super::rights::{Right, is_bound_to, right};
use super::runs_on::verdict;
use super::strangers::Strangers;
use super::view::ClusterView;
use crate::ca::refusal::Refusal;

/// Lets ServiceAccounts in.
pub struct AccountGate {
    settings: AccountSettings,
    cluster: Arc<dyn ClusterView>,
    reviews: Reviews,
    /// Those whose tokens are not known yet. Good ones count as well: each is a question to the API server.
    strangers: Strangers,
    /// Questions to the API server at a time.
    questions: Semaphore,
}

/// What decides about ServiceAccounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whom their tokens must be for.
    pub audience: String,
    /// Those that may ask for others.
    pub impersonators: Vec<NamespacedName>,
}

impl AccountGate {
    /// Lets those in whom `cluster` knows.
    pub fn new(settings: AccountSettings, cluster: Arc<dyn ClusterView>, strangers: Strangers) -> Self {
        let (reviews, questions) = (Reviews::default(), Semaphore::new(QUESTIONS));
        Self { settings, cluster, reviews, strangers, questions }
    }

    /// Finds out whose token it is.
    pub(super) async fn authenticate(&self, token: &str, peer: IpAddr) -> Result<Arc<TokenOwner>, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::LongToken);
        }
        if let Some(owner) = self.reviews.recall(token, Instant::now()) {
            return Ok(owner);
        }
        self.strangers.admit(peer)?;
        let _turn = self.turn().await?;
        // Asked before, so that what is remembered is never older than it says.
        let now = Instant::now();
        match self.cluster.review(token, &self.settings.audience).await {
            Ok(owner) => {
                let owner = Arc::new(owner);
                self.reviews.remember(token, &owner, now);
                Ok(owner)
            }
            Err(ReviewError::Api(error)) => Err(Refusal::Cluster(error)),
            Err(error) => Err(Refusal::Review(error)),
        }
    }

    /// Whether the account of a token may have `identity`.
    pub(super) async fn permit(
        &self,
        owner: &TokenOwner,
        identity: &SpiffeId,
        named: bool,
    ) -> Result<(), Refusal> {
        match right(owner, identity, named, &self.settings.impersonators)? {
            Right::Own if owner.pod.is_none() => Ok(()),
            Right::Own => self.check_caller(owner).await,
            Right::OnNode { node } => {
                self.check_caller(owner).await?;
                self.check_placement(node, identity).await
            }
        }
    }

    /// The pod that the token is bound to must run, where the token says so.
    async fn check_caller(&self, owner: &TokenOwner) -> Result<(), Refusal> {
        let Some(pod) = &owner.pod else { return Ok(()) };
        if self.cluster.pod(&owner.namespace, &pod.name).is_some_and(|live| is_bound_to(owner, &live)) {
            return Ok(());
        }
        let _turn = self.turn().await?;
        let live = self.cluster.look_up_pod(&owner.namespace, &pod.name).await?;
        if live.is_some_and(|live| is_bound_to(owner, &live)) {
            return Ok(());
        }
        Err(Refusal::CallerGone { caller: name(owner) })
    }

    /// A pod of `identity` must run on the node; one that is not heard of yet is asked for once.
    async fn check_placement(&self, node: &str, identity: &SpiffeId) -> Result<(), Refusal> {
        let (namespace, account) = (identity.namespace(), identity.service_account());
        let heard = self.cluster.placement(node, namespace, account);
        if heard == Placement::Here {
            return Ok(());
        }
        let _turn = self.turn().await?;
        let found = self.cluster.look_up_account(node, namespace, account).await?;
        verdict(if found { Placement::Here } else { heard }, node, identity)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match timeout(QUEUE_FOR, self.questions.acquire()).await {
            Ok(turn) => Ok(turn.expect("the semaphore is never closed")),
            Err(_elapsed) => Err(Refusal::Busy),
        }
    }
}

/// What an account's caller is called.
pub(super) fn name(owner: &TokenOwner) -> String {
    let TokenOwner { namespace, service_account, pod, node } = owner;
    match (pod, node) {
        (Some(pod), Some(node)) => format!("{namespace}/{service_account} in pod {} on {node}", pod.name),
        (Some(pod), None) => format!("{namespace}/{service_account} in pod {}", pod.name),
        _ => format!("{namespace}/{service_account}"),
    }
}

/// Tokens of API servers have one to two kilobytes.
const MAX_TOKEN: usize = 16 << 10;

/// Questions to the API server at a time. One takes some milliseconds: a thousand nodes that start at once are through
/// within seconds, and the API server notices none of it.
const QUESTIONS: usize = 32;

/// How long a question waits for its turn. Callers come again.
const QUEUE_FOR: Duration = Duration::from_secs(1);
