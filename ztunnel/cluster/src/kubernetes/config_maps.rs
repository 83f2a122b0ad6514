//! ConfigMaps that tell others something.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::access::Kubernetes;
use super::error::{ApiError, answer};
use super::name::NamespacedName;

impl Kubernetes {
    /// What an entry of a ConfigMap says.
    ///
    /// # Errors
    /// When the API server doesn't answer.
    pub async fn told(&self, name: &NamespacedName, entry: &str) -> Result<Option<String>, ApiError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &name.namespace);
        let there = answer("get a config map", api.get_opt(&name.name)).await?;
        Ok(there.and_then(|there| there.data?.remove(entry)))
    }

    /// Makes an entry of a ConfigMap say `text`; other entries stay.
    ///
    /// # Errors
    /// When the API server doesn't answer, or somebody else writes at the same time.
    pub async fn tell(&self, name: &NamespacedName, entry: &str, text: &str) -> Result<(), ApiError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &name.namespace);
        let post = PostParams::default();
        let Some(mut there) = answer("get a config map", api.get_opt(&name.name)).await? else {
            let made = config_map(name, entry, text);
            return answer("create a config map", api.create(&post, &made)).await.map(drop);
        };
        let entries = there.data.get_or_insert_default();
        if entries.get(entry).is_some_and(|it| it == text) {
            return Ok(());
        }
        entries.insert(entry.to_owned(), text.to_owned());
        // Under the version that was read.
        answer("write a config map", api.replace(&name.name, &post, &there)).await.map(drop)
    }
}

fn config_map(name: &NamespacedName, entry: &str, text: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(entry.to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    }
}
