//! Following the pods of a cluster, and asking for one that is not heard of yet.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::{Deserialize, Serialize};

use super::access::Kubernetes;
use super::error::{ApiError, answer};
use super::live_pods::{LivePod, LivePods};

/// What keeps [`LivePods`] as the API server says.
pub struct PodWatch {
    kubernetes: Kubernetes,
    pods: LivePods,
}

/// A Pod, without what nobody here needs: it is skipped as it is read.
#[derive(Clone, Debug, Serialize, Deserialize, Resource)]
#[resource(inherit = Pod)]
struct NarrowPod {
    metadata: ObjectMeta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Status {
    phase: Option<String>,
}

impl Kubernetes {
    /// The pods of the cluster, and what keeps them current while it runs.
    pub fn pods(&self) -> (LivePods, PodWatch) {
        let pods = LivePods::default();
        (pods.clone(), PodWatch { kubernetes: self.clone(), pods })
    }

    /// Asks for a pod, now.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn look_up_pod(&self, namespace: &str, name: &str) -> Result<Option<LivePod>, ApiError> {
        let api = Api::<NarrowPod>::namespaced(self.client.clone(), namespace);
        Ok(answer("get a pod", api.get_opt(name)).await?.and_then(NarrowPod::live))
    }

    /// Asks whether a pod of an account runs on a node, now.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn look_up_account(
        &self,
        node: &str,
        namespace: &str,
        service_account: &str,
    ) -> Result<bool, ApiError> {
        let api = Api::<NarrowPod>::namespaced(self.client.clone(), namespace);
        let selector = format!("spec.nodeName={node},spec.serviceAccountName={service_account},{LIVE}");
        let found = answer("list pods", api.list(&ListParams::default().fields(&selector))).await?;
        // The selector is the server's to evaluate; what it answers is still checked.
        Ok(found.items.into_iter().filter_map(NarrowPod::live).any(|pod| {
            *pod.node == *node && *pod.namespace == *namespace && *pod.service_account == *service_account
        }))
    }
}

impl PodWatch {
    /// Follows the pods for ever. `listed` is told when all of them are known for the first time.
    pub async fn run(self, listed: impl FnOnce() + Send) {
        let mut listed = Some(listed);
        let api = Api::<NarrowPod>::all(self.kubernetes.client.clone());
        let of = watcher::Config::default().fields(LIVE).timeout(WATCH_FOR);
        let events = watcher(api, of).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    self.take(event);
                    if let Some(listed) = listed.take_if(|_| complete) {
                        listed();
                    }
                }
                Err(error) => {
                    self.pods.lost();
                    tracing::warn!(cause = %chain(&error), "pods cannot be followed; they are asked for one by one meanwhile");
                }
            }
        }
    }

    fn take(&self, event: Event<NarrowPod>) {
        match event {
            Event::Init => self.pods.list_begins(),
            Event::InitApply(pod) => {
                if let Some(pod) = pod.live() {
                    self.pods.listed(pod);
                }
            }
            Event::InitDone => self.pods.list_ends(),
            Event::Apply(pod) => {
                let (namespace, name) = pod.key();
                match pod.live() {
                    Some(pod) => self.pods.changed(pod),
                    None => self.pods.gone(&namespace, &name),
                }
            }
            Event::Delete(pod) => {
                let (namespace, name) = pod.key();
                self.pods.gone(&namespace, &name);
            }
        }
    }
}

impl NarrowPod {
    /// What there is to know of it, if it has a node and has not ended.
    fn live(self) -> Option<LivePod> {
        let phase = self.status.and_then(|status| status.phase).unwrap_or_default();
        if matches!(&*phase, "Succeeded" | "Failed") {
            return None;
        }
        let spec = self.spec?;
        let node = spec.node_name.filter(|name| !name.is_empty())?;
        Some(LivePod {
            namespace: self.metadata.namespace?.into(),
            name: self.metadata.name?.into(),
            uid: self.metadata.uid?.into(),
            service_account: spec.service_account_name.unwrap_or_else(|| "default".to_owned()).into(),
            node: node.into(),
        })
    }

    fn key(&self) -> (String, String) {
        let of = |part: &Option<String>| part.clone().unwrap_or_default();
        (of(&self.metadata.namespace), of(&self.metadata.name))
    }
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Seconds of one watch: one whose connection died without a word is noticed by then.
const WATCH_FOR: u32 = 60;

/// Pods that have ended keep their names and nodes.
const LIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_live_while_it_has_a_node_and_has_not_ended() {
        let pod = |spec: &str, status: &str| {
            let text = format!(
                r#"{{"metadata": {{"namespace": "shop", "name": "a", "uid": "u", "labels": {{"a": "b"}}}},
                    "spec": {{{spec} "containers": [{{"name": "c"}}]}}, "status": {status}}}"#
            );
            serde_json::from_str::<NarrowPod>(&text).unwrap().live()
        };
        let live = pod(r#""nodeName": "n", "serviceAccountName": "cart","#, "{}").unwrap();
        assert_eq!((&*live.node, &*live.service_account, &*live.uid), ("n", "cart", "u"));
        assert!(pod("", r#"{"phase": "Pending"}"#).is_none());
        for (phase, is_live) in
            [("Pending", true), ("Running", true), ("Succeeded", false), ("Failed", false)]
        {
            let live = pod(r#""nodeName": "n","#, &format!(r#"{{"phase": "{phase}"}}"#));
            assert_eq!(live.is_some(), is_live, "{phase}");
        }
    }
}
