//! A lab with a CA and a daemon on each node.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::{Authority, Cluster, Daemon, Lab, LabError, PATIENCE, program};

/// A lab with a CA and a daemon on each node. Dropped, the processes end before their namespaces.
#[derive(Debug)]
pub struct Mesh {
    daemons: Vec<Daemon>,
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
    /// How long the daemons may take to be ready.
    pub patience: Duration,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self { program: None, config: Value::Object(Map::new()), patience: PATIENCE }
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
        let ca = Authority::start(&lab, &program)?;
        let patch =
            if options.config.is_null() { Value::Object(Default::default()) } else { options.config.clone() };
        let start = |node| Daemon::start(&lab, node, &program, &ca, &patch);
        let daemons = lab.nodes().iter().map(start).collect::<Result<Vec<_>, _>>()?;
        let mesh = Self { daemons, ca, lab };
        mesh.wait_settled(options.patience)?;
        Ok(mesh)
    }

    /// Waits until every daemon is ready and every pod that should be captured is.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_settled(&self, patience: Duration) -> Result<(), LabError> {
        self.daemons.iter().try_for_each(|daemon| daemon.wait_ready_for(patience))?;
        for pod in self.lab.pods().iter().filter(|pod| self.lab.wants_capture(pod)) {
            self.daemon(pod.node().name()).wait_captured(pod)?;
        }
        Ok(())
    }

    /// The daemon of a node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn daemon(&self, node: &str) -> &Daemon {
        let daemon = self.daemons.iter().find(|it| it.node().name() == node);
        daemon.unwrap_or_else(|| panic!("no node {node} in the lab"))
    }

    /// Every daemon.
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
