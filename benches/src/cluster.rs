//! A cluster of any number of pods, as its objects describe it.

use std::path::Path;
use std::sync::Arc;

use cluster::objects::{ClusterIp, Pod, Service};
use cluster::{Objects, Reported, Settings, Translator};
use mesh::Store;

use crate::city::{MANIFESTS, address, vip};

/// Objects that change, and the mesh that is made of them.
pub struct Cluster {
    objects: Objects,
    translator: Translator,
    store: Store,
    turn: usize,
}

impl Cluster {
    /// `size` pods, each ten of them behind a Service, each thousand in a namespace.
    ///
    /// # Panics
    /// When the manifests are none.
    pub fn of(size: u32) -> Self {
        let (sample, problems) = cluster::read(Path::new("cluster.yaml"), MANIFESTS);
        assert!(problems.is_empty(), "{problems:?}");
        let mut objects = Objects::default();
        for number in 0..size.div_ceil(PODS_A_NAMESPACE) {
            let mut namespace = sample.namespaces[0].clone();
            Arc::make_mut(&mut namespace).metadata.name = format!("town-{number}").into();
            objects.namespaces.push(namespace);
        }
        objects.services =
            (0..size.div_ceil(10)).map(|number| service(&sample.services[0], number)).collect();
        objects.pods = (0..size).map(|number| pod(&sample.pods[0], &objects, number)).collect();
        let mut this =
            Self { objects, translator: Translator::new(Settings::default()), store: Store::new(), turn: 0 };
        this.translate();
        this
    }

    /// One pod gets another address; how many workloads are different then.
    pub fn change(&mut self) -> usize {
        self.turn += 7919;
        let (count, turn) = (self.objects.pods.len(), self.turn);
        let pod = Arc::make_mut(&mut self.objects.pods[turn % count]);
        pod.status.addresses =
            std::iter::once(address(u32::try_from(count + turn % (1 << 22)).unwrap_or(0))).collect();
        self.translate()
    }

    fn translate(&mut self) -> usize {
        let translation = self.translator.translate(self.objects.clone(), Reported::default());
        self.store.apply(translation.update).workloads.len()
    }
}

fn service(sample: &Arc<Service>, number: u32) -> Arc<Service> {
    let mut service = Service::clone(sample);
    service.metadata.name = format!("web-{number}").into();
    service.metadata.namespace = format!("town-{}", number * 10 / PODS_A_NAMESPACE).into();
    service.spec.cluster_ip = ClusterIp::default();
    service.spec.cluster_ips = vec![ClusterIp::Address(vip(number))];
    service.spec.selector = std::iter::once(("app".into(), format!("web-{number}").into())).collect();
    service.into()
}

fn pod(sample: &Arc<Pod>, objects: &Objects, number: u32) -> Arc<Pod> {
    let mut pod = Pod::clone(sample);
    let service = &objects.services[usize::try_from(number / 10).unwrap_or(0)];
    pod.metadata.name = format!("web-{number}").into();
    pod.metadata.namespace = service.metadata.namespace.clone();
    pod.metadata.labels = service.spec.selector.clone();
    pod.status.addresses = std::iter::once(address(number)).collect();
    pod.into()
}

const PODS_A_NAMESPACE: u32 = 1000;
