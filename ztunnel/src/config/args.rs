//! The command line of `ztunnel proxy` and `ztunnel config`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use daemon::config::{ConfigError, ConfigErrors, File, Flags};

use crate::config::{Config, OPTIONS};

/// Runs the daemon of a node. Flags win over environment variables, which win over the file.
#[derive(Clone, Debug, Args)]
pub struct ProxyArgs {
    /// Checks the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    pub check: bool,
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Where the configuration is read from: for `ztunnel config`, which prints it with what each option means.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file (YAML).
    #[arg(long = "config", value_name = "FILE", env = "ZTUNNEL_CONFIG")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    options: OptionFlags,
}

/// One flag per option.
#[derive(Clone, Debug)]
struct OptionFlags(Flags);

impl ConfigArgs {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let text = self.file.as_deref().map(read).transpose()?;
        let file = self.file.as_deref().zip(text.as_deref()).map(|(path, text)| File { path, text });
        Config::resolve(file, |name| std::env::var(name).ok(), &self.options.0)
    }

    /// What the file, the environment and the flags say, unchecked where something is missing, as a file that
    /// documents itself. Without any of them, the defaults.
    ///
    /// # Errors
    /// Everything that cannot be read.
    pub fn document(&self) -> Result<String, ConfigErrors> {
        let text = self.file.as_deref().map(read).transpose()?;
        let file = self.file.as_deref().zip(text.as_deref()).map(|(path, text)| File { path, text });
        let env = |name: &str| std::env::var(name).ok();
        let config = OPTIONS.resolve(Config::default(), file, env, &self.options.0)?;
        Ok(OPTIONS.document(&config))
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
