//! Policy beyond who may call whom: what leaves the mesh, what no tunnel carries, what tunnels hide from the network.

mod broken;
mod egress;
mod entries;
mod examples;
mod interfaces;
mod network;
mod scene;
mod sources;
mod udp;
