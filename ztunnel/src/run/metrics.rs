//! What the daemon tells of pods, certificates and its own threads. Looked up when somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;

use certs::{Bundles, FetchOutcome, Identities, IdentityState, TrustBundle, not_after, serial_number};
use daemon::metrics::{LabelBound, Metrics, OVERFLOW, RegisterError};
use identity::TrustDomain;
use prometheus::{IntCounter, IntGauge, IntGaugeVec};
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::watch;

use super::dns::LocalPods;
use crate::enrol::{PodPhase, PodStatus, PodUid};
use crate::proxy::Workers;

/// Registers what is told of certificates.
pub(super) fn certificates(metrics: &Metrics, identities: Identities) -> Result<(), RegisterError> {
    let expiry = metrics.gauge_vec(
        "ambient_certificate_expiry_timestamp_seconds",
        "When the certificate of a local identity ends, in seconds since 1970.",
        &["identity"],
    )?;
    let roots = metrics.gauge_vec(
        "ambient_root_expiry_timestamp_seconds",
        "When a root that is trusted for a trust domain ends, in seconds since 1970.",
        &["trust_domain", "serial"],
    )?;
    let states = metrics.gauge_vec(
        "ambient_identities",
        "Local identities, by whether they have a certificate.",
        &["state"],
    )?;
    let fetches = metrics.counter_vec(
        "ambient_certificate_fetches_total",
        "Certificates asked of the CA, by what came of it.",
        &["outcome"],
    )?;
    let bound = metrics.bound("ambient_certificate_expiry_timestamp_seconds", MAX_IDENTITIES);
    let root_bound = metrics.bound("ambient_root_expiry_timestamp_seconds", MAX_ROOTS);
    metrics.before_scrape(move || {
        look_at_identities(&identities, &expiry, &states, &bound);
        look_at_roots(&identities.bundles(), &roots, &root_bound);
        for outcome in FetchOutcome::ALL {
            let counter = fetches.with_label_values(&[outcome.as_str()]);
            counter.inc_by(identities.fetches(outcome).saturating_sub(counter.get()));
        }
    });
    Ok(())
}

fn look_at_identities(
    identities: &Identities,
    expiry: &IntGaugeVec,
    states: &IntGaugeVec,
    bound: &LabelBound,
) {
    // Scrapes run one after the other, so nobody sees it empty.
    expiry.reset();
    let mut count = [("available", 0), ("failed", 0), ("initializing", 0)];
    let mut first_of_the_rest = None;
    for status in &*identities.statuses() {
        count[match status.state {
            IdentityState::Available => 0,
            IdentityState::Failed => 1,
            IdentityState::Initializing => 2,
        }]
        .1 += 1;
        let Some(certificate) = &status.certificate else { continue };
        let ends = i64::try_from(certificate.not_after).unwrap_or(i64::MAX);
        let identity = status.identity.as_str();
        if bound.admits(&[identity]) {
            expiry.with_label_values(&[identity]).set(ends);
        } else {
            first_of_the_rest = Some(first_of_the_rest.unwrap_or(ends).min(ends));
        }
    }
    if let Some(ends) = first_of_the_rest {
        expiry.with_label_values(&[OVERFLOW]).set(ends);
    }
    for (state, count) in count {
        states.with_label_values(&[state]).set(count);
    }
}

fn look_at_roots(bundles: &Bundles, expiry: &IntGaugeVec, bound: &LabelBound) {
    // Scrapes run one after the other, so nobody sees it empty.
    expiry.reset();
    let mut first_of_the_rest = None;
    let of_domain = |(domain, bundle): (&TrustDomain, &TrustBundle)| {
        let roots = bundle.roots().iter();
        let read = roots.filter_map(|root| Some((serial_number(root).ok()?, not_after(root).ok()?)));
        read.map(|(serial, ends)| (domain.clone(), serial, ends)).collect::<Vec<_>>()
    };
    for (domain, serial, ends) in bundles.iter().flat_map(of_domain) {
        let (ends, labels) = (i64::try_from(ends).unwrap_or(i64::MAX), [domain.as_str(), &*serial]);
        if bound.admits(&labels) {
            expiry.with_label_values(&labels).set(ends);
        } else {
            first_of_the_rest = Some(first_of_the_rest.unwrap_or(ends).min(ends));
        }
    }
    if let Some(ends) = first_of_the_rest {
        expiry.with_label_values(&[OVERFLOW, OVERFLOW]).set(ends);
    }
}

/// Counts pods that are captured, should be, and had to be put right.
pub(super) struct PodMetrics {
    phases: IntGaugeVec,
    wanted: IntGauge,
    missing: IntGauge,
    repairs: IntCounter,
    active: IntGauge,
    pending: IntGauge,
    started: IntCounter,
    stopped: IntCounter,
    /// What was last seen.
    known: Mutex<BTreeMap<PodUid, u32>>,
}

impl PodMetrics {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, RegisterError> {
        let gauge = |name, help| metrics.gauge(name, help);
        let counter = |name, help| metrics.counter(name, help);
        Ok(Self {
            phases: metrics.gauge_vec(
                "ambient_pods",
                "Pods of this node that capture deals with, by how it fares.",
                &["phase"],
            )?,
            wanted: gauge("ambient_pods_wanted", "Pods of this node that should be captured.")?,
            missing: gauge("ambient_pods_missing", "Pods that should be captured and are not.")?,
            repairs: counter(
                "ambient_capture_repairs_total",
                "Times that a pod's capture was not as installed and was put right.",
            )?,
            active: gauge("workload_manager_active_proxy_count", "Pods that are served.")?,
            pending: gauge("workload_manager_pending_proxy_count", "Pods that cannot be served yet.")?,
            started: counter("workload_manager_proxies_started_total", "Pods that came to be served.")?,
            stopped: counter("workload_manager_proxies_stopped_total", "Pods that are no longer served.")?,
            known: Mutex::default(),
        })
    }

    /// Follows how pods fare and what the mesh wants, for ever.
    pub(super) async fn follow(
        self,
        mut told: watch::Receiver<Option<Vec<PodStatus>>>,
        mut local: LocalPods,
    ) {
        loop {
            let pods = told.borrow_and_update().clone().unwrap_or_default();
            let enrolled = |pod: &&cluster::LocalPod| pod.enrolled;
            let wanted: BTreeSet<String> =
                local.borrow_and_update().iter().filter(enrolled).map(|pod| pod.uid.0.to_string()).collect();
            self.look(&pods, &wanted);
            let changed = tokio::select! {
                changed = told.changed() => changed,
                changed = local.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn look(&self, pods: &[PodStatus], wanted: &BTreeSet<String>) {
        let count = |phase| pods.iter().filter(|pod| pod.phase == phase).count();
        let set = |gauge: &IntGauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let (captured, draining, failed) =
            (count(PodPhase::Captured), count(PodPhase::Draining), count(PodPhase::Failed));
        for (phase, count) in [("captured", captured), ("draining", draining), ("failed", failed)] {
            set(&self.phases.with_label_values(&[phase]), count);
        }
        let is_captured = |uid: &&String| {
            let own =
                |pod: &PodStatus| pod.phase == PodPhase::Captured && pod.pod.uid.as_str() == uid.as_str();
            pods.iter().any(own)
        };
        let there = wanted.iter().filter(is_captured).count();
        set(&self.wanted, wanted.len());
        set(&self.missing, wanted.len() - there);
        set(&self.active, captured + draining);
        set(&self.pending, wanted.len() - there);
        let served = pods.iter().filter(|pod| pod.phase != PodPhase::Failed);
        let now: BTreeMap<_, _> = served.map(|pod| (pod.pod.uid.clone(), pod.repairs)).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (uid, repairs) in &now {
            match known.get(uid) {
                // A pod that was released and captured again starts from none.
                Some(before) => self.repairs.inc_by(u64::from(repairs.saturating_sub(*before))),
                None => {
                    self.started.inc();
                    self.repairs.inc_by(u64::from(*repairs));
                }
            }
        }
        let stopped = known.keys().filter(|uid| !now.contains_key(*uid)).count();
        self.stopped.inc_by(u64::try_from(stopped).unwrap_or(u64::MAX));
        *known = now;
    }
}

/// Registers what is told of the runtimes: the workers', and the one that this is called on.
pub(super) fn runtimes(metrics: &Metrics, workers: &Workers) -> Result<(), RegisterError> {
    let gauge = |name, help| metrics.gauge_vec(name, help, &["runtime"]);
    let counter = |name, help| metrics.counter_vec(name, help, &["runtime"]);
    let tasks = gauge("tokio_alive_tasks", "Tasks that have not ended.")?;
    let queued = gauge("tokio_global_queue_depth", "Tasks that wait to be run.")?;
    let busy = counter("tokio_busy_milliseconds_total", "Time spent running tasks.")?;
    let parks = counter("tokio_parks_total", "Times that there was nothing to do.")?;
    let control = ("control".to_owned(), Handle::current().metrics());
    let all: Vec<(String, RuntimeMetrics)> = std::iter::once(control).chain(workers.runtimes()).collect();
    metrics.before_scrape(move || {
        let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, runtime) in &all {
            let of = [name.as_str()];
            tasks.with_label_values(&of).set(size(runtime.num_alive_tasks()));
            queued.with_label_values(&of).set(size(runtime.global_queue_depth()));
            let spent = runtime.worker_total_busy_duration(0).as_millis();
            let counter = busy.with_label_values(&of);
            counter.inc_by(u64::try_from(spent).unwrap_or(u64::MAX).saturating_sub(counter.get()));
            let counter = parks.with_label_values(&of);
            counter.inc_by(runtime.worker_park_count(0).saturating_sub(counter.get()));
        }
    });
    Ok(())
}

/// Identities that are told apart: twice as many as a full node of pods with one each.
const MAX_IDENTITIES: usize = 500;

/// Roots that are told apart: a few of each of some trust domains, and those of rotations.
const MAX_ROOTS: usize = 100;
