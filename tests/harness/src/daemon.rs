//! A node's daemon.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::AccessRecord;
use crate::process::Process;
use crate::program::{OF_NODE, OF_POD, confined_command, daemon_command, run};
use crate::spec::merge;
use crate::{Answer, Authority, Lab, LabError, Node, PATIENCE, Pod, Scrape, admin, eventually, wait_for};

/// The daemon of a node: `ztunnel proxy` in the node's namespace, with its files in the node's folder. Or that of a single
/// pod, inside of it, with its files in a folder of that one.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    node: Node,
    /// The pod that it runs inside of.
    inside: Option<Pod>,
    folder: PathBuf,
    /// None while it is not to run.
    process: Mutex<Option<Process>>,
}

/// How a pod fares, as `ztunnel enrol list --json` tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct PodPhase {
    pod: PodName,
    /// `captured`, `draining` or `failed`.
    pub phase: String,
    /// What is wrong, if anything.
    pub problem: Option<String>,
    /// How often capture had to be put right.
    pub repairs: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct PodName {
    uid: String,
}

impl Daemon {
    /// Writes the configuration and starts the daemon.
    pub(crate) fn start(
        lab: &Lab,
        node: &Node,
        program: &Path,
        ca: &Authority,
        patch: &Value,
    ) -> Result<Self, LabError> {
        let (program, node, folder) = (program.to_owned(), node.clone(), node.folder().to_owned());
        let this = Self { program, node, inside: None, folder, process: Mutex::default() };
        let config = this.config(lab, ca);
        this.start_by(config, patch)
    }

    /// [`Daemon::start`], inside of a pod.
    pub(crate) fn start_inside(
        lab: &Lab,
        pod: &Pod,
        ca: &Authority,
        patch: &Value,
    ) -> Result<Self, LabError> {
        let (program, node) = (ca.program().to_owned(), pod.node().clone());
        let folder = node.folder().join(format!("in-{}-{}", pod.namespace(), pod.name()));
        fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
        let this = Self { program, node, inside: Some(pod.clone()), folder, process: Mutex::default() };
        let mut config = this.config(lab, ca);
        merge(
            &mut config,
            &json!({
                "pod": format!("{}/{}", pod.namespace(), pod.name()),
                "state": null,
                "ca": { "address": Authority::address_for(pod) },
                "dns": { "resolvConf": pod.resolv_conf() },
            }),
        );
        this.start_by(config, patch)
    }

    fn start_by(self, mut config: Value, patch: &Value) -> Result<Self, LabError> {
        merge(&mut config, patch);
        let path = self.config_file();
        fs::write(&path, format!("{config:#}")).map_err(LabError::file(path))?;
        self.run()?;
        Ok(self)
    }

    /// The node that it serves.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The pod that it runs inside of; none for a node's.
    pub const fn inside(&self) -> Option<&Pod> {
        self.inside.as_ref()
    }

    /// Its process id; none while it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Starts it again after its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self) -> Result<(), LabError> {
        self.run_to(self.open_log()?.into())
    }

    /// [`Daemon::run`], with what it logs somewhere else; what it complains at its start stays in its log.
    ///
    /// # Errors
    /// As there.
    pub fn run_to(&self, output: Stdio) -> Result<(), LabError> {
        self.spawn(self.confined(), output)
    }

    /// [`Daemon::run`], with a clock that is so many seconds ahead of everyone else's.
    ///
    /// # Errors
    /// As there.
    pub fn run_ahead(&self, seconds: i64) -> Result<(), LabError> {
        let mut command = self.confined();
        // The loader puts the machine's library folder for $LIB. Timers go on as they are.
        command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
        command.env("FAKETIME", format!("{seconds:+}s")).env("DONT_FAKE_MONOTONIC", "1");
        self.spawn(command, self.open_log()?.into())
    }

    fn confined(&self) -> Command {
        let capabilities = if self.inside.is_some() { OF_POD } else { OF_NODE };
        confined_command(&self.program, capabilities)
    }

    fn spawn(&self, mut command: Command, output: Stdio) -> Result<(), LabError> {
        command.arg("proxy").arg("--config").arg(self.config_file());
        command.stdin(Stdio::null()).stdout(output).stderr(self.open_log()?);
        *self.process() = Some(match &self.inside {
            Some(pod) => pod.start(&mut command)?,
            None => self.node.spawn(&mut command)?,
        });
        Ok(())
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn kill(&self) -> Result<(), LabError> {
        self.process().take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Asks it to end by SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// When it has not ended within `patience`, and then it still runs.
    pub fn terminate(&self, patience: Duration) -> Result<Option<ExitStatus>, LabError> {
        let mut slot = self.process();
        let Some(process) = slot.as_mut() else { return Ok(None) };
        let status = process.terminate(patience)?;
        *slot = None;
        Ok(Some(status))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not within `patience`, and then it still runs.
    pub fn wait_end(&self, patience: Duration) -> Result<Option<ExitStatus>, LabError> {
        let mut slot = self.process();
        let Some(process) = slot.as_mut() else { return Ok(None) };
        let status = process.wait(patience)?;
        *slot = None;
        Ok(Some(status))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        self.process().as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// Asks its admin server.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer, LabError> {
        admin::request(&self.admin_socket(), "GET", path)
    }

    /// Its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn scrape(&self) -> Result<Scrape, LabError> {
        Ok(Scrape::read(&self.get("/metrics")?.body))
    }

    /// Waits until a metric's samples with these labels satisfy `wanted`.
    ///
    /// # Errors
    /// When they do not in time; what they were at last is in the error.
    pub fn wait_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64, LabError> {
        let mut last = None;
        let found = eventually("the metric is not as it should be", || {
            last = self.scrape()?.sum(name, labels);
            Ok(last.filter(|value| wanted(*value)))
        });
        found.map_err(|error| match error {
            LabError::Timeout { what, waited } => {
                LabError::Timeout { what: format!("{what}: {name} {labels:?} is {last:?}"), waited }
            }
            other => other,
        })
    }

    /// Tells its admin server.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn post(&self, path: &str) -> Result<Answer, LabError> {
        admin::request(&self.admin_socket(), "POST", path)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not in time, or has ended; its log is in the error.
    pub fn wait_ready(&self) -> Result<(), LabError> {
        self.wait_ready_for(PATIENCE)
    }

    /// [`Daemon::wait_ready`], for so long.
    ///
    /// # Errors
    /// As there.
    pub fn wait_ready_for(&self, patience: Duration) -> Result<(), LabError> {
        let ready = wait_for("the daemon is not ready", patience, || {
            if let Some(status) = self.process().as_mut().map_or(Ok(None), Process::ended)? {
                let (command, status) = ("ztunnel proxy".to_owned(), status.to_string());
                return Err(LabError::Program { command, status, output: self.log()? });
            }
            Ok(self.get("/healthz/ready").is_ok_and(|it| it.status == 200).then_some(()))
        });
        ready.map_err(|error| self.explained(error))
    }

    /// How each pod of its node fares, or the one that it is for.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn pods(&self) -> Result<Vec<PodPhase>, LabError> {
        let text = match &self.inside {
            Some(_) => self.get("/config_dump/pods")?.body,
            None => self.enrol(&["list", "--json"])?,
        };
        serde_json::from_str(&text).map_err(|error| LabError::Unreadable {
            what: "enrol list".to_owned(),
            problem: format!("{error}: {text}"),
        })
    }

    /// How a pod fares; none when the daemon does not know it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn phase(&self, pod: &Pod) -> Result<Option<PodPhase>, LabError> {
        Ok(self.pods()?.into_iter().find(|it| it.pod.uid == pod.uid()))
    }

    /// Waits until a pod is captured.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_captured(&self, pod: &Pod) -> Result<(), LabError> {
        let what = format!("pod {}/{} is not captured", pod.namespace(), pod.name());
        let captured = eventually(&what, || {
            let phase = self.phase(pod)?;
            Ok(phase.is_some_and(|it| it.phase == "captured" && it.problem.is_none()).then_some(()))
        });
        captured.map_err(|error| self.explained(error))
    }

    /// Waits until it knows of these pods that their nodes capture them, and so tunnels to them.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_knows(&self, pods: &[Pod]) -> Result<(), LabError> {
        let known = eventually("the daemon does not know all captured pods", || {
            let dump = self.get("/config_dump/workloads")?.json()?;
            let workloads = dump.as_array().map(Vec::as_slice).unwrap_or_default();
            let captured: BTreeSet<_> = workloads
                .iter()
                .filter(|workload| workload["capture"] == "Enabled")
                .filter_map(|workload| workload["pod_uid"].as_str())
                .collect();
            Ok(pods.iter().all(|pod| captured.contains(pod.uid())).then_some(()))
        });
        known.map_err(|error| self.explained(error))
    }

    /// Runs `ztunnel enrol` with these words, as the CNI plugin's call would be made by hand.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn enrol(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new(&self.program);
        run(command.arg("enrol").arg("--socket").arg(self.enrol_socket()).args(words), None)
    }

    /// `ztunnel status` with these words; what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn status(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = daemon_command(&self.program);
        command.args(["status", "--socket"]).arg(self.admin_socket()).args(words);
        run(&mut command, None)
    }

    /// What it logged, of all its lives.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String, LabError> {
        let path = self.log_file();
        fs::read_to_string(&path).map_err(LabError::file(path))
    }

    /// The connections that it logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn records(&self) -> Result<Vec<AccessRecord>, LabError> {
        Ok(AccessRecord::all_in(&self.log()?))
    }

    /// Waits for the record of a connection.
    ///
    /// # Errors
    /// When there is none in time; the log is in the error.
    pub fn wait_record(&self, wanted: impl Fn(&AccessRecord) -> bool) -> Result<AccessRecord, LabError> {
        let found =
            eventually("no such connection was recorded", || Ok(self.records()?.into_iter().find(&wanted)));
        found.map_err(|error| self.explained(error))
    }

    /// Its admin server's Unix socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Where pods are enrolled.
    pub fn enrol_socket(&self) -> PathBuf {
        self.folder.join("enrol.sock")
    }

    /// Its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("ztunnel.yaml")
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("ztunnel.log")
    }

    fn open_log(&self) -> Result<File, LabError> {
        let log = self.log_file();
        File::options().create(true).append(true).open(&log).map_err(LabError::file(log))
    }

    fn config(&self, lab: &Lab, ca: &Authority) -> Value {
        json!({
            "node": self.node.name(),
            "source": { "manifests": lab.manifests(), "status": lab.folder().join("status") },
            "state": {
                "folder": self.folder.join("state"),
                "enrolSocket": self.enrol_socket(),
                "netns": self.node.pod_netns(),
            },
            "ca": {
                "address": Authority::address(&self.node),
                "roots": ca.roots(),
                "nodeKey": Authority::node_key(&self.node),
            },
            "listen": { "adminSocket": self.admin_socket() },
            "log": { "format": "json" },
        })
    }

    /// A timeout with the log, where the reason stands.
    fn explained(&self, error: LabError) -> LabError {
        match error {
            LabError::Timeout { what, waited } => {
                let log = self.log().unwrap_or_default();
                LabError::Timeout { what: format!("{log}\n{what} on {}", self.node.name()), waited }
            }
            other => other,
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
