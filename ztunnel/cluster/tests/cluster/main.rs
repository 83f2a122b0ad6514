//! Manifests and what they mean to the mesh.

mod enrolment;
mod local;
mod mesh_of;
mod problems;
mod services;
mod watch;
mod workloads;
