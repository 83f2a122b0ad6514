//! What users see of a mesh: who reaches whom, on which path, under which identity, and what of it is on the wire.

mod calls;
mod failure;
mod policy;
mod streams;
mod traffic;
