//! What a pod says of its interfaces, as far as it can be true.

use std::net::IpAddr;

use crate::netns::PodNetns;
use crate::redirect::{CaptureOptions, Uplinks};

/// The options without interfaces that lead out of the pod, and why they were left out. What comes in by a virtual machine's
/// interface is sent on as the pod's own: by one that strangers come in by, they would be taken for the pod.
pub(super) fn within(
    netns: &PodNetns,
    addresses: &[IpAddr],
    mut options: CaptureOptions,
) -> (CaptureOptions, Option<String>) {
    if options.virtual_interfaces.is_empty() {
        return (options, None);
    }
    let said = match Uplinks::look(netns, addresses) {
        Ok(uplinks) => {
            let mut said = Vec::new();
            options.virtual_interfaces.retain(|name| match uplinks.why(name) {
                Some(why) => {
                    said.push(format!("{name} is left out: {why}"));
                    false
                }
                None => true,
            });
            said
        }
        Err(error) => {
            options.virtual_interfaces.clear();
            vec![format!("all are left out: the pod's interfaces cannot be looked at: {error}")]
        }
    };
    let problem = (!said.is_empty()).then(|| {
        let said = said.join(", ");
        format!(
            "istio.io/reroute-virtual-interfaces: {said}; it is for interfaces of machines inside of the pod"
        )
    });
    (options, problem)
}
