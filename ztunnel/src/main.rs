//! The `ztunnel` program.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;
use ztunnel::config::{ConfigArgs, ProxyArgs};
use ztunnel::enrol::EnrolArgs;

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
    /// Prints the configuration of `ztunnel proxy`, with what each option means.
    Config(ConfigArgs),
    Enrol(EnrolArgs),
    Proxy(ProxyArgs),
}

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
    match verb {
        Verb::Ca(args) => ztunnel::ca::run(args)?,
        Verb::Config(args) => io::stdout().write_all(args.document()?.as_bytes())?,
        Verb::Enrol(args) => args.run(&mut io::stdout())?,
        Verb::Proxy(args) => ztunnel::run::proxy(&args)?,
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
