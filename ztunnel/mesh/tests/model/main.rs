//! What readers of the mesh see.

mod affinity;
mod incremental;
mod reference;
mod samples;
mod selection;
mod store;
