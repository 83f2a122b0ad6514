//! Whose token it is, by the API server's word.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::access::Kubernetes;
use super::error::{ApiError, answer};

/// The ServiceAccount that a token speaks for, and what the token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenOwner {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub service_account: String,
    /// The pod that the token is bound to.
    pub pod: Option<BoundPod>,
    /// The node on which that pod runs, as the API server has put into the token.
    pub node: Option<String>,
}

/// A pod that a token is bound to; it is of the ServiceAccount's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Why a token is nobody's.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The API server did not say.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It is good, but for somebody else.
    #[error("token is not for the audience {want:?}")]
    Audience {
        /// Whom it should be for.
        want: String,
    },
    /// The API server doesn't accept it.
    #[error("the API server says: {message}")]
    Invalid {
        /// Its reason.
        message: String,
    },
    /// It is a user's, or a node's own.
    #[error("token of {user:?} is not a ServiceAccount's")]
    NoServiceAccount {
        /// Whose it is.
        user: String,
    },
}

impl Kubernetes {
    /// Asks whose token it is, if it is for `audience`.
    ///
    /// # Errors
    /// When it is no ServiceAccount's, or not for that audience, or the API server doesn't answer.
    pub async fn review_token(&self, token: &str, audience: &str) -> Result<TokenOwner, ReviewError> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                audiences: Some(vec![audience.to_owned()]),
                token: Some(token.to_owned()),
            },
            status: None,
        };
        let api = Api::<TokenReview>::all(self.client.clone());
        let reviewed = answer("review a token", api.create(&PostParams::default(), &review)).await?;
        let status = reviewed.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let message = status.error.unwrap_or_else(|| "no reason is given".to_owned());
            return Err(ReviewError::Invalid { message: message.chars().take(MAX_SHOWN).collect() });
        }
        // An authenticator that knows no audiences names none: it has not checked.
        if !status.audiences.unwrap_or_default().iter().any(|it| it == audience) {
            return Err(ReviewError::Audience { want: audience.to_owned() });
        }
        owner(status.user.unwrap_or_default())
    }
}

fn owner(user: UserInfo) -> Result<TokenOwner, ReviewError> {
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix(USER_PREFIX).and_then(|account| account.split_once(':'));
    // A user may be called like an account; only accounts are of this group.
    let is_account = user.groups.unwrap_or_default().iter().any(|group| group == ACCOUNTS);
    let Some((namespace, service_account)) = account.filter(|_| is_account) else {
        return Err(ReviewError::NoServiceAccount { user: name.chars().take(MAX_SHOWN).collect() });
    };
    let extra = user.extra.unwrap_or_default();
    let claim = |key: &str| match extra.get(key).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    let pod = claim(POD_NAME).zip(claim(POD_UID)).map(|(name, uid)| BoundPod { name, uid });
    let (namespace, service_account) = (namespace.to_owned(), service_account.to_owned());
    Ok(TokenOwner { namespace, service_account, pod, node: claim(NODE_NAME) })
}

/// Begins the user name of every ServiceAccount: `system:serviceaccount:NAMESPACE:NAME`.
const USER_PREFIX: &str = "system:serviceaccount:";

/// The group of every ServiceAccount.
const ACCOUNTS: &str = "system:serviceaccounts";

/// What the API server says besides of a token that is bound (KEP-4193).
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Characters shown of a text that others choose.
const MAX_SHOWN: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_who_is_of_its_group_and_has_its_name() {
        let account = owner(user("system:serviceaccount:shop:cart", ACCOUNTS)).unwrap();
        assert_eq!((&*account.namespace, &*account.service_account), ("shop", "cart"));
        for (name, group) in [
            ("system:serviceaccount:shop:cart", "system:authenticated"),
            ("system:serviceaccount:shop", ACCOUNTS),
            ("system:node:n", ACCOUNTS),
            ("", ACCOUNTS),
        ] {
            let refused = owner(user(name, group));
            assert!(matches!(refused, Err(ReviewError::NoServiceAccount { .. })), "{name}");
        }
    }

    #[test]
    fn a_token_is_bound_to_a_pod_by_name_and_uid_together() {
        let mut user = user("system:serviceaccount:shop:cart", ACCOUNTS);
        user.extra = Some([(POD_NAME.to_owned(), vec!["cart-1".to_owned()])].into());
        assert_eq!(owner(user.clone()).unwrap().pod, None);
        let extra = user.extra.as_mut().unwrap();
        extra.insert(POD_UID.to_owned(), vec!["u".to_owned()]);
        extra.insert(NODE_NAME.to_owned(), vec!["n".to_owned(), "m".to_owned()]);
        let owner = owner(user).unwrap();
        assert_eq!(owner.pod, Some(BoundPod { name: "cart-1".to_owned(), uid: "u".to_owned() }));
        assert_eq!(owner.node, None, "two nodes are none");
    }

    fn user(name: &str, group: &str) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            groups: Some(vec![group.to_owned()]),
            ..UserInfo::default()
        }
    }
}
