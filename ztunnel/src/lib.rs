//! The node proxy: captures the connections of enrolled pods and carries them in mutual-TLS tunnels.

pub mod ca;
pub mod config;
pub mod decision;
pub mod dns;
pub mod enrol;
pub mod netlink;
pub mod netns;
pub mod probe;
pub mod proxy;
pub mod redirect;
pub mod run;
pub mod telemetry;
pub mod view;
