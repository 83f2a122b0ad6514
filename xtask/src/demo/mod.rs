//! `cargo xtask demo`: a mesh of two nodes on this machine, with traffic, and what became of it.

mod report;
mod story;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::thread;

use clap::Args;
use harness::{Cluster, Lab, LabError, Mesh, MeshOptions, serve};

use crate::cargo::{cargo, root, run, target_folder};
use crate::error::XtaskError;
use crate::interrupt;
use crate::packages::Setup;

/// Brings up two nodes and their pods, sends traffic, and shows who talked to whom, how, and what was on the wire.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leaves everything up until Ctrl-C, and prints commands to play with.
    #[arg(long)]
    keep: bool,
    /// Builds and runs the daemon without optimisation.
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    setup: Setup,
}

/// Servers in the pods, and the DNS server outside.
struct Servers {
    _pods: Vec<serve::Server>,
    dns: serve::Dns,
}

impl DemoArgs {
    pub(crate) fn run(self) -> Result<(), XtaskError> {
        self.setup.prepare("demo", &[])?;
        let program = build_ztunnel(self.debug)?;
        interrupt::clean_up_on_signals()?;
        let cluster = Cluster::read(&root().join(MANIFESTS))?;
        println!("bringing up the cluster in {MANIFESTS}");
        let lab = Lab::up(&cluster)?;
        let servers = Servers::start(&lab)?;
        let mesh = Mesh::on(lab, &MeshOptions { program: Some(program.clone()), ..MeshOptions::default() })?;
        println!("{}", report::cluster(&mesh)?);
        let told = story::tell(&mesh, &servers.dns)?;
        println!("{}", told.text());
        let outcome = told.check();
        if self.keep {
            if let Err(surprise) = &outcome {
                eprintln!("error: {surprise}");
            }
            println!("{}", report::commands(&mesh, &program));
            loop {
                thread::park();
            }
        }
        outcome
    }
}

impl Servers {
    fn start(lab: &Lab) -> Result<Self, LabError> {
        let names: [(&str, &[std::net::IpAddr]); 1] = [(OUTSIDE, &[harness::WIRE_V4, harness::WIRE_V6])];
        let dns = serve::Dns::start(lab.wire(), &names)?;
        let http = ["shop/cart", "shop/catalog", "bank/vault", "legacy/printer"];
        let http =
            http.iter().map(|key| lab.pod(key).serve(8080, serve::http(format!("hello from {key}\n"))));
        let mut pods = http.collect::<Result<Vec<_>, _>>()?;
        pods.push(lab.pod("bank/ledger").serve(9000, serve::echo())?);
        Ok(Self { _pods: pods, dns })
    }
}

/// Builds the daemon; hands out where it is.
pub(crate) fn build_ztunnel(debug: bool) -> Result<PathBuf, XtaskError> {
    let (profile, folder) = if debug { ("dev", "debug") } else { ("release", "release") };
    println!("building ztunnel ({profile}): minutes, the first time");
    // Without optimisation as the tests build it, so that it is built once for both.
    let of: &[&str] = if debug { &["--workspace"] } else { &["-p", "ztunnel"] };
    let quiet = (!io::stderr().is_terminal()).then_some("-q");
    run(cargo().arg("build").args(quiet).args(["--profile", profile]).args(of).args(["--bin", "ztunnel"]))?;
    Ok(target_folder().join(folder).join("ztunnel"))
}

/// The cluster that the demo brings up.
const MANIFESTS: &str = "deploy/examples/demo";

/// A name that only the world outside knows.
const OUTSIDE: &str = "example.test";
