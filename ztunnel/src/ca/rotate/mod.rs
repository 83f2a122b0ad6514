//! `ztunnel ca rotate`: another root takes over, in steps between which certificates need time.
//!
//! First both are trusted and the old one signs, then the new one signs, then the old one goes. Each step is refused
//! while it would cut somebody off. Between them, the place of the root holds the new key and a note of when which step
//! was done: whoever has the key at hand can go on, and a step that was interrupted is done again.

mod error;
mod place;
mod rotation;
mod witnesses;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cluster::kubernetes::Kubernetes;
use daemon::config::{OptionFlags, Value};
use rustls_pki_types::UnixTime;

use super::config::CaServerConfig;
use super::root::NewRoot;
pub use error::RotateError;
use place::Place;
use rotation::{Done, Rotation, settled};
use witnesses::Witnesses;

/// Has another root take over: `add`, then `switch`, then `retire`, each of which says when the next one may come.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// The step.
    #[arg(value_enum, value_name = "STEP")]
    step: Step,
    /// Admin socket of a CA that must follow before the next step, besides listen.adminSocket; may be given repeatedly.
    #[arg(long = "ca", value_name = "PATH")]
    cas: Vec<PathBuf>,
    /// Admin socket of a daemon that must trust the new root before it signs; may be given repeatedly.
    #[arg(long = "daemon", value_name = "PATH")]
    daemons: Vec<PathBuf>,
    /// How long CAs and nodes may take to see what changed. A kubelet takes a minute or two for a ConfigMap.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    settle: Duration,
    /// The CA's configuration file (YAML).
    #[arg(long = "config", value_name = "FILE", env = "ZTUNNEL_CA_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    options: OptionFlags<CaServerConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Makes a root, and adds it to those that are trusted.
    Add,
    /// Has it sign.
    Switch,
    /// Takes the old one out of those that are trusted.
    Retire,
}

impl RotateArgs {
    /// Does the step, and says what comes next.
    ///
    /// # Errors
    /// When it would cut somebody off, or cannot be written.
    pub fn run(&self, out: &mut impl Write) -> Result<(), RotateError> {
        let config = self.options.resolve(self.file.as_deref())?.checked()?;
        let runtime = daemon::runtime::control().map_err(RotateError::Runtime)?;
        let done = runtime.block_on(self.step(&config))?;
        say(&done, self, &config, out).map_err(RotateError::Print)
    }

    async fn step(&self, config: &CaServerConfig) -> Result<Done, RotateError> {
        let kubernetes = match &config.trust.kubernetes {
            Some(access) => Some(Kubernetes::connect(access).await?),
            None => None,
        };
        let place = Place::of(config, kubernetes.as_ref());
        let witnesses = Witnesses::of(config, kubernetes.as_ref(), &self.cas, &self.daemons);
        let held = place.read().await?;
        let now = UnixTime::now();
        let (done, changes) = match self.step {
            Step::Add => {
                let name = config.trust.domain.to_string();
                Rotation::begin(&held, &NewRoot { name, lifetime: config.root.lifetime }, now)?
            }
            Step::Switch => {
                let rotation = held.rotation()?;
                settled(rotation.added, self.settle, now)?;
                witnesses.trust(&rotation.new).await?;
                rotation.switch(&held, now)?
            }
            Step::Retire => {
                let rotation = held.rotation()?;
                let switched = rotation.switched(&held)?;
                settled(switched, self.settle + config.leaf.max_ttl, now)?;
                witnesses.sign_with(&rotation.new)?;
                rotation.retire(&held)?
            }
        };
        place.write(&held, changes).await?;
        Ok(done)
    }
}

/// What was done, and what comes next.
fn say(done: &Done, args: &RotateArgs, config: &CaServerConfig, out: &mut impl Write) -> io::Result<()> {
    let Done { old, new } = done;
    match args.step {
        Step::Add => writeln!(
            out,
            "root {new} is made, and trusted beside {old}, which signs\n\
             next: `ztunnel ca rotate switch`, in {} at the earliest",
            args.settle.show()
        ),
        Step::Switch => writeln!(
            out,
            "root {new} signs, and {old} is trusted as long as certificates of it may live\n\
             next: `ztunnel ca rotate retire`, in {} at the earliest",
            (args.settle + config.leaf.max_ttl).show()
        ),
        Step::Retire => writeln!(out, "root {old} is trusted no more, and {new} signs alone\nnext: nothing"),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text).ok_or_else(|| format!("want {}", Duration::WANT))
}
