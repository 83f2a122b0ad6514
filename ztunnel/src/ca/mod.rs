//! `ztunnel ca`: the mesh's certificate authority.
//!
//! A process of its own, which alone holds the root's key. A caller proves which node it is by that node's key, or by
//! the token of a ServiceAccount that may speak for its node, and gets certificates for identities of pods that run on
//! that node; any other account gets its own. Everything else is refused, with a reason that is logged and counted.
//!
//! - [`config`], [`args`]: what it is told; [`node_key`]: how a node is registered, [`node_token`]: how
//!   a daemon that isn't ours proves to run there; [`status`]: how it fares;
//! - [`root`]: the key and the roots, made once and followed as they change; [`rotate`]: how one follows another;
//! - [`gate`]: who calls, and for whom that caller may ask; [`issuer`]: the decision about one request;
//! - [`listener`] and [`serving`]: how callers reach and recognise it; [`server`]: all of that put together;
//! - [`mod@run`]: the process, with its [`source`] of who runs where and its [`admin`] surfaces.

mod admin;
mod args;
pub mod config;
mod files;
mod gate;
mod issuer;
mod listener;
mod metrics;
mod node_key;
mod node_token;
mod refusal;
pub mod root;
mod rotate;
mod run;
mod server;
mod serving;
mod source;
mod status;

pub use args::CaArgs;
pub use files::FileError;
pub use gate::{
    AccountGate, AccountSettings, ClusterView, FollowedCluster, Gate, InvalidNodeName, NodeFolder, NodeGate,
    RunsOn, Strangers,
};
pub use issuer::{Issuer, IssuerSettings};
pub use metrics::CaMetrics;
pub use node_key::{NodeKeyArgs, NodeKeyCliError};
pub use node_token::{NodeTokenArgs, NodeTokenCliError};
pub use refusal::Refusal;
pub use rotate::{RotateArgs, RotateError};
pub use run::{CaRunError, run};
pub use server::{CaParts, CaServer, StartError};
pub use serving::{RenewServingError, ServerNames};
pub use status::{CaCounts, CaStatus, ShownCertificate, StatusArgs, StatusError};

#[cfg(test)]
mod tests;
