//! What fuzz targets have in common: choices out of the fuzzer's bytes, peers that do anything, a mesh to ask about,
//! and a watch on the heap.

#![cfg(feature = "fuzzing")]

mod frames;
mod heap;
mod input;
mod mesh_of;
mod receive;
mod tls;

pub use frames::framed;
pub use heap::{Heap, live};
pub use input::Input;
pub use mesh_of::world;
pub use receive::receive;
pub use tls::{Ends, handshake};
