//! Manifests and what they mean to the mesh.

mod authorization;
mod authorization_reach;
mod authorization_requests;
mod enrolment;
mod entries;
mod local;
mod mesh_of;
mod misspelt;
mod network_policies;
mod networks;
mod peer_authentication;
mod peer_authentication_ports;
mod policies_at_large;
mod problems;
mod robust;
mod services;
mod translator;
mod watch;
mod waypoints;
mod wishes;
mod workloads;
