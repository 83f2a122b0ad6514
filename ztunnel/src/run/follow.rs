//! The mesh as its source describes it, given to all who need it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use certs::Identities;
use cluster::kubernetes::NamespacedName;
use cluster::{LocalPod, ManifestSource, Places, Scope, Translation};
use daemon::ready::{Readiness, ReadyTask};
use identity::{SpiffeId, TrustDomain};
use mesh::{ClusterId, Network, Store};
use tokio::sync::watch;

use super::desired::desired;
use super::dns::LocalPods;
use super::notes::Notes;
use super::own;
use crate::config::Config;
use crate::enrol::EnrolHandle;
use crate::proxy::{Captured, Workers};

/// Follows the source of the mesh.
pub(super) struct Follow {
    source: ManifestSource,
    store: Store,
    identities: Identities,
    workers: Arc<Workers>,
    ready: Option<ReadyTask>,
    trust_domain: TrustDomain,
    dns: bool,
    /// The daemon's own pod, where it is to have its identity.
    own: Option<NamespacedName>,
    /// The daemon's own pod, where it runs inside of one.
    pod: Option<NamespacedName>,
    own_ports: Vec<u16>,
    local: watch::Sender<Arc<[LocalPod]>>,
    notes: Notes,
}

impl Follow {
    /// Opens the source of the configuration.
    pub(super) fn open(
        config: &Config,
        store: Store,
        identities: Identities,
        workers: Arc<Workers>,
        readiness: &Readiness,
    ) -> Result<Self, cluster::OpenError> {
        let places = Places {
            manifests: vec![config.source.manifests.clone()],
            status: Some(config.source.status.clone()),
        };
        Ok(Self {
            source: ManifestSource::open(places, settings(config))?,
            store,
            identities,
            workers,
            ready: Some(readiness.task("mesh")),
            trust_domain: config.mesh.trust_domain.clone(),
            dns: config.dns.enabled,
            own: config.listen.metrics_pod.clone(),
            pod: config.pod.clone(),
            own_ports: own_ports(config),
            local: watch::Sender::new([].into()),
            notes: Notes::default(),
        })
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// The pods of this node.
    pub(super) fn local_pods(&self) -> LocalPods {
        self.local.subscribe()
    }

    /// Follows the source for ever.
    pub(super) async fn run(mut self, enrolment: EnrolHandle, captured: Captured) {
        loop {
            let translation = self.source.next().await;
            self.take(translation, &enrolment, &captured);
        }
    }

    fn take(&mut self, translation: Translation, enrolment: &EnrolHandle, captured: &Captured) {
        self.notes.replace(&translation);
        let pods = translation.local_pods;
        let is_known = self.pod.is_none() || pods.iter().any(is_placed);
        if is_known {
            self.identities.want(self.wanted(&pods));
            let ports = pods.iter().map(|pod| (pod.uid.clone(), pod.probe_ports.clone()));
            captured.set_probe_ports(ports.collect::<HashMap<_, _>>());
        }
        let changes = self.store.apply(translation.update);
        if !changes.is_empty() {
            self.workers.changed(&changes);
        }
        if is_known {
            let wanted = pods.iter().filter_map(|pod| {
                let desired = desired(pod, self.dns, &self.own_ports);
                desired
                    .inspect_err(|error| tracing::warn!(pod = %pod.name, %error, "pod cannot be captured"))
                    .ok()
            });
            enrolment.desire(wanted.collect());
            self.local.send_replace(pods.into());
        }
        if let Some(ready) = self.ready.take() {
            ready.done();
        }
    }

    /// The identities of this node's enrolled pods, and of the daemon's own where it serves as that.
    fn wanted(&self, pods: &[LocalPod]) -> BTreeSet<SpiffeId> {
        let is_own = |pod: &LocalPod| self.own.as_ref().is_some_and(|own| own::is(pod, own));
        let enrolled = pods.iter().filter(|pod| pod.enrolled || is_own(pod));
        let domain = &self.trust_domain;
        enrolled.filter_map(|pod| SpiffeId::new(domain, &pod.namespace, &pod.service_account).ok()).collect()
    }
}

/// Whether what is known of the pod inside of which a daemon runs is enough to act on. Where it is not, all stays in force
/// as it is: a manifest that is missing, or without an address still, is not an order to let go.
fn is_placed(pod: &LocalPod) -> bool {
    !pod.enrolled || !pod.addresses.is_empty()
}

/// Where the daemon listens in its pod. On all addresses only: what it leaves free is not its own.
fn own_ports(config: &Config) -> Vec<u16> {
    let listen = [config.listen.metrics, config.listen.readiness];
    let of_pod = listen.into_iter().flatten().filter(|it| config.pod.is_some() && is_everywhere(it.ip()));
    of_pod.map(|it| it.port()).collect()
}

/// Whether an address stands for those of both families.
const fn is_everywhere(ip: IpAddr) -> bool {
    ip.is_ipv6() && ip.is_unspecified()
}

fn settings(config: &Config) -> cluster::Settings {
    let mesh = &config.mesh;
    cluster::Settings {
        network_policies: config.path.network_policies,
        scope: match &config.pod {
            Some(pod) => Scope::Pod(pod.clone()),
            None => Scope::Node(config.node.as_str().into()),
        },
        trust_domain: mesh.trust_domain.clone(),
        trust_domain_aliases: mesh.trust_domain_aliases.clone(),
        cluster_domain: mesh.cluster_domain.as_str().into(),
        cluster_id: ClusterId(mesh.cluster_id.as_str().into()),
        network: Network::new(&mesh.network),
        root_namespace: mesh.root_namespace.as_str().into(),
        excluded_namespaces: mesh.excluded_namespaces.iter().map(|name| name.as_str().into()).collect(),
    }
}
