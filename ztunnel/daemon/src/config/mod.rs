//! Configuration from one file, the environment and flags, described by one table.
//!
//! A program lists its options once ([`Opt`]): where each is found, what it means, how it is set and shown. Reading
//! the file, the environment and the flags, `--help`, the documented defaults and the complaints all come from that
//! list, so none of them can leave one out. Flags win over the environment, which wins over the file.

mod args;
mod document;
mod error;
mod file;
mod suggest;
mod value;

use std::path::Path;

pub use args::{Configured, Flags, OptionFlags};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use value::{Value, ValueError, from_list, from_optional, from_str, set, show_list, show_optional};

/// One option of a program whose configuration is a `C`.
#[derive(Debug)]
pub struct Opt<C: 'static> {
    /// Where it stands in the file: `timeouts.connect`. Its flag is `--timeouts-connect`.
    pub key: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// What kind of value it takes, as `--help` shows it: `DURATION`; `PORT,...` for a list; `BOOL` for a switch.
    pub value: &'static str,
    /// What it means, its unit, and why the default is what it is. Full sentences.
    pub help: &'static str,
    /// Sets it from text.
    pub set: fn(&mut C, &str) -> Result<(), ValueError>,
    /// Shows it as text that [`Opt::set`] takes; empty when it is not set.
    pub show: fn(&C) -> String,
}

/// All options of a program, in the order in which they are shown.
#[derive(Debug)]
pub struct Options<C: 'static> {
    groups: &'static [&'static [Opt<C>]],
}

/// The configuration file: where it is, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path, for complaints.
    pub path: &'a Path,
    /// Its content.
    pub text: &'a str,
}

impl<C> Options<C> {
    /// The options of a program, by group.
    pub const fn new(groups: &'static [&'static [Opt<C>]]) -> Self {
        Self { groups }
    }

    /// Sets what the file, the environment (`env` looks a variable up) and the flags say on top of `defaults`. An
    /// empty variable counts as unset.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first.
    pub fn resolve(
        &self,
        defaults: C,
        file: Option<File<'_>>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<C, ConfigErrors> {
        let mut config = defaults;
        let mut errors = Vec::new();
        let mut set = |option: &Opt<C>, text: &str, origin: Origin| {
            if let Err(error) = (option.set)(&mut config, text) {
                let (key, text) = (option.key, text.to_owned());
                errors.push(ConfigError::Value { origin, key, text, want: error.want });
            }
        };
        let mut wrong_file = Vec::new();
        if let Some(file) = file {
            let content = file::read(file, &self.keys());
            wrong_file = content.errors;
            for setting in content.settings {
                let option = self.option(&setting.key).expect("the reader takes known keys only");
                set(option, &setting.text, setting.origin);
            }
        }
        for option in self.iter() {
            if let Some(text) = env(option.env).filter(|text| !text.is_empty()) {
                set(option, &text, Origin::Environment(option.env));
            }
        }
        for (key, text) in flags.iter() {
            let option = self.option(key).expect("the command line takes known flags only");
            set(option, text, Origin::Flag(option.flag()));
        }
        wrong_file.append(&mut errors);
        if wrong_file.is_empty() { Ok(config) } else { Err(ConfigErrors(wrong_file)) }
    }

    /// The options one by one.
    pub fn iter(&self) -> impl Iterator<Item = &'static Opt<C>> + use<C> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    fn option(&self, key: &str) -> Option<&'static Opt<C>> {
        self.iter().find(|option| option.key == key)
    }

    fn keys(&self) -> Vec<file::Key> {
        self.iter().map(|option| file::Key { name: option.key, list: option.value.ends_with(LIST) }).collect()
    }
}

impl<C> Opt<C> {
    /// Its flag, with the dashes: `--timeouts-connect`.
    pub fn flag(&self) -> String {
        format!("--{}", self.long())
    }

    /// `caServer.address` becomes `ca-server-address`.
    fn long(&self) -> String {
        let mut long = String::new();
        for character in self.key.chars() {
            match character {
                '.' => long.push('-'),
                upper if upper.is_ascii_uppercase() => {
                    long.push('-');
                    long.push(upper.to_ascii_lowercase());
                }
                other => long.push(other),
            }
        }
        long
    }

    /// The group that it is shown under; empty for a key without one.
    fn group(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(group, _)| group)
    }
}

/// How the kind of value of a list ends.
const LIST: &str = ",...";

#[cfg(test)]
mod tests;
