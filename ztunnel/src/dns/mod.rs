//! The DNS proxy of captured pods.
//!
//! [`answer`] decides, without sockets or clock, what the mesh says to a question. What it leaves to others goes to the
//! name server that the pod sent it to, from within the pod's namespace.

mod answer;
mod exchange;
mod metrics;
mod names;
mod pod;
mod proxy;
mod reply;
mod resolv_conf;
mod resolve;
mod resolved;
mod resolver;
mod tcp;
mod udp;
mod wire;

pub use answer::{Answer, ClientView, Decision, answer};
pub use metrics::DnsMetrics;
pub use proxy::{DnsProxy, DnsSettings};
pub use reply::{answered, failed, refused};
pub use resolv_conf::{NodeResolver, ResolvConf};
pub use resolve::{LookupError, Resolver};
pub use resolved::ResolvedNames;
pub use resolver::{ClusterNames, DnsPolicy, PodResolver, ResolverView};
pub use wire::{Query, Question, RecordKind, Unusable};

#[cfg(test)]
mod tests;
