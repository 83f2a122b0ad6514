//! Network namespaces of pods: opened once, entered for the moments in which a socket is made.

mod cookie;
mod discover;
mod guard;

pub use cookie::NetnsCookie;
pub(crate) use discover::ip_of;
pub use discover::{Discovery, Namespaces, discover};
pub use guard::{NetnsGuard, PodNetns, in_netns};
