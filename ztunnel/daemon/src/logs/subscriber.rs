//! Log lines of the daemon itself, with a level that can be changed while it runs.

use std::io;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::logs::{Format, Output};

/// Changes the level at run time. Clones change the same one.
#[derive(Clone, Debug)]
pub struct Level {
    handle: Handle<EnvFilter, Registry>,
    initial: String,
}

/// Why a level was not set.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// Logs are installed already.
    #[error("a log subscriber is installed already")]
    Installed(#[source] TryInitError),
    /// The text names no level.
    #[error("{text:?} is not a level: want one like info, or hbone=debug,info")]
    Parse {
        /// The text.
        text: String,
    },
    /// The subscriber is gone.
    #[error("the log subscriber is gone")]
    Reload(#[source] reload::Error),
}

/// Sends the daemon's log lines to `output`, those of `level` and above (`info`, or `hbone=debug,info`).
///
/// # Errors
/// [`LevelError`]: the level is malformed, or a subscriber is installed already.
pub fn install(output: Output, format: Format, level: &str) -> Result<Level, LevelError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_ansi(false).with_writer(Lines(output));
    let installed = match format {
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        Format::Text => registry.with(lines).try_init(),
    };
    installed.map_err(LevelError::Installed)?;
    Ok(Level { handle, initial: level.to_owned() })
}

impl Level {
    /// Whether a text is a level, or levels by target.
    ///
    /// # Errors
    /// [`LevelError::Parse`].
    pub fn check(level: &str) -> Result<(), LevelError> {
        parse(level).map(|_| ())
    }

    /// Sets the level from here on.
    ///
    /// # Errors
    /// [`LevelError`]; the level stays as it is.
    pub fn set(&self, level: &str) -> Result<(), LevelError> {
        self.handle.reload(parse(level)?).map_err(LevelError::Reload)
    }

    /// Sets the level that the daemon started with.
    ///
    /// # Errors
    /// [`LevelError`]; the level stays as it is.
    pub fn reset(&self) -> Result<(), LevelError> {
        self.set(&self.initial)
    }

    /// The level in force.
    pub fn current(&self) -> String {
        self.handle.with_current(ToString::to_string).unwrap_or_default()
    }
}

fn parse(level: &str) -> Result<EnvFilter, LevelError> {
    let wrong = || LevelError::Parse { text: level.to_owned() };
    if level.trim().is_empty() {
        return Err(wrong());
    }
    // A lone word that is no level would be taken for a target's name, and silence everything else.
    for directive in level.split(',').filter(|directive| !directive.contains(['=', '['])) {
        directive.trim().parse::<tracing_subscriber::filter::LevelFilter>().map_err(|_| wrong())?;
    }
    EnvFilter::try_new(level).map_err(|_| wrong())
}

/// Makes each event one line of the output.
struct Lines(Output);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { output: &self.0, text: Vec::new() }
    }
}

/// One event's text; queued when dropped.
struct Line<'a> {
    output: &'a Output,
    text: Vec<u8>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.output.line(&self.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for text in ["", "loud", "hbone=loud", "info,loud"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for text in ["info", "debug", "off", "hbone=debug,info", "warn,ztunnel::proxy=trace"] {
            assert!(parse(text).is_ok(), "{text:?}");
        }
    }
}
