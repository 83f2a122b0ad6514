//! Who runs where.

use std::sync::Arc;
use std::time::Duration;

use cluster::kubernetes::Placement;
use identity::SpiffeId;
use mesh::{Snapshots, WorkloadKind};
use tokio::time::{Instant, sleep};

use crate::ca::refusal::Refusal;

/// Knows where identities run.
pub trait RunsOn: Send + Sync + 'static {
    /// Where workloads of `identity` run, seen from `node`.
    fn placement(&self, node: &str, identity: &SpiffeId) -> Placement;

    /// Another number than before when answers may differ.
    fn generation(&self) -> u64;
}

impl RunsOn for Snapshots {
    fn placement(&self, node: &str, identity: &SpiffeId) -> Placement {
        let snapshot = self.load();
        // Entries run outside the cluster, wherever they say they do.
        let pods = snapshot.workloads().filter(|workload| workload.profile.kind != WorkloadKind::Entry);
        let mut placement = Placement::Nowhere;
        for workload in pods.filter(|workload| workload.is(identity)) {
            if *workload.node.name == *node {
                return Placement::Here;
            }
            placement = Placement::Elsewhere;
        }
        placement
    }

    fn generation(&self) -> u64 {
        self.load().generation()
    }
}

/// Where `identity` runs: a node may know of its pod before we do, so that one that is not there is given a moment.
pub(super) async fn placed(runs_on: &Arc<dyn RunsOn>, node: &str, identity: &SpiffeId) -> Placement {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let generation = runs_on.generation();
        let placement = runs_on.placement(node, identity);
        if placement == Placement::Here {
            return placement;
        }
        while Instant::now() < deadline {
            sleep(STEP).await;
            if runs_on.generation() != generation {
                break;
            }
        }
        if Instant::now() >= deadline {
            return placement;
        }
    }
}

/// What a placement means for a node that asks.
pub(super) fn verdict(placement: Placement, node: &str, identity: &SpiffeId) -> Result<(), Refusal> {
    let identity = || identity.clone();
    match placement {
        Placement::Here => Ok(()),
        Placement::Elsewhere => Err(Refusal::OtherNode { identity: identity(), node: node.to_owned() }),
        Placement::Nowhere => Err(Refusal::UnknownIdentity { identity: identity() }),
    }
}

/// How long a pod that is not known yet is waited for: news of it takes a few milliseconds to come by.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often news is looked for meanwhile: looking costs one atomic load.
const STEP: Duration = Duration::from_millis(20);
