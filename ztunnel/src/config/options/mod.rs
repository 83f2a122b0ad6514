//! Every option: its place in the file, variable, meaning and default.

mod data_path;
mod installation;
#[cfg(feature = "otlp")]
mod otlp;
mod process;
mod trust;

use daemon::config::Options;

use crate::config::Config;

/// All options of `ztunnel proxy`.
pub const OPTIONS: Options<Config> = Options::new(&[
    installation::NODE,
    installation::SOURCE,
    installation::STATE,
    installation::MESH,
    installation::CA,
    trust::TRUST,
    process::LISTEN,
    data_path::DNS,
    data_path::PATH,
    data_path::TIMEOUTS,
    data_path::LIMITS,
    process::LOG,
    #[cfg(feature = "otlp")]
    otlp::OTLP,
]);
