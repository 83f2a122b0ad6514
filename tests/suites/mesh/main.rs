//! What users see of a mesh: who reaches whom, on which path, under which identity, and what of it is on the wire.

mod authorization;
mod dedicated;
mod dedicated_ends;
mod egress;
mod endings;
mod enrolment;
mod failure;
mod handed_over;
mod identity;
mod latecomers;
mod leaving;
mod live;
mod node;
mod policy;
mod restart;
mod serving_node;
mod shutdown;
mod sockets;
mod state_folder;
mod streams;
mod traffic;
mod unreachable;
