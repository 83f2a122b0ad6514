//! What all Kubernetes objects have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::Time;

/// `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Name.
    pub name: Arc<str>,
    /// Namespace; empty for objects of the cluster.
    pub namespace: Arc<str>,
    /// Kubernetes' own name of this very object; hand-written manifests have none.
    pub uid: Option<Arc<str>>,
    /// Labels.
    pub labels: Labels,
    /// Those annotations that matter here.
    pub annotations: Annotations,
    /// Who made it.
    pub owner_references: Arc<[OwnerReference]>,
    /// When it was made.
    pub creation_timestamp: Time,
    /// It is being deleted, which few objects are at a time: they pay for the place.
    pub deletion_timestamp: Option<Box<Time>>,
}

/// One of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// Its kind.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// It controls the object.
    pub controller: bool,
}

/// Labels, sorted by key. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels(pub(crate) Arc<[(Arc<str>, Arc<str>)]>);

/// Annotations of ours and of Istio; others may be large and mean nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Annotations(pub(crate) Labels);

/// `matchLabels` and `matchExpressions`. Without either it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    /// Labels that must be there.
    pub match_labels: Labels,
    /// Further conditions.
    pub match_expressions: Vec<Expression>,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Expression {
    /// The label.
    pub key: Arc<str>,
    /// What must hold.
    pub operator: Operator,
    /// Its values.
    pub values: Vec<Arc<str>>,
}

/// `operator` of a selector's expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Operator {
    /// The label is not there.
    DoesNotExist,
    /// The label is there.
    Exists,
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// An operator that is not known: it never holds.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Metadata {
    /// The object is being deleted.
    pub const fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|value| &**value)
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.0.get(key).map(|value| &**value)
    }

    /// A setting that may be written as a label or as an annotation; the label counts more.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.label(key).or_else(|| self.annotation(key))
    }

    /// The owner that controls it.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

impl Labels {
    /// A label's value.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let at = self.0.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where they are: the same for labels that are one object.
    pub(crate) fn place(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// These labels; where a key is in both, `more` counts.
    #[must_use]
    pub fn with(&self, more: &Self) -> Self {
        match (self.is_empty(), more.is_empty()) {
            (_, true) => self.clone(),
            (true, _) => more.clone(),
            _ => self.iter().chain(more.iter()).map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }
}

impl Selector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether it selects an object with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::DoesNotExist => value.is_none(),
            Operator::Exists => value.is_some(),
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Unknown => false,
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl FromIterator<(Arc<str>, Arc<str>)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(labels: I) -> Self {
        let sorted: BTreeMap<_, _> = labels.into_iter().collect();
        Self(sorted.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs { wanted: |_| true })
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ours = |key: &str| {
            let (domain, _) = key.split_once('/').unwrap_or((key, ""));
            domain == "istio.io" || domain.ends_with(".istio.io") || domain == "ambient.mesh"
        };
        deserializer.deserialize_map(Pairs { wanted: ours }).map(Self)
    }
}

/// Reads a map of texts, of which some keys are wanted.
struct Pairs {
    wanted: fn(&str) -> bool,
}

impl<'de> Visitor<'de> for Pairs {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or_default().min(64));
        while let Some((key, value)) = map.next_entry::<Arc<str>, Arc<str>>()? {
            if (self.wanted)(&key) {
                pairs.push((key, value));
            }
        }
        Ok(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_as_kubernetes_says() {
        let labels: Labels = [("app".into(), "cart".into())].into_iter().collect();
        for (operator, key, values, holds) in [
            (Operator::In, "app", &["cart", "web"][..], true),
            (Operator::In, "tier", &["cart"], false),
            (Operator::NotIn, "app", &["cart"], false),
            (Operator::NotIn, "tier", &["cart"], true),
            (Operator::Exists, "app", &[], true),
            (Operator::DoesNotExist, "app", &[], false),
            (Operator::DoesNotExist, "tier", &[], true),
            (Operator::Unknown, "app", &["cart"], false),
        ] {
            let values = values.iter().map(|value| Arc::from(*value)).collect();
            let expression = Expression { key: key.into(), operator, values };
            assert_eq!(expression.holds(&labels), holds, "{expression:?}");
        }
    }

    #[test]
    fn later_labels_count_more() {
        let own: Labels = [("app".into(), "cart".into()), ("tier".into(), "a".into())].into_iter().collect();
        let more: Labels = [("tier".into(), "b".into())].into_iter().collect();
        let both = own.with(&more);
        assert_eq!(both.get("tier").map(|value| &**value), Some("b"));
        assert_eq!(both.get("app").map(|value| &**value), Some("cart"));
    }
}
