//! The hot paths, each as something that can be done again and again.

mod app;
mod decisions;
mod local;
mod scrape;
mod tunnel;

/// A path.
#[derive(Clone, Copy)]
pub struct Path {
    /// Its name.
    pub name: &'static str,
    /// How often it is done to be counted.
    pub times: u32,
    /// Makes it ready, in a mesh of that many workloads where it needs one.
    pub prepare: fn(u32) -> Box<dyn FnMut()>,
}

/// All of them.
pub const PATHS: &[Path] = &[
    Path { name: "decision-inbound", times: 1000, prepare: decisions::inbound_call },
    Path { name: "decision-outbound", times: 1000, prepare: decisions::outbound_call },
    Path { name: "dns-answer", times: 1000, prepare: decisions::dns_answer },
    Path { name: "local-bulk", times: 200, prepare: |_| local::bulk() },
    Path { name: "local-message", times: 500, prepare: |_| local::message() },
    Path { name: "policy", times: 1000, prepare: |_| decisions::policy() },
    Path { name: "scrape", times: 5, prepare: |_| scrape::scrape() },
    Path { name: "tunnel-down", times: 100, prepare: |_| tunnel::down() },
    Path { name: "tunnel-message", times: 500, prepare: |_| tunnel::message() },
    Path { name: "tunnel-stream", times: 200, prepare: |_| tunnel::stream() },
    Path { name: "tunnel-up", times: 100, prepare: |_| tunnel::up() },
];
