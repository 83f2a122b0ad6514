//! What the benches run: meshes of any size, and the hot paths in them.

mod city;
mod paths;
mod trust;

pub use city::{City, vip};
pub use paths::{PATHS, Path};
