//! Log lines and access records, written by a thread of their own.
//!
//! Whatever happens to standard output - it stalls, its disk is full, its reader is gone - nobody who logs waits
//! for it: lines that find no room are dropped and counted.

mod access;
mod format;
mod output;
mod subscriber;

pub use access::{AccessLog, Direction, Party, Path, PolicyRef, Record};
pub use format::{Format, Rfc3339};
pub use output::Output;
pub use subscriber::{Level, LevelError, install};
