//! What a developer runs: `cargo xtask demo`, `test`, `fuzz`, `bench`, `instructions` and `tidy`.

mod bench;
mod cargo;
mod demo;
mod error;
mod fuzz;
mod instructions;
mod interrupt;
mod kubernetes;
mod packages;
mod table;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::XtaskError;

/// Shows, tests and measures the mesh, and keeps the tree tidy.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Bench(bench::BenchArgs),
    Demo(demo::DemoArgs),
    Fuzz(fuzz::FuzzArgs),
    Instructions(instructions::InstructionsArgs),
    Test(test::TestArgs),
    #[command(hide = true)]
    Hold(bench::HoldArgs),
    #[command(hide = true)]
    Serve(bench::ServeArgs),
    Tidy(tidy::TidyArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Bench(args) => args.run(),
        Verb::Demo(args) => args.run(),
        Verb::Fuzz(args) => args.run(),
        Verb::Hold(args) => args.run(),
        Verb::Instructions(args) => args.run(),
        Verb::Serve(args) => args.run(),
        Verb::Test(args) => args.run(),
        Verb::Tidy(args) => args.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &XtaskError) {
    eprintln!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
}
