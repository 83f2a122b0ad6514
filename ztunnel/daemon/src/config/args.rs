//! Flags.

use clap::{Arg, ArgMatches, Command};

use crate::config::{Opt, Options};

/// Options that were given as flags: key and text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<(&'static str, String)>);

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
