//! Who may ask for whom. Pure: all that is known is given.

use cluster::kubernetes::{LivePod, NamespacedName, TokenOwner};
use identity::SpiffeId;

use crate::ca::refusal::Refusal;

/// What a caller may have, once it is seen that the pods in question run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Right<'a> {
    /// What it asks for, if a pod that has it runs on the node.
    OnNode {
        /// The node that its token names.
        node: &'a str,
    },
    /// Its own identity, if the pod that its token is bound to runs.
    Own,
}

/// The right by which `owner` may ask for `identity`; `impersonators` may ask for others.
pub(super) fn right<'a>(
    owner: &'a TokenOwner,
    identity: &SpiffeId,
    named: bool,
    impersonators: &[NamespacedName],
) -> Result<Right<'a>, Refusal> {
    if identity.namespace() == owner.namespace && identity.service_account() == owner.service_account {
        return Ok(Right::Own);
    }
    let is_owner = |it: &NamespacedName| it.namespace == owner.namespace && it.name == owner.service_account;
    let account = || format!("{}/{}", owner.namespace, owner.service_account);
    if !impersonators.iter().any(is_owner) {
        return Err(Refusal::NotOwn { account: account(), identity: identity.clone() });
    }
    if !named {
        return Err(Refusal::NoIdentity);
    }
    match (&owner.pod, &owner.node) {
        (Some(_), Some(node)) => Ok(Right::OnNode { node }),
        _ => Err(Refusal::Unbound { account: account() }),
    }
}

/// Whether `live` is the very pod that the token of `owner` is bound to, where the token says that it is.
pub(super) fn is_bound_to(owner: &TokenOwner, live: &LivePod) -> bool {
    owner.pod.as_ref().is_some_and(|pod| *pod.uid == *live.uid && *pod.name == *live.name)
        && *live.namespace == *owner.namespace
        && *live.service_account == *owner.service_account
        && owner.node.as_ref().is_none_or(|node| **node == *live.node)
}

#[cfg(test)]
mod tests {
    use cluster::kubernetes::BoundPod;

    use super::*;

    #[test]
    fn everybody_may_have_its_own_identity_whatever_its_token_is_bound_to() {
        for owner in [owner("shop", "cart"), TokenOwner { pod: None, node: None, ..owner("shop", "cart") }] {
            for named in [true, false] {
                assert_eq!(right(&owner, &id("shop", "cart"), named, &[]).unwrap(), Right::Own);
            }
        }
    }

    #[test]
    fn who_is_not_on_the_list_may_have_nobody_elses() {
        let list = ["ambient-system/ztunnel".parse().unwrap()];
        for owner in [owner("ambient-system", "waypoint"), owner("shop", "ztunnel"), owner("shop", "cart")] {
            let refused = right(&owner, &id("shop", "till"), true, &list).unwrap_err();
            assert_eq!(refused.reason(), "not_own", "{owner:?}");
        }
    }

    #[test]
    fn who_is_on_the_list_needs_a_pod_a_node_and_a_name() {
        let list = ["a/b".parse().unwrap(), "ambient-system/ztunnel".parse().unwrap()];
        let ztunnel = owner("ambient-system", "ztunnel");
        let of = |owner: &TokenOwner, named| {
            right(owner, &id("shop", "till"), named, &list).map(|right| format!("{right:?}"))
        };
        assert!(of(&ztunnel, true).unwrap().starts_with("OnNode"));
        assert_eq!(of(&ztunnel, false).unwrap_err().reason(), "no_identity");
        for unbound in [TokenOwner { pod: None, ..ztunnel.clone() }, TokenOwner { node: None, ..ztunnel }] {
            assert_eq!(of(&unbound, true).unwrap_err().reason(), "unbound");
        }
    }

    #[test]
    fn a_pod_of_the_same_name_is_not_the_same_pod() {
        let owner = owner("shop", "cart");
        let live = LivePod {
            namespace: "shop".into(),
            name: "pod".into(),
            uid: "uid".into(),
            service_account: "cart".into(),
            node: "node".into(),
        };
        assert!(is_bound_to(&owner, &live));
        for other in [
            LivePod { uid: "another".into(), ..live.clone() },
            LivePod { node: "another".into(), ..live.clone() },
            LivePod { service_account: "another".into(), ..live.clone() },
            LivePod { namespace: "another".into(), ..live },
        ] {
            assert!(!is_bound_to(&owner, &other), "{other:?}");
        }
    }

    fn owner(namespace: &str, service_account: &str) -> TokenOwner {
        TokenOwner {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: Some(BoundPod { name: "pod".to_owned(), uid: "uid".to_owned() }),
            node: Some("node".to_owned()),
        }
    }

    fn id(namespace: &str, service_account: &str) -> SpiffeId {
        format!("spiffe://cluster.local/ns/{namespace}/sa/{service_account}").parse().unwrap()
    }
}
