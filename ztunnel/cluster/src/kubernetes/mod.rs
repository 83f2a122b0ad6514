//! The API server of Kubernetes, as far as it is asked: who presents a token, which pods run where, Secrets and
//! ConfigMaps.
//!
//! What decides about the answers is elsewhere: here is only the asking, each call with a time limit, and every answer
//! narrowed to what somebody needs.

mod access;
mod config_maps;
mod error;
mod live_pods;
mod name;
mod pods;
mod secrets;
mod tokens;

pub use access::{Access, ConnectError, Kubernetes};
pub use error::ApiError;
pub use live_pods::{LivePod, LivePods, Placement};
pub use name::{NamespacedName, ParseNameError};
pub use pods::PodWatch;
pub use secrets::{StoredSecret, Written};
pub use tokens::{BoundPod, ReviewError, TokenOwner};
