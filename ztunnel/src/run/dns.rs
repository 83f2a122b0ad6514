//! Serves the DNS of captured pods, each by its own resolver configuration.

use std::collections::HashMap;
use std::sync::Arc;

use cluster::LocalPod;
use daemon::tasks::Tasks;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::dns::{DnsProxy, PodResolver};
use crate::proxy::{PodEvent, ServedPod};

/// The pods of this node, as the mesh describes them.
pub(super) type LocalPods = watch::Receiver<Arc<[LocalPod]>>;

/// The pods whose DNS is served.
struct Served {
    proxy: DnsProxy,
    tasks: Tasks,
    pods: HashMap<mesh::PodUid, Pod>,
    local: LocalPods,
}

struct Pod {
    resolver: watch::Sender<PodResolver>,
    serving: AbortHandle,
}

/// Serves whatever `events` tell of, for ever.
pub(super) async fn serve(
    proxy: DnsProxy,
    tasks: Tasks,
    mut events: mpsc::UnboundedReceiver<PodEvent>,
    local: LocalPods,
) {
    let mut served = Served { proxy, tasks, pods: HashMap::new(), local };
    let mut changes = served.local.clone();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(PodEvent::Captured(pod)) => served.start(&pod),
                Some(PodEvent::Gone(uid)) => served.stop(&uid),
                None => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                served.update();
            }
        }
    }
}

impl Served {
    fn start(&mut self, pod: &Arc<ServedPod>) {
        self.stop(&pod.uid);
        let Some(captured) = pod.captured().cloned() else { return };
        let (resolver, of_pod) = watch::channel(self.resolver(&pod.uid));
        let (proxy, uid) = (self.proxy.clone(), pod.uid.clone());
        let names = pod.names.clone();
        let serving = self.tasks.spawn("dns", async move {
            if let Err(error) = proxy.serve(captured, of_pod, names).await {
                tracing::error!(pod = %uid.0, %error, "the pod's DNS cannot be served");
            }
        });
        let serving = serving.abort_handle();
        self.pods.insert(pod.uid.clone(), Pod { resolver, serving });
    }

    fn stop(&mut self, uid: &mesh::PodUid) {
        if let Some(pod) = self.pods.remove(uid) {
            pod.serving.abort();
        }
    }

    fn update(&self) {
        for (uid, pod) in &self.pods {
            let resolver = self.resolver(uid);
            pod.resolver.send_if_modified(|known| {
                let differs = *known != resolver;
                *known = resolver;
                differs
            });
        }
    }

    /// How a pod's resolver is configured; by default where the mesh does not know the pod (yet).
    fn resolver(&self, uid: &mesh::PodUid) -> PodResolver {
        let local = self.local.borrow();
        local.iter().find(|pod| pod.uid == *uid).map(of_spec).unwrap_or_default()
    }
}

/// `dnsPolicy` and `dnsConfig` of a pod's spec.
fn of_spec(pod: &LocalPod) -> PodResolver {
    use crate::dns::DnsPolicy as Own;
    use cluster::objects::DnsPolicy;
    let policy = match pod.dns.policy {
        DnsPolicy::ClusterFirst => Own::ClusterFirst,
        DnsPolicy::ClusterFirstWithHostNet => Own::ClusterFirstWithHostNet,
        DnsPolicy::Default => Own::Default,
        DnsPolicy::None => Own::None,
    };
    let config = &pod.dns.config;
    let ndots = config.options.iter().find(|option| &*option.name == "ndots");
    PodResolver {
        policy,
        nameservers: config.nameservers.clone(),
        searches: config.searches.iter().map(ToString::to_string).collect(),
        ndots: ndots.and_then(|option| option.value.as_ref()?.parse().ok()),
    }
}
