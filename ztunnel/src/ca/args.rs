//! The command line of `ztunnel ca`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use daemon::config::{ConfigError, ConfigErrors, File, Flags};

use super::config::{CaServerConfig, OPTIONS};
use super::node_key::NodeKeyArgs;

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
    options: OptionFlags,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CaVerb {
    NodeKey(NodeKeyArgs),
}

/// One flag per option.
#[derive(Clone, Debug)]
struct OptionFlags(Flags);

impl CaArgs {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn load(&self) -> Result<CaServerConfig, ConfigErrors> {
        let text = self.file.as_deref().map(read).transpose()?;
        let file = self.file.as_deref().zip(text.as_deref()).map(|(path, text)| File { path, text });
        CaServerConfig::resolve(file, |name| std::env::var(name).ok(), &self.options.0)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source: io::Error| ConfigError::Read { path: path.to_owned(), source };
    fs::read_to_string(path).map_err(failed)
}

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        OPTIONS.add_to(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        OPTIONS.add_to(command)
    }
}

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(OPTIONS.flags(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = OPTIONS.flags(matches);
        Ok(())
    }
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
