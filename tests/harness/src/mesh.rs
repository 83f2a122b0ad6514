//! A lab with a CA and a daemon on each node.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::spec::merge;
use crate::{Authority, Cluster, Daemon, Lab, LabError, Node, PATIENCE, Pod, program};

/// A lab with a CA and a daemon on each node. Dropped, the processes end before their namespaces.
#[derive(Debug)]
pub struct Mesh {
    daemons: Vec<Daemon>,
    dedicated: Vec<Daemon>,
    ca: Authority,
    lab: Lab,
}

/// How a mesh differs from the usual.
#[derive(Clone, Debug)]
pub struct MeshOptions {
    /// The `ztunnel` program, if not [`program::ztunnel`].
    pub program: Option<PathBuf>,
    /// Changes to the daemons' configuration, by groups: `{"path": {"nodeLocal": false}}`.
    pub config: Value,
    /// Changes to the configuration of single nodes' daemons, by node.
    pub nodes: BTreeMap<String, Value>,
    /// Changes to the CA's configuration.
    pub ca: Value,
    /// Files, name and content, that are in the CA's folder before it starts.
    pub root: Vec<(String, String)>,
    /// How long the daemons may take to be ready.
    pub patience: Duration,
    /// Too much for asking daemons for all that they know, which also changes what they use.
    pub large: bool,
    /// Nodes without a daemon of ours: somebody else serves them, or nobody.
    pub foreign: Vec<String>,
    /// Pods that have a daemon of their own in them, by `namespace/name`. Their manifests have to say so too.
    pub dedicated: Vec<String>,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            program: None,
            config: Value::Object(Map::new()),
            nodes: BTreeMap::new(),
            ca: Value::Object(Map::new()),
            root: Vec::new(),
            patience: PATIENCE,
            large: false,
            foreign: Vec::new(),
            dedicated: Vec::new(),
        }
    }
}

impl Mesh {
    /// Brings up a cluster and waits until every pod that should be captured is.
    ///
    /// # Errors
    /// What lab, CA or daemons report.
    pub fn up(cluster: &Cluster) -> Result<Self, LabError> {
        Self::with(cluster, &MeshOptions::default())
    }

    /// [`Mesh::up`], with options.
    ///
    /// # Errors
    /// As [`Mesh::up`].
    pub fn with(cluster: &Cluster, options: &MeshOptions) -> Result<Self, LabError> {
        Self::on(Lab::up(cluster)?, options)
    }

    /// Puts CA and daemons into a lab.
    ///
    /// # Errors
    /// As [`Mesh::up`].
    pub fn on(lab: Lab, options: &MeshOptions) -> Result<Self, LabError> {
        let program = options.program.clone().map_or_else(program::ztunnel, Ok)?;
        let ca = Authority::start(&lab, &program, options)?;
        let patch =
            if options.config.is_null() { Value::Object(Default::default()) } else { options.config.clone() };
        let start = |node: &Node| {
            let mut patch = patch.clone();
            options.nodes.get(node.name()).into_iter().for_each(|own| merge(&mut patch, own));
            Daemon::start(&lab, node, &program, &ca, &patch)
        };
        let ours = lab.nodes().iter().filter(|node| !options.foreign.iter().any(|it| it == node.name()));
        let daemons = ours.map(start).collect::<Result<Vec<_>, _>>()?;
        let mut mesh = Self { daemons, dedicated: Vec::new(), ca, lab };
        options.dedicated.iter().try_for_each(|key| mesh.start_in(key, &patch))?;
        mesh.all().try_for_each(|daemon| daemon.wait_ready_for(options.patience))?;
        let pods = mesh.wait_captured()?;
        if !options.large {
            mesh.wait_known(&pods)?;
        }
        Ok(mesh)
    }

    /// Starts a daemon inside of a pod, by `namespace/name`, with changes to its configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_in(&mut self, key: &str, patch: &Value) -> Result<(), LabError> {
        let pod = self.lab.pod(key);
        self.dedicated.push(Daemon::start_inside(&self.lab, &pod, &self.ca, patch)?);
        Ok(())
    }

    /// Waits until every daemon is ready, captures each pod of its node that should be captured, and knows of those
    /// of the other daemons' nodes.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn wait_settled(&self) -> Result<(), LabError> {
        self.wait_known(&self.wait_captured()?)
    }

    /// Hands out the pods that are captured.
    fn wait_captured(&self) -> Result<Vec<Pod>, LabError> {
        let mut captured = Vec::new();
        for daemon in &self.daemons {
            daemon.wait_ready()?;
            let here = |pod: &Pod| pod.node().name() == daemon.node().name();
            let wanted = |pod: &Pod| self.lab.wants_capture(pod) && !self.lab.has_own_proxy(pod);
            for pod in self.lab.pods().into_iter().filter(|pod| here(pod) && wanted(pod)) {
                daemon.wait_captured(&pod)?;
                captured.push(pod);
            }
        }
        for daemon in &self.dedicated {
            daemon.wait_ready()?;
            captured.extend(daemon.inside().cloned());
        }
        Ok(captured)
    }

    fn wait_known(&self, pods: &[Pod]) -> Result<(), LabError> {
        self.all().try_for_each(|daemon| daemon.wait_knows(pods))
    }

    /// Every daemon, on nodes and in pods.
    fn all(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons.iter().chain(&self.dedicated)
    }

    /// The daemon of a node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn daemon(&self, node: &str) -> &Daemon {
        let daemon = self.daemons.iter().find(|it| it.node().name() == node);
        daemon.unwrap_or_else(|| panic!("no node {node} in the lab"))
    }

    /// The daemon inside of a pod, by `namespace/name`.
    ///
    /// # Panics
    /// When there is no such daemon.
    pub fn daemon_in(&self, key: &str) -> &Daemon {
        let is_it = |pod: &Pod| format!("{}/{}", pod.namespace(), pod.name()) == key;
        let daemon = self.dedicated.iter().find(|it| it.inside().is_some_and(is_it));
        daemon.unwrap_or_else(|| panic!("no daemon in pod {key}"))
    }

    /// Every node's daemon.
    pub fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// The CA.
    pub const fn ca(&self) -> &Authority {
        &self.ca
    }

    /// Ends the CA and starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart_ca(&mut self) -> Result<(), LabError> {
        self.ca.restart(&self.lab)
    }

    /// Ends the CA.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn kill_ca(&mut self) -> Result<(), LabError> {
        self.ca.kill()
    }

    /// The lab that it lives in.
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }
}

/// A mesh is a lab with more in it.
impl Deref for Mesh {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}
