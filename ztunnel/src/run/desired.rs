//! What the mesh wants of this node's pods, as enrolment takes it.

use cluster::{LocalPod, UdpMode};

use crate::enrol::{DesiredPod, InvalidPodUid, Pod, PodUid};
use crate::redirect::{CaptureOptions, Exclusions, InterfaceName, UdpRule};

/// How a pod should be captured. `dns` is what holds where the pod does not say; `own_ports` are those that the daemon
/// itself listens on in the pod, for kubelet and Prometheus, who have no tunnels.
///
/// # Errors
/// When its uid could not be a file's name: it is not captured then.
pub(super) fn desired(pod: &LocalPod, dns: bool, own_ports: &[u16]) -> Result<DesiredPod, InvalidPodUid> {
    let interface = |name: &std::sync::Arc<str>| {
        let name = InterfaceName::try_from(name.to_string());
        name.inspect_err(|error| tracing::warn!(pod = %pod.name, %error, "interface is left out")).ok()
    };
    let exclusions = &pod.capture.exclusions;
    let options = CaptureOptions {
        dns: pod.capture.dns.unwrap_or(dns),
        inbound: pod.capture.inbound,
        virtual_interfaces: pod.capture.virtual_interfaces.iter().filter_map(interface).collect(),
        udp: match pod.capture.udp {
            UdpMode::Allow => UdpRule::Pass,
            UdpMode::Deny => UdpRule::Refuse,
        },
        exclusions: Exclusions {
            inbound_ports: [&exclusions.inbound_ports, own_ports].concat(),
            inbound_ranges: exclusions.inbound_ranges.clone(),
            outbound_ports: exclusions.outbound_ports.clone(),
            outbound_ranges: exclusions.outbound_ranges.clone(),
        },
    };
    Ok(DesiredPod {
        pod: Pod {
            uid: PodUid::try_from(&pod.uid)?,
            name: pod.name.to_string(),
            namespace: pod.namespace.to_string(),
            service_account: Some(pod.service_account.to_string()),
            addresses: pod.addresses.clone(),
        },
        // Without an address nobody knows which namespace is its own.
        enrolled: pod.enrolled && !pod.addresses.is_empty(),
        options,
    })
}
