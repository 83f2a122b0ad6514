//! The cluster, as far as deciding about callers needs it.

use std::pin::Pin;

use cluster::kubernetes::{ApiError, Kubernetes, LivePod, LivePods, Placement, ReviewError, TokenOwner};

/// Knows whose a token is, and which pods run where.
pub trait ClusterView: Send + Sync + 'static {
    /// Whose token it is, asked now.
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TokenOwner, ReviewError>> + Send + 'a>>;

    /// The pod of that name, as far as is heard.
    fn pod(&self, namespace: &str, name: &str) -> Option<LivePod>;

    /// Where pods of an account run, seen from `node`, as far as is heard.
    fn placement(&self, node: &str, namespace: &str, service_account: &str) -> Placement;

    /// The pod of that name, asked now.
    fn look_up_pod<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<LivePod>, ApiError>> + Send + 'a>>;

    /// Whether a pod of an account runs on `node`, asked now.
    fn look_up_account<'a>(
        &'a self,
        node: &'a str,
        namespace: &'a str,
        service_account: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<bool, ApiError>> + Send + 'a>>;
}

/// A cluster whose pods are followed.
#[derive(Clone, Debug)]
pub struct FollowedCluster {
    /// Whom to ask.
    pub kubernetes: Kubernetes,
    /// What was heard.
    pub pods: LivePods,
}

impl ClusterView for FollowedCluster {
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TokenOwner, ReviewError>> + Send + 'a>> {
        Box::pin(self.kubernetes.review_token(token, audience))
    }

    /// None as well while changes may go unheard.
    fn pod(&self, namespace: &str, name: &str) -> Option<LivePod> {
        self.pods.pod(namespace, name).filter(|_| self.pods.is_current())
    }

    /// Nowhere as well while changes may go unheard.
    fn placement(&self, node: &str, namespace: &str, service_account: &str) -> Placement {
        let placement = self.pods.placement(node, namespace, service_account);
        if self.pods.is_current() { placement } else { Placement::Nowhere }
    }

    fn look_up_pod<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<LivePod>, ApiError>> + Send + 'a>> {
        Box::pin(self.kubernetes.look_up_pod(namespace, name))
    }

    fn look_up_account<'a>(
        &'a self,
        node: &'a str,
        namespace: &'a str,
        service_account: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<bool, ApiError>> + Send + 'a>> {
        Box::pin(self.kubernetes.look_up_account(node, namespace, service_account))
    }
}
