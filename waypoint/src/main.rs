//! The L7 proxy of the mesh.
fn main() {}
