//! The namespaces, pods and clients that suites, demo and bench are built from.
//!
//! A [`Cluster`] is a set of Kubernetes manifests; a [`Lab`] makes its Nodes and Pods real as network namespaces on
//! one wire; a [`Mesh`] runs the CA and a daemon per node in a lab; a [`ControlPlane`] is a real API server. All of it blocks, and all of it is gone when its
//! value is dropped. What a killed process left behind is removed by the next one, see [`sweep`].
//!
//! ```no_run
//! use harness::{Cluster, LabError, Mesh, PodSpec, serve};
//!
//! fn main() -> Result<(), LabError> {
//!     let mut cluster = Cluster::two_nodes();
//!     cluster.ambient("shop");
//!     cluster.pod(PodSpec::new("shop", "client").node("node1"));
//!     cluster.pod(PodSpec::new("shop", "server").node("node2"));
//!     let mesh = Mesh::up(&cluster)?;
//!     let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
//!     let echo = server.serve(0, serve::echo())?;
//!     let stream = client.connect(server.at(echo.port()))?;
//!     drop(stream);
//!     Ok(())
//! }
//! ```

mod access;
mod admin;
mod audit;
mod authority;
mod capture;
mod cluster;
mod control_plane;
mod daemon;
mod error;
mod exchange;
mod foreign;
mod lab;
mod mesh;
mod netns;
mod node;
mod pcap;
mod pod;
mod process;
mod program;
mod scrape;
pub mod serve;
mod spec;
mod sweep;
mod wait;
mod wiring;

pub use access::AccessRecord;
pub use admin::Answer;
pub use audit::AuditLine;
pub use authority::Authority;
pub use capture::{Capture, Marker};
pub use cluster::{Cluster, Document};
pub use control_plane::{ControlPlane, Reply};
pub use daemon::{Daemon, PodPhase};
pub use error::LabError;
pub use exchange::exchange;
pub use foreign::Foreign;
pub use lab::{Lab, WIRE_V4, WIRE_V6};
pub use mesh::{Mesh, MeshOptions};
pub use netns::Netns;
pub use node::Node;
pub use pcap::{Packet, Packets};
pub use pod::Pod;
pub use process::{Finished, Process};
pub use program::ztunnel;
pub use scrape::Scrape;
pub use spec::{PodSpec, ServiceSpec, Stack};
pub use sweep::sweep;
pub use wait::{PATIENCE, eventually, wait_for};
