//! What is wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Two options contradict each other, or one that is needed is missing.
    #[error("{key}: {problem}")]
    Conflict {
        /// The option to change.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file has a key twice.
    #[error("{origin}: {key} is there twice")]
    Duplicate {
        /// Where it is the second time.
        origin: Origin,
        /// The key, with its groups.
        key: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A key's value is of another shape: a list where there should be one value, a number for a group.
    #[error("{origin}: {key} is not {want}")]
    Shape {
        /// Where.
        origin: Origin,
        /// The key, with its groups.
        key: String,
        /// What its value should be.
        want: &'static str,
    },
    /// The file is not YAML.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// The file has a key that no option has.
    #[error("{origin}: unknown key {key:?}{}", suggested(suggestion.as_deref()))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key, with its groups.
        key: String,
        /// The option that was probably meant.
        suggestion: Option<String>,
    },
    /// An option's value is not one.
    #[error("{origin}: {key} is {text:?}, want {want}")]
    Value {
        /// Where.
        origin: Origin,
        /// The option.
        key: &'static str,
        /// Its value.
        text: String,
        /// What it should be.
        want: String,
    },
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An environment variable.
    Environment(&'static str),
    /// A place in the file; lines and columns count from 1.
    File {
        /// The file.
        path: PathBuf,
        /// Line.
        line: u64,
        /// Column.
        column: u64,
    },
    /// A flag.
    Flag(String),
}

impl ConfigErrors {
    /// The complaints, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl FromIterator<ConfigError> for ConfigErrors {
    fn from_iter<I: IntoIterator<Item = ConfigError>>(errors: I) -> Self {
        Self(errors.into_iter().collect())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            let line_end = if place == 0 { "" } else { "\n" };
            write!(f, "{line_end}{error}")?;
            if let ConfigError::Read { source, .. } = error {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

fn suggested(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!(", did you mean {key:?}?")).unwrap_or_default()
}
