//! The `ztunnel` program.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;
use ztunnel::config::{ConfigArgs, ProxyArgs};
use ztunnel::enrol::EnrolArgs;
use ztunnel::view;

/// The node proxy of an ambient mesh: captures the connections of enrolled pods and carries them in mutual-TLS tunnels.
#[derive(Debug, Parser)]
#[command(name = "ztunnel", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ca(ztunnel::ca::CaArgs),
    #[command(visible_aliases = ["certificate", "cert"])]
    Certificates(view::CertificatesArgs),
    /// Prints the configuration of `ztunnel proxy`, with what each option means.
    Config(ConfigArgs),
    #[command(visible_aliases = ["connection", "cons"])]
    Connections(view::ConnectionsArgs),
    Enrol(EnrolArgs),
    Log(view::LogArgs),
    #[command(visible_aliases = ["policy", "pol", "p"])]
    Policies(view::PoliciesArgs),
    Proxy(ProxyArgs),
    #[command(visible_aliases = ["service", "svc", "s"])]
    Services(view::ServicesArgs),
    Status(view::StatusArgs),
    #[command(visible_aliases = ["workload", "w"])]
    Workloads(view::WorkloadsArgs),
}

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How the allocator deals with memory: one arena per worker and one for the rest is enough, and what is free goes back
/// to the system within seconds, since nodes are sized for applications and not for us: by a thread of the allocator's, as
/// without one nothing goes back while nobody allocates. Heap samples are prepared for, and taken when somebody asks.
// SAFETY: jemalloc reads this symbol once, at its start, as a zero-terminated string; the name is that of the build
// with the crate's prefix, and nothing else defines it.
#[expect(unsafe_code, reason = "the allocator reads its configuration from a symbol")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 145] = b"narenas:3,dirty_decay_ms:3000,muzzy_decay_ms:0,\
    background_thread:true,max_background_threads:1,thp:never,tcache:true,prof:true,prof_active:false\0";

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ztunnel: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<(), Box<dyn Error>> {
    let out = &mut io::stdout();
    match verb {
        Verb::Ca(args) => ztunnel::ca::run(&args)?,
        Verb::Certificates(args) => args.run(out)?,
        Verb::Config(args) => out.write_all(args.document()?.as_bytes())?,
        Verb::Connections(args) => args.run(out)?,
        Verb::Enrol(args) => args.run(out)?,
        Verb::Log(args) => args.run(out)?,
        Verb::Policies(args) => args.run(out)?,
        Verb::Proxy(args) => ztunnel::run::proxy(&args)?,
        Verb::Services(args) => args.run(out)?,
        Verb::Status(args) => args.run(out)?,
        Verb::Workloads(args) => args.run(out)?,
    }
    Ok(())
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("\n  because ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
