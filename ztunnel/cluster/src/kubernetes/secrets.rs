//! Secrets that are written by one of several.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::{Stream, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;

use super::access::Kubernetes;
use super::error::{ApiError, answer};
use super::name::NamespacedName;

/// What a Secret held when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its entries.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// Which state of it that was.
    version: Option<String>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Done,
    /// Somebody else has written meanwhile: nothing is changed.
    Raced,
}

impl Kubernetes {
    /// The Secret as it is now.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn secret(&self, name: &NamespacedName) -> Result<Option<StoredSecret>, ApiError> {
        let api = self.secrets(name);
        Ok(answer("get a secret", api.get_opt(&name.name)).await?.map(StoredSecret::of))
    }

    /// Makes the Secret, unless there is one.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn create_secret(
        &self,
        name: &NamespacedName,
        entries: BTreeMap<String, Vec<u8>>,
    ) -> Result<Written, ApiError> {
        let secret = secret(name, None, entries);
        written(answer("create a secret", self.secrets(name).create(&PostParams::default(), &secret)).await)
    }

    /// Adds entries to the Secret that was read as `seen`, unless it is another one meanwhile.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn add_to_secret(
        &self,
        name: &NamespacedName,
        seen: &StoredSecret,
        entries: BTreeMap<String, Vec<u8>>,
    ) -> Result<Written, ApiError> {
        let mut all = seen.entries.clone();
        all.extend(entries);
        self.replace_secret(name, seen, all).await
    }

    /// Makes these all entries of the Secret that was read as `seen`, unless it is another one meanwhile.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn replace_secret(
        &self,
        name: &NamespacedName,
        seen: &StoredSecret,
        entries: BTreeMap<String, Vec<u8>>,
    ) -> Result<Written, ApiError> {
        let secret = secret(name, seen.version.clone(), entries);
        let api = self.secrets(name);
        written(answer("write a secret", api.replace(&name.name, &PostParams::default(), &secret)).await)
    }

    /// The Secret, each time that it changes, and for ever; nothing while there is none.
    pub fn watch_secret(
        &self,
        name: &NamespacedName,
    ) -> impl Stream<Item = Result<Option<StoredSecret>, ApiError>> + Send + use<> {
        watch_object(self.secrets(name), &name.name).default_backoff().map(|seen| match seen {
            Ok(secret) => Ok(secret.map(StoredSecret::of)),
            Err(error) => Err(ApiError::watch("watch a secret", error)),
        })
    }

    fn secrets(&self, name: &NamespacedName) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &name.namespace)
    }
}

fn secret(name: &NamespacedName, version: Option<String>, entries: BTreeMap<String, Vec<u8>>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(entries.into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
        ..Secret::default()
    }
}

fn written(answer: Result<Secret, ApiError>) -> Result<Written, ApiError> {
    match answer {
        Ok(_) => Ok(Written::Done),
        Err(ApiError::Refused { reason, .. }) if matches!(&*reason, "AlreadyExists" | "Conflict") => {
            Ok(Written::Raced)
        }
        Err(error) => Err(error),
    }
}

impl StoredSecret {
    fn of(secret: Secret) -> Self {
        let entries = secret.data.unwrap_or_default().into_iter();
        Self {
            entries: entries.map(|(key, ByteString(value))| (key, value)).collect(),
            version: secret.metadata.resource_version,
        }
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.entries.keys().collect();
        f.debug_struct("StoredSecret").field("entries", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_holds_is_never_shown() {
        let entries = [("key".to_owned(), b"password".to_vec())].into();
        let shown = format!("{:?}", StoredSecret { entries, version: None });
        assert!(shown.contains("key") && !shown.contains("password"), "{shown}");
    }
}
