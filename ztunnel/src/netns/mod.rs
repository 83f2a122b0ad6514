//! Network namespaces of pods: opened once, entered for the moments in which a socket is made.

mod discover;
mod guard;

pub(crate) use discover::ip_of;
pub use discover::{Discovery, discover};
pub use guard::{NetnsGuard, PodNetns, in_netns};
