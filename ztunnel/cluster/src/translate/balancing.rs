//! How an endpoint of a Service is chosen.

use std::time::Duration;

use mesh::{Affinity, DestinationHealth, LoadBalancing, Scope, TrafficPolicy};

use super::{Scene, names};
use crate::objects::{InternalTrafficPolicy, Metadata, Service, SessionAffinity, TrafficDistribution};

/// Of a Service: as its `spec` says, else its annotation, else its namespace's.
pub(super) fn of_service(scene: &Scene<'_>, service: &Service) -> LoadBalancing {
    let spec = &service.spec;
    let timeout = spec.session_affinity_config.client_ip.timeout_seconds.unwrap_or(AFFINITY_SECONDS);
    let balancing = LoadBalancing {
        health: match spec.publish_not_ready_addresses {
            true => DestinationHealth::All,
            false => DestinationHealth::Ready,
        },
        affinity: match spec.session_affinity {
            SessionAffinity::ClientIp => Affinity::ClientIp(Duration::from_secs(timeout.into())),
            SessionAffinity::None => Affinity::None,
        },
        ..preferring(spec.traffic_distribution.or_else(|| annotated(scene, &service.metadata)))
    };
    match spec.internal_traffic_policy {
        InternalTrafficPolicy::Cluster => balancing,
        InternalTrafficPolicy::Local => {
            LoadBalancing { preference: [Scope::Node].into(), policy: TrafficPolicy::Strict, ..balancing }
        }
    }
}

/// Of a ServiceEntry: as its annotation says, else its namespace's.
pub(super) fn of_entry(scene: &Scene<'_>, metadata: &Metadata) -> LoadBalancing {
    preferring(annotated(scene, metadata))
}

fn preferring(distribution: Option<TrafficDistribution>) -> LoadBalancing {
    let preference: &[Scope] = match distribution {
        None | Some(TrafficDistribution::Unknown) => return LoadBalancing::default(),
        Some(TrafficDistribution::PreferClose | TrafficDistribution::PreferSameZone) => {
            &[Scope::Network, Scope::Region, Scope::Zone]
        }
        Some(TrafficDistribution::PreferSameNode) => {
            &[Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node]
        }
    };
    let policy = TrafficPolicy::Failover;
    LoadBalancing { preference: preference.into(), policy, ..LoadBalancing::default() }
}

fn annotated(scene: &Scene<'_>, metadata: &Metadata) -> Option<TrafficDistribution> {
    let own = metadata.annotation(names::TRAFFIC_DISTRIBUTION);
    let namespace = || scene.namespaces.of(&metadata.namespace)?.annotation(names::TRAFFIC_DISTRIBUTION);
    Some(match own.or_else(namespace)? {
        "PreferClose" => TrafficDistribution::PreferClose,
        "PreferSameNode" => TrafficDistribution::PreferSameNode,
        "PreferSameZone" => TrafficDistribution::PreferSameZone,
        _ => TrafficDistribution::Unknown,
    })
}

/// Kubernetes' default for `timeoutSeconds`: three hours.
const AFFINITY_SECONDS: u32 = 10_800;
