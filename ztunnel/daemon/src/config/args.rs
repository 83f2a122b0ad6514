//! Flags.

use std::marker::PhantomData;
use std::path::Path;
use std::{fs, io};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{ConfigError, ConfigErrors, File, Opt, Options};

/// Options that were given as flags: key and text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<(&'static str, String)>);

/// A configuration that a table of options describes.
pub trait Configured: Default + 'static {
    /// The table.
    const OPTIONS: &'static Options<Self>;
}

/// One flag per option of a configuration, to be flattened into a command's arguments.
#[derive(Clone, Debug)]
pub struct OptionFlags<C> {
    flags: Flags,
    of: PhantomData<fn() -> C>,
}

impl<C: Configured> OptionFlags<C> {
    /// What the file, this process's environment and the flags say on top of the defaults.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn resolve(&self, file: Option<&Path>) -> Result<C, ConfigErrors> {
        let text = file.map(read).transpose()?;
        let file = file.zip(text.as_deref()).map(|(path, text)| File { path, text });
        C::OPTIONS.resolve(C::default(), file, |name| std::env::var(name).ok(), &self.flags)
    }

    fn of(matches: &ArgMatches) -> Self {
        Self { flags: C::OPTIONS.flags(matches), of: PhantomData }
    }
}

impl<C: Configured> Args for OptionFlags<C> {
    fn augment_args(command: Command) -> Command {
        C::OPTIONS.add_to(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        C::OPTIONS.add_to(command)
    }
}

impl<C: Configured> FromArgMatches for OptionFlags<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::of(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::of(matches);
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source: io::Error| ConfigError::Read { path: path.to_owned(), source };
    fs::read_to_string(path).map_err(failed)
}

impl Flags {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, text)| (*key, text.as_str()))
    }
}

impl<C: Default> Options<C> {
    /// Adds a flag for every option to `command`, with its default and its variable in the help.
    pub fn add_to(&self, command: Command) -> Command {
        let defaults = C::default();
        self.iter().fold(command, |command, option| command.arg(option.arg(&defaults)))
    }
}

impl<C> Options<C> {
    /// The flags among `matches`, of a command that they were [added to](Options::add_to).
    pub fn flags(&self, matches: &ArgMatches) -> Flags {
        let given = |option: &'static Opt<C>| {
            matches.get_one::<String>(option.key).map(|text| (option.key, text.clone()))
        };
        Flags(self.iter().filter_map(given).collect())
    }
}

impl<C> Opt<C> {
    fn arg(&self, defaults: &C) -> Arg {
        let default = match (self.show)(defaults) {
            text if text.is_empty() => String::new(),
            text => format!(" [default: {text}]"),
        };
        let heading = match self.group() {
            "" => "Options".to_owned(),
            group => format!("Options of {group:?}"),
        };
        let arg = Arg::new(self.key)
            .long(self.long())
            .value_name(self.value)
            .help_heading(heading)
            .help(format!("{}{default} [env: {}]", self.help, self.env));
        if self.value == "BOOL" {
            return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        arg
    }
}
