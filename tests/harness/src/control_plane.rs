//! A real API server of Kubernetes, with the etcd that it needs, in a namespace of its own or beside a lab's nodes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::documents;
use crate::process::Process;
use crate::program::{daemon_command, run};
use crate::sweep::{Tag, sweep_once};
use crate::{Lab, LabError, Netns, netns, wait_for};

/// An API server, asked as an administrator. It has no controllers, no scheduler and no kubelets: what they would do is
/// written by the test. Gone when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    netns: Netns,
    folder: PathBuf,
    /// Of what is to be cleared away; none where that is the lab's business.
    tag: Option<Tag>,
    program: PathBuf,
    server: Mutex<Option<Process>>,
    /// Ends after the API server, which would complain.
    _etcd: Process,
}

/// What the API server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The object, or the API server's Status.
    pub body: Value,
}

impl ControlPlane {
    /// One that tests of a process share, as long as one of them has it: each keeps to names of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn shared() -> Result<Arc<Self>, LabError> {
        static SHARED: Mutex<Weak<ControlPlane>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Starts one.
    ///
    /// # Errors
    /// When the program was not built (`cargo xtask test` builds it), or does not come up.
    pub fn start() -> Result<Self, LabError> {
        let program = program()?;
        sweep_once();
        let tag = Tag::unique();
        let started = Self::alone(&tag, program);
        if started.is_err() {
            tag.clear();
        }
        started
    }

    /// Starts one in the world outside of a lab's nodes, where its CA is.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub fn beside(lab: &Lab) -> Result<Self, LabError> {
        Self::start_in(Netns::open(lab.wire().name())?, lab.folder().join("control"), None, program()?)
    }

    /// Ends the API server.
    ///
    /// # Errors
    /// What waitpid(2) reports.
    pub fn stop_server(&self) -> Result<(), LabError> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Starts the API server, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_server(&self) -> Result<(), LabError> {
        let mut command = daemon_command(&self.program);
        command.arg("kube-apiserver").args(server_arguments(&self.folder));
        let mut server = spawn("kube-apiserver", &self.folder, &self.netns, &mut command)?;
        let readyz = format!("{URL}/readyz");
        wait_for("the API server was not ready", START, || {
            if let Some(status) = server.ended()? {
                return Err(self.ended("kube-apiserver", &status.to_string()));
            }
            let answer = self.curl(&["-o", "/dev/null", "-w", "%{http_code}", &readyz], None);
            Ok((answer.is_ok_and(|it| it == "200")).then_some(()))
        })?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        Ok(())
    }

    /// Makes objects out of YAML, or leaves those that are there.
    ///
    /// # Errors
    /// When it is no YAML of objects, or the API server refuses one.
    pub fn apply(&self, yaml: &str) -> Result<(), LabError> {
        for object in documents(yaml)? {
            let reply = self.create(&object)?;
            if !matches!(reply.status, 200..300 | 409) {
                return Err(unreadable(&object, &reply));
            }
        }
        Ok(())
    }

    /// Makes an object.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn create(&self, object: &Value) -> Result<Reply, LabError> {
        self.ask("POST", &collection(object), Some(object))
    }

    /// Asks the API server as an administrator: `path` is from its root on.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, LabError> {
        let url = format!("{URL}{path}");
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let media = format!("Content-Type: {media}");
        let mut arguments = vec!["-X", method, "-H", &media, "-w", "\n%{http_code}", &url];
        let text = body.map(Value::to_string);
        if text.is_some() {
            arguments.extend(["--data-binary", "@-"]);
        }
        let answer = self.curl(&arguments, text.as_deref())?;
        let (body, status) = answer.rsplit_once('\n').unwrap_or_default();
        let wrong =
            |problem: String| LabError::Unreadable { what: format!("answer to {method} {path}"), problem };
        Ok(Reply {
            status: status.parse().map_err(|_| wrong(answer.clone()))?,
            body: serde_json::from_str(body).map_err(|error| wrong(format!("{error}: {body}")))?,
        })
    }

    /// A token of a ServiceAccount for an audience, bound to `pod` (name and uid) if there is one.
    ///
    /// # Errors
    /// When the API server makes none.
    pub fn token(
        &self,
        account: &str,
        audience: &str,
        pod: Option<(&str, &str)>,
    ) -> Result<String, LabError> {
        let (namespace, name) = account.split_once('/').unwrap_or(("default", account));
        let bound =
            pod.map(|(name, uid)| json!({ "kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid }));
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound },
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let reply = self.ask("POST", &path, Some(&request))?;
        let token = reply.body.pointer("/status/token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| unreadable(&request, &reply))
    }

    /// A kubeconfig by which a program in this namespace asks the API server with `token`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf, LabError> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "c", "cluster": { "server": URL, "certificate-authority": self.certificates() } }],
            "users": [{ "name": "u", "user": { "token": token } }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        });
        let path = self.folder.join(format!("{name}.kubeconfig"));
        fs::write(&path, config.to_string()).map_err(LabError::file(&path))?;
        Ok(path)
    }

    /// Starts a program beside the API server; it logs to a file of its own, see [`ControlPlane::log`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, name: &str, command: &Command) -> Result<Process, LabError> {
        let mut daemon = daemon_command(Path::new(command.get_program()));
        spawn(name, &self.folder, &self.netns, daemon.args(command.get_args()))
    }

    /// What a program logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self, name: &str) -> Result<String, LabError> {
        let path = self.folder.join(format!("{name}.log"));
        fs::read_to_string(&path).map_err(LabError::file(path))
    }

    /// The network that it is alone in.
    pub const fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn alone(tag: &Tag, program: PathBuf) -> Result<Self, LabError> {
        let name = tag.netns("control");
        netns::create(std::slice::from_ref(&name))?;
        let netns = Netns::open(name)?;
        netns.ip(&["link set lo up".to_owned()])?;
        Self::start_in(netns, tag.folder(), Some(tag.clone()), program)
    }

    fn start_in(netns: Netns, folder: PathBuf, tag: Option<Tag>, program: PathBuf) -> Result<Self, LabError> {
        fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
        write_credentials(&folder, &program)?;
        let mut command = daemon_command(&program);
        command.arg("etcd").args(etcd_arguments(&folder));
        let etcd = spawn("etcd", &folder, &netns, &mut command)?;
        let plane = Self { netns, folder, tag, program, server: Mutex::new(None), _etcd: etcd };
        plane.start_server()?;
        Ok(plane)
    }

    fn curl(&self, arguments: &[&str], input: Option<&str>) -> Result<String, LabError> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.netns.name(), "curl", "-sS", "--max-time", "10", "--cacert"]);
        command.arg(self.certificates()).args(["-H", &format!("Authorization: Bearer {ADMIN}")]);
        run(command.args(arguments), input)
    }

    /// The API server's certificate, and the one that it comes from.
    fn certificates(&self) -> PathBuf {
        self.folder.join(CERTIFICATES).join("apiserver.crt")
    }

    fn ended(&self, name: &str, status: &str) -> LabError {
        let output = self.log(name).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        let output = lines[lines.len().saturating_sub(5)..].join("\n");
        LabError::Program { command: name.to_owned(), status: status.to_owned(), output }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _already_ended = self.stop_server();
        self.tag.iter().for_each(Tag::clear);
    }
}

fn spawn(name: &str, folder: &Path, netns: &Netns, command: &mut Command) -> Result<Process, LabError> {
    let path = folder.join(format!("{name}.log"));
    let log = File::options().create(true).append(true).open(&path).map_err(LabError::file(path))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Process::new(name, netns.spawn(command)?))
}

fn etcd_arguments(folder: &Path) -> Vec<String> {
    let mut arguments = vec![format!("--data-dir={}", folder.join("etcd").display())];
    // Nothing of it is to survive the machine.
    let fixed = ["--unsafe-no-fsync", "--log-level=warn"];
    arguments.extend(fixed.map(str::to_owned));
    arguments.extend(["listen-client", "advertise-client"].map(|it| format!("--{it}-urls={ETCD}")));
    arguments
}

fn server_arguments(folder: &Path) -> Vec<String> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    let mut arguments = vec![
        file("cert-dir", CERTIFICATES),
        file("service-account-key-file", "accounts.key"),
        file("service-account-signing-key-file", "accounts.key"),
        file("token-auth-file", "tokens.csv"),
        format!("--etcd-servers={ETCD}"),
    ];
    let fixed = [
        "--bind-address=127.0.0.1",
        "--secure-port=6443",
        // Nobody is told of it: there are no endpoints to write.
        "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--profiling=false",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// The key that signs ServiceAccounts' tokens, and the administrator's token. The API server's certificate is its own
/// business.
fn write_credentials(folder: &Path, program: &Path) -> Result<(), LabError> {
    let accounts = run(Command::new(program).arg("account-key"), None)?;
    let administrator = format!("{ADMIN},admin,admin,\"system:masters\"\n");
    for (name, text) in [("accounts.key", accounts), ("tokens.csv", administrator)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(LabError::file(path))?;
    }
    Ok(())
}

/// The path of the collection that an object belongs to.
fn collection(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let version = text("/apiVersion");
    let group = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let namespace = match text("/metadata/namespace") {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("{group}{namespace}/{}s", text("/kind").to_lowercase())
}

fn unreadable(asked: &Value, reply: &Reply) -> LabError {
    LabError::Unreadable {
        what: format!("answer to {asked}"),
        problem: format!("{} {}", reply.status, reply.body),
    }
}

/// The program that holds etcd and the API server, built out of tests/kubernetes.
fn program() -> Result<PathBuf, LabError> {
    let path = std::env::var_os(PROGRAM).map(PathBuf::from).unwrap_or_else(|| PROGRAM.into());
    if path.is_file() { Ok(path) } else { Err(LabError::NoProgram(path)) }
}

/// The folder where the API server keeps the certificate that it makes itself.
const CERTIFICATES: &str = "certificates";

/// Names the program, in the environment.
const PROGRAM: &str = "KUBERNETES_PROGRAM";

/// In a namespace of its own, no port is taken.
const URL: &str = "https://127.0.0.1:6443";
const ETCD: &str = "http://127.0.0.1:2379";

/// Good in the namespace only, which nobody else is in.
const ADMIN: &str = "administrator";

/// A cold start takes four seconds on an idle machine.
const START: Duration = Duration::from_secs(90);
