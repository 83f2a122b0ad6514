//! The command line of `ztunnel ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use daemon::config::{ConfigErrors, Configured, OptionFlags, Options};

use super::config::{CaServerConfig, OPTIONS};
use super::node_key::NodeKeyArgs;
use super::node_token::NodeTokenArgs;
use super::rotate::RotateArgs;
use super::status::StatusArgs;

/// Runs the mesh's certificate authority. Flags win over environment variables, which win over the file.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CaArgs {
    #[command(subcommand)]
    pub(super) verb: Option<CaVerb>,
    /// Checks the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    pub(super) check: bool,
    /// Configuration file (YAML).
    #[arg(long = "config", value_name = "FILE", env = "ZTUNNEL_CA_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    options: OptionFlags<CaServerConfig>,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CaVerb {
    NodeKey(NodeKeyArgs),
    NodeToken(NodeTokenArgs),
    Rotate(Box<RotateArgs>),
    Status(StatusArgs),
}

impl CaArgs {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn load(&self) -> Result<CaServerConfig, ConfigErrors> {
        self.options.resolve(self.file.as_deref())?.checked()
    }
}

impl Configured for CaServerConfig {
    const OPTIONS: &'static Options<Self> = &OPTIONS;
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: CaArgs,
    }

    #[test]
    fn flags_make_a_configuration() {
        let flags = ["ca", "--root-folder", "/r", "--trust-nodes", "/n", "--trust-manifests", "/m"];
        let Program { args } = Program::parse_from(flags);
        assert_eq!(args.load().unwrap().trust.nodes, PathBuf::from("/n"));
        assert!(args.verb.is_none());
    }

    #[test]
    fn a_node_key_needs_no_configuration() {
        let flags = ["ca", "node-key", "--node", "n", "--nodes", "/n", "--out", "/o"];
        let Program { args } = Program::parse_from(flags);
        assert!(matches!(args.verb, Some(CaVerb::NodeKey(_))));
    }

    #[test]
    fn the_command_line_is_sound() {
        <Program as clap::CommandFactory>::command().debug_assert();
    }
}
