//! A mesh of any number of workloads.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use cluster::{Reported, Settings, translate};
use mesh::{
    Change, EndpointTarget, Hostname, PodUid, Service, ServiceKey, Store, Update, Workload, WorkloadUid,
};

/// A mesh of pods, each ten of them behind a Service: copies of those that manifests describe, so that they are what the
/// daemon has.
pub struct City {
    /// The mesh.
    pub store: Store,
    pod: Workload,
    service: Service,
    /// How many pods there are.
    size: u32,
}

impl City {
    /// A mesh of `size` pods.
    ///
    /// # Panics
    /// When the manifests are none, or `size` is more than there are addresses.
    pub fn of(size: u32) -> Self {
        let (objects, problems) = cluster::read(Path::new("city.yaml"), MANIFESTS);
        assert!(problems.is_empty(), "{problems:?}");
        let mut update = translate(&objects, &Reported::default(), &Settings::default()).update;
        let Some(Change::Upsert(pod)) = update.workloads.pop() else { panic!("no pod") };
        let Some(Change::Upsert(service)) = update.services.pop() else { panic!("no service") };
        let mut city = Self { store: Store::new(), pod, service, size };
        update.workloads = (0..size).map(|number| Change::Upsert(city.pod(number))).collect();
        update.services =
            (0..size.div_ceil(PODS)).map(|number| Change::Upsert(city.service(number))).collect();
        city.store.apply(update);
        city
    }

    /// The pod with this number.
    pub fn pod(&self, number: u32) -> Workload {
        let mut pod = self.pod.clone();
        pod.uid = uid(number);
        pod.pod_uid = Some(PodUid(format!("uid-{number}").into()));
        pod.name = format!("pod-{number}").into();
        pod.addresses = std::iter::once(address(number)).collect();
        pod
    }

    /// The Service with this number.
    pub fn service(&self, number: u32) -> Service {
        let mut service = self.service.clone();
        let hostname = Hostname(format!("service-{number}.town.svc.cluster.local").into());
        service.key = ServiceKey { namespace: service.key.namespace, hostname };
        service.name = format!("service-{number}").into();
        service.addresses = std::iter::once(vip(number).into()).collect();
        let template = service.endpoints.first().expect("it has a pod").clone();
        let pods = number * PODS..(number * PODS + PODS).min(self.size);
        service.endpoints = pods
            .map(|pod| {
                let mut endpoint = template.clone();
                endpoint.target = EndpointTarget::Workload(uid(pod), address(pod));
                endpoint
            })
            .collect();
        service
    }

    /// One more change, as a cluster has them all the time: a pod goes, or comes back at another address, and its Service
    /// has an endpoint less, or more.
    pub fn change(&mut self, turn: u32) {
        // A prime: the whole city has its turn.
        let number = (turn / 2).wrapping_mul(7919) % self.size;
        let mut service = self.service(number / PODS);
        let (workload, endpoints) = if turn.is_multiple_of(2) {
            let others = service.endpoints.iter().filter(|it| it.target.workload() != Some(&uid(number)));
            (Change::Remove(uid(number)), others.cloned().collect())
        } else {
            let (mut pod, moved) = (self.pod(number), address(self.size + number));
            pod.addresses = std::iter::once(moved).collect();
            let at = |endpoint: &mesh::Endpoint| match &endpoint.target {
                EndpointTarget::Workload(own, _) if *own == pod.uid => {
                    let target = EndpointTarget::Workload(own.clone(), moved);
                    mesh::Endpoint { target, ..endpoint.clone() }
                }
                _ => endpoint.clone(),
            };
            let endpoints = service.endpoints.iter().map(at).collect();
            (Change::Upsert(pod), endpoints)
        };
        service.endpoints = endpoints;
        let services = vec![Change::Upsert(service)];
        self.store.apply(Update { workloads: vec![workload], services, ..Update::default() });
    }
}

/// The address of a Service.
pub fn vip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 96, 0, 0]) + number).into()
}

/// The address of a pod.
pub fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 1]) + number).into()
}

fn uid(number: u32) -> WorkloadUid {
    WorkloadUid(Arc::from(format!("Kubernetes//Pod/town/pod-{number}")))
}

/// Pods behind each Service.
const PODS: u32 = 10;

/// A namespace, a Service, and a pod behind it.
pub(crate) const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: town, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: town}
spec: {clusterIP: 10.96.0.0, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: town, labels: {app: web}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: node-1, containers: [{ports: [{containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}
";
