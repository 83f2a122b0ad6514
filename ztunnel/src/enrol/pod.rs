//! A pod as enrolment knows it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A pod of this node. Not the mesh's model of it: a pod is enrolled before any watch has told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Kubernetes' `metadata.uid`.
    pub uid: PodUid,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account, where the caller knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Its addresses; primary first.
    pub addresses: Vec<IpAddr>,
}

/// Kubernetes' `metadata.uid`, safe as a file name: 1 to 64 of `A-Z a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodUid(String);

/// The text cannot be a pod's uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the uid of a pod")]
pub struct InvalidPodUid(String);

impl PodUid {
    /// The uid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PodUid {
    type Error = InvalidPodUid;

    fn try_from(uid: String) -> Result<Self, InvalidPodUid> {
        let allowed = |it: char| it.is_ascii_alphanumeric() || it == '-';
        if (1..=64).contains(&uid.len()) && uid.chars().all(allowed) {
            Ok(Self(uid))
        } else {
            Err(InvalidPodUid(uid))
        }
    }
}

impl TryFrom<&mesh::PodUid> for PodUid {
    type Error = InvalidPodUid;

    fn try_from(uid: &mesh::PodUid) -> Result<Self, InvalidPodUid> {
        Self::try_from(uid.0.to_string())
    }
}

impl From<&PodUid> for mesh::PodUid {
    fn from(uid: &PodUid) -> Self {
        Self(uid.as_str().into())
    }
}

impl From<PodUid> for String {
    fn from(uid: PodUid) -> Self {
        uid.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_never_leaves_its_folder() {
        for bad in ["", ".", "..", "a/b", "../x", "a.tmp", "ä"] {
            assert!(PodUid::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        let uid = "0b0c5ba8-7f41-4f3c-8c0c-9f3f0d6f2d1e";
        assert_eq!(PodUid::try_from(uid.to_owned()).unwrap().as_str(), uid);
    }
}
