//! The Secret of a CA's root.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certs::Authority;
use harness::LabError;
use rustls_pki_types::UnixTime;
use serde_json::{Map, Value, json};

use crate::scene::{Scene, make};

/// A root that nobody uses yet.
pub(crate) struct NewRoot {
    pub(crate) key: String,
    pub(crate) certificate: String,
    pub(crate) serial: String,
}

impl Scene {
    /// The configuration of a root in this namespace's Secret.
    pub(crate) fn secret(&self) -> Value {
        json!({ "secret": format!("{}/{}", self.namespace, self.secret_name()) })
    }

    /// An entry of the Secret.
    pub(crate) fn entry(&self, name: &str) -> Result<String, LabError> {
        let reply = self.cluster.ask("GET", &self.path(), None)?;
        let text = reply.body["data"][name].as_str().unwrap_or_else(|| panic!("no {name}: {reply:?}"));
        let decoded = STANDARD.decode(text).expect("base64");
        Ok(String::from_utf8(decoded).expect("a text"))
    }

    /// Writes entries of the Secret; the others stay.
    pub(crate) fn write_entries(&self, entries: &[(&str, &str)]) -> Result<(), LabError> {
        let entries: Map<_, _> =
            entries.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let reply = self.cluster.ask("PATCH", &self.path(), Some(&json!({ "stringData": entries })))?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(())
    }

    /// Makes the Secret, of what an operator brings.
    pub(crate) fn make_secret(&self, entries: &[(String, String)]) -> Result<(), LabError> {
        let entries: Map<_, _> = entries.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": self.secret_name(), "namespace": self.namespace },
            "stringData": entries,
        });
        make(&self.cluster, &secret).map(drop)
    }

    /// The names of the Secret's entries.
    pub(crate) fn names(&self) -> Result<Vec<String>, LabError> {
        let reply = self.cluster.ask("GET", &self.path(), None)?;
        Ok(reply.body["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default())
    }

    /// Deletes the Secret.
    pub(crate) fn delete_secret(&self) -> Result<(), LabError> {
        let reply = self.cluster.ask("DELETE", &self.path(), None)?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(())
    }

    /// Makes a root.
    pub(crate) fn new_root(&self) -> Result<NewRoot, LabError> {
        let day = std::time::Duration::from_hours(24);
        let made = Authority::make_root("cluster.local", day, UnixTime::now()).expect("a root");
        let roots = certs::TrustBundle::from_pem(made.certificate.as_bytes()).expect("a root");
        let serial = certs::serial_number(&roots.roots()[0]).expect("a serial number");
        Ok(NewRoot { key: made.key.to_string(), certificate: made.certificate, serial })
    }

    /// The one Secret that the rules let a CA write.
    pub(crate) fn secret_name(&self) -> String {
        format!("{}-ca-root", self.namespace)
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", self.namespace, self.secret_name())
    }
}
