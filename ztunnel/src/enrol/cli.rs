//! `ztunnel enrol`: what the CNI plugin asks, by hand.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::{self, ClientError};
use super::{AddPod, InvalidPodUid, Pod, PodPhase, PodStatus, PodUid};

/// Asks the daemon of this node to capture pods, to release them, or how they fare.
#[derive(Clone, Debug, Args)]
pub struct EnrolArgs {
    /// The daemon's enrolment socket.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ZTUNNEL_ENROL_SOCKET",
        default_value = "/run/ambient/enrol.sock"
    )]
    socket: PathBuf,
    #[command(subcommand)]
    verb: EnrolVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum EnrolVerb {
    /// Captures a pod; ends when capture works, or says why it does not.
    Add(AddArgs),
    /// Releases a pod: new connections go direct at once, proxied ones may end.
    Remove {
        /// The pod's uid.
        uid: String,
        /// Cuts proxied connections.
        #[arg(long)]
        now: bool,
        /// Ends only when nothing of capture is left in the pod.
        #[arg(long)]
        wait: bool,
    },
    /// Prints how every pod fares.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Args)]
struct AddArgs {
    /// The pod's uid.
    uid: String,
    /// The pod's name.
    #[arg(long)]
    name: String,
    /// The pod's namespace.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The pod's service account.
    #[arg(long)]
    service_account: Option<String>,
    /// Where the pod's network namespace is mounted. Default: found by the pod's addresses.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// An address of the pod.
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<IpAddr>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum EnrolCliError {
    /// The daemon.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard output.
    #[error("answer cannot be printed")]
    Print(#[from] io::Error),
    /// The uid.
    #[error(transparent)]
    Uid(#[from] InvalidPodUid),
}

impl EnrolArgs {
    /// Does what was asked and prints the answer to `out`.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub fn run(self, out: &mut impl Write) -> Result<(), EnrolCliError> {
        let Self { socket, verb } = self;
        match verb {
            EnrolVerb::Add(add) => {
                client::add(&socket, add.into_request()?, None)?;
                writeln!(out, "captured")?;
            }
            EnrolVerb::Remove { uid, now, wait } => {
                let uid = PodUid::try_from(uid)?;
                let mut gone = client::remove(&socket, uid.clone(), now)?;
                while wait && !gone {
                    sleep(WAIT_STEP);
                    gone = client::list(&socket)?.iter().all(|it| it.pod.uid != uid);
                }
                writeln!(out, "{}", if gone { "released" } else { "draining" })?;
            }
            EnrolVerb::List { json: true } => {
                let text = serde_json::to_string_pretty(&client::list(&socket)?).map_err(io::Error::from)?;
                writeln!(out, "{text}")?;
            }
            EnrolVerb::List { json: false } => print_table(out, &client::list(&socket)?)?,
        }
        Ok(())
    }
}

impl AddArgs {
    fn into_request(self) -> Result<AddPod, InvalidPodUid> {
        let Self { uid, name, namespace, service_account, netns, addresses } = self;
        let pod = Pod { uid: PodUid::try_from(uid)?, name, namespace, service_account, addresses };
        Ok(AddPod { pod, netns, options: None })
    }
}

fn print_table(out: &mut impl Write, pods: &[PodStatus]) -> io::Result<()> {
    writeln!(out, "{:<12} {:<24} {:<9} {:<7} PROBLEM", "NAMESPACE", "POD", "PHASE", "REPAIRS")?;
    for PodStatus { pod, phase, problem, repairs } in pods {
        let phase = match phase {
            PodPhase::Captured => "captured",
            PodPhase::Draining => "draining",
            PodPhase::Failed => "failed",
        };
        let problem = problem.as_deref().unwrap_or("-");
        writeln!(out, "{:<12} {:<24} {phase:<9} {repairs:<7} {problem}", pod.namespace, pod.name)?;
    }
    Ok(())
}

/// How often a waiting caller asks again.
const WAIT_STEP: Duration = Duration::from_millis(100);
