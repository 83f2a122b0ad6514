//! `ztunnel status` and its kin: what the daemon of this node knows and does, asked over its admin socket.

mod args;
mod rows;
mod status;
mod table;

pub use args::{
    CertificatesArgs, ConnectionsArgs, LogArgs, PoliciesArgs, ServicesArgs, StatusArgs, ViewError,
    WorkloadsArgs,
};
