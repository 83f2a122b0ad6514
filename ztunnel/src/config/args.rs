//! The command line of `ztunnel proxy` and `ztunnel config`.

use std::path::PathBuf;

use clap::Args;
use daemon::config::{ConfigErrors, Configured, OptionFlags, Options};

use crate::config::{Config, OPTIONS};

/// Runs the daemon of a node, or of one pod. Flags win over environment variables, which win over the file.
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
    options: OptionFlags<Config>,
}

impl ConfigArgs {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        self.options.resolve(self.file.as_deref())?.checked()
    }

    /// What the file, the environment and the flags say, unchecked where something is missing, as a file that
    /// documents itself. Without any of them, the defaults.
    ///
    /// # Errors
    /// Everything that cannot be read.
    pub fn document(&self) -> Result<String, ConfigErrors> {
        Ok(OPTIONS.document(&self.options.resolve(self.file.as_deref())?))
    }
}

impl Configured for Config {
    const OPTIONS: &'static Options<Self> = &OPTIONS;
}
