//! Manifests and what they mean to the mesh.

mod authorization;
mod enrolment;
mod entries;
mod local;
mod mesh_of;
mod misspelt;
mod network_policies;
mod peer_authentication;
mod problems;
mod robust;
mod services;
mod watch;
mod waypoints;
mod workloads;
