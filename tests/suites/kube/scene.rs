//! A CA beside an API server, and a namespace whose pods ask it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use certs::{CaClient, CaClientConfig, LeafKey, SignError, SignedChain, Signer, SystemClock, TokenFile};
use harness::{ControlPlane, LabError, Process, eventually, ztunnel};
use identity::SpiffeId;
use serde_json::{Value, json};

/// A cluster with a namespace of this test's own, in which `ztunnel` may ask for others.
pub(crate) struct Scene {
    pub(crate) cluster: Arc<ControlPlane>,
    pub(crate) namespace: String,
    /// What callers of its CAs may do at most, where that is not the default.
    pub(crate) limits: Value,
}

/// A CA that runs.
pub(crate) struct Ca {
    name: String,
    pub(crate) process: Process,
    address: String,
    folder: PathBuf,
}

/// A pod that the API server knows.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What became of asking: a chain, or the gRPC code and message.
pub(crate) type Answer = Result<SignedChain, (String, String)>;

impl Scene {
    /// In the cluster that tests share.
    pub(crate) fn new() -> Result<Self, LabError> {
        Self::of(ControlPlane::shared()?)
    }

    pub(crate) fn of(cluster: Arc<ControlPlane>) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // What a CA may do, under names of this test's own.
        let rules = include_str!("../../../deploy/ca/rbac.yaml");
        let rules =
            rules.replace("ambient-system", &namespace).replace("ambient-ca", &format!("{namespace}-ca"));
        cluster.apply(&rules)?;
        let scene = Self { cluster, namespace, limits: json!({}) };
        for name in ["ztunnel", "cart", "till", "late"] {
            make(&scene.cluster, &account(&scene.namespace, name))?;
        }
        Ok(scene)
    }

    /// A pod of an account that runs on a node.
    pub(crate) fn pod(&self, name: &str, account: &str, node: &str) -> Result<Pod, LabError> {
        let made = make(&self.cluster, &pod(&self.namespace, name, account, &self.node(node)))?;
        let uid = made.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        Ok(Pod { name: name.to_owned(), uid: uid.to_owned() })
    }

    /// Deletes a pod, at once.
    pub(crate) fn delete(&self, pod: &Pod) -> Result<(), LabError> {
        let path = format!("/api/v1/namespaces/{}/pods/{}?gracePeriodSeconds=0", self.namespace, pod.name);
        let reply = self.cluster.ask("DELETE", &path, None)?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(())
    }

    /// Lets a pod end well.
    pub(crate) fn end(&self, pod: &Pod) -> Result<(), LabError> {
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", self.namespace, pod.name);
        let reply = self.cluster.ask("PATCH", &path, Some(&json!({ "status": { "phase": "Succeeded" } })))?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(())
    }

    /// A node of this test's own.
    pub(crate) fn node(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// A token of an account of this namespace, for a CA, bound to `pod`.
    pub(crate) fn token(&self, account: &str, pod: Option<&Pod>) -> Result<String, LabError> {
        self.token_for(account, "istio-ca", pod)
    }

    pub(crate) fn token_for(
        &self,
        account: &str,
        audience: &str,
        pod: Option<&Pod>,
    ) -> Result<String, LabError> {
        let account = format!("{}/{account}", self.namespace);
        self.cluster.token(&account, audience, pod.map(|pod| (&*pod.name, &*pod.uid)))
    }

    /// The identity of an account of this namespace.
    pub(crate) fn id(&self, account: &str) -> SpiffeId {
        format!("spiffe://cluster.local/ns/{}/sa/{account}", self.namespace).parse().expect("an identity")
    }

    /// A CA that knows its callers by the API server.
    pub(crate) fn ca(&self, name: &str) -> Result<Ca, LabError> {
        let folder = self.cluster.folder().join(format!("{}-{name}", self.namespace));
        self.ca_with(name, &json!({ "folder": folder.join("root") }))
    }

    /// A CA whose root is as given.
    pub(crate) fn ca_with(&self, name: &str, root: &Value) -> Result<Ca, LabError> {
        let name = format!("{}-{name}", self.namespace);
        let folder = self.cluster.folder().join(&name);
        fs::create_dir_all(&folder)?;
        let token = self.token_for("ca", "https://kubernetes.default.svc", None)?;
        let mut root = root.clone();
        root["publish"] = json!(folder.join("roots.pem"));
        let config = json!({
            "limits": self.limits,
            "root": root,
            "trust": {
                "kubernetes": self.cluster.kubeconfig(&name, &token)?,
                "impersonators": [format!("{}/ztunnel", self.namespace)],
            },
            "listen": {
                "address": "127.0.0.1:0",
                "adminSocket": folder.join("admin.sock"),
                "admin": "off",
                "metrics": "off",
                "readiness": "off",
            },
            "log": { "format": "json" },
        });
        fs::write(folder.join("ca.yaml"), config.to_string())?;
        let mut command = Command::new(ztunnel()?);
        command.args(["ca", "--config"]).arg(folder.join("ca.yaml"));
        let mut process = self.cluster.run(&name, &command)?;
        let address = eventually("the CA did not come up", || {
            let log = self.cluster.log(&name)?;
            if let Some(status) = process.ended()? {
                return Err(LabError::Program {
                    command: name.clone(),
                    status: status.to_string(),
                    output: log,
                });
            }
            Ok(address(&log).filter(|_| folder.join("roots.pem").exists()))
        })?;
        Ok(Ca { name, process, address, folder })
    }
}

impl Ca {
    /// Asks for a certificate of `identity` on a pod's behalf.
    pub(crate) fn ask(&self, scene: &Scene, token: &str, identity: &SpiffeId) -> Result<Answer, LabError> {
        let path = self.folder.join("token");
        fs::write(&path, token)?;
        let config = CaClientConfig {
            address: self.address.parse().expect("an address"),
            server_name: "istiod.istio-system.svc".try_into().expect("a name"),
            roots: self.folder.join("roots.pem"),
            cluster_id: "Kubernetes".to_owned(),
            lifetime: Duration::from_hours(1),
            timeout: Duration::from_secs(10),
        };
        let client = CaClient::new(config, Arc::new(TokenFile::new(path)), Arc::new(SystemClock));
        let csr = LeafKey::generate().and_then(|key| key.request(identity)).expect("a request");
        let asked = scene.cluster.netns().within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(client.sign(identity, &csr)))
        })?;
        match asked {
            Ok(chain) => Ok(Ok(chain)),
            Err(SignError::Refused { code, message }) => Ok(Err((format!("{code:?}"), message))),
            Err(error) => Err(LabError::Io(io::Error::other(error))),
        }
    }

    /// Its admin server's Unix socket.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// What `ztunnel ca rotate` says, by its configuration; or why it refuses.
    pub(crate) fn rotate(
        &self,
        scene: &Scene,
        step: &str,
        words: &[&str],
    ) -> Result<Result<String, String>, LabError> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", scene.cluster.netns().name()]).arg(ztunnel()?);
        command.args(["ca", "rotate", step, "--config"]).arg(self.folder.join("ca.yaml")).args(words);
        let output = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }

    /// What it logged.
    pub(crate) fn log(&self, scene: &Scene) -> Result<String, LabError> {
        scene.cluster.log(&self.name)
    }

    /// How many were refused for that reason.
    pub(crate) fn refusals(&self, scene: &Scene, reason: &str) -> Result<u64, LabError> {
        Ok(self.status(scene)?["refusals"][reason].as_u64().unwrap_or_default())
    }

    /// Its status, of its admin server.
    pub(crate) fn status(&self, scene: &Scene) -> Result<Value, LabError> {
        let mut command = Command::new(ztunnel()?);
        command.args(["ca", "status", "--json", "--socket"]).arg(self.admin_socket());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", scene.cluster.log(&self.name)?);
        Ok(serde_json::from_str(&text).expect("a status"))
    }
}

/// Makes an object, which must be taken.
pub(crate) fn make(cluster: &ControlPlane, object: &Value) -> Result<Value, LabError> {
    let reply = cluster.create(object)?;
    assert!(matches!(reply.status, 200..300), "{object}: {reply:?}");
    Ok(reply.body)
}

/// A ServiceAccount.
pub(crate) fn account(namespace: &str, name: &str) -> Value {
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
}

/// A pod of an account that is on a node.
pub(crate) fn pod(namespace: &str, name: &str, account: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "serviceAccountName": account,
            "nodeName": node,
            "containers": [{ "name": "app", "image": "app" }],
        },
    })
}

/// Where a CA says that it listens.
fn address(log: &str) -> Option<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut said = lines.filter(|line| line["message"] == "running");
    said.next()?["address"].as_str().map(str::to_owned)
}
