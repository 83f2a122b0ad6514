//! What the benches run: meshes of any size, and the hot paths in them.

mod city;
mod cluster;
mod paths;
mod series;
mod trust;

pub use city::{City, address, vip};
pub use cluster::Cluster;
pub use paths::{PATHS, Path};
pub use series::Scraped;
