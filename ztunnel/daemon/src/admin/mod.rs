//! A small HTTP/1 server for people, probes and Prometheus.
//!
//! One [`Surface`] per listener says what may be asked there. Requests are bounded in size, number and time; a
//! handler runs on the control runtime, so none of them touches the byte path.

mod client;
mod handler;
mod listener;
mod places;
mod profile;
mod server;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::drain::Drainer;
use crate::logs::Level;
use crate::metrics::Metrics;
use crate::ready::Readiness;

pub use client::{AskError, ask};
pub use handler::Surface;
pub use listener::{BindError, Listener, bind_any};
pub use places::Places;
pub use server::{CONNECTIONS, serve};

/// What the server shows and does. Clones share it.
#[derive(Clone)]
pub struct Admin {
    state: Arc<State>,
}

/// Hands out one part of `/config_dump`, or what another path shows.
pub type Provider = Box<dyn Fn() -> Dump + Send + Sync>;

/// A part being put together; workers may have to be asked for theirs.
pub type Dump = Pin<Box<dyn Future<Output = Value> + Send>>;

/// What the endpoints act on.
pub struct Parts {
    /// `/healthz/ready`.
    pub readiness: Readiness,
    /// `/metrics`.
    pub metrics: Metrics,
    /// `/logging`; none when logs go elsewhere.
    pub level: Option<Level>,
    /// `/quitquitquit`.
    pub drainer: Drainer,
    /// How long `/quitquitquit` lets connections go on.
    pub grace: std::time::Duration,
}

struct State {
    parts: Parts,
    providers: Mutex<BTreeMap<String, Arc<Provider>>>,
    pages: Mutex<BTreeMap<String, Arc<Provider>>>,
}

impl Admin {
    /// A server's content.
    pub fn new(parts: Parts) -> Self {
        Self { state: Arc::new(State { parts, providers: Mutex::default(), pages: Mutex::default() }) }
    }

    /// Adds a part to `/config_dump`, under `name`; `/config_dump/<name>` shows it alone. Replaces one of that name.
    pub fn provide(&self, name: &str, provider: Provider) {
        lock(&self.state.providers).insert(name.to_owned(), Arc::new(provider));
    }

    /// Adds a page of JSON at `/<name>`, like `/connections`. Replaces one of that name.
    pub fn page(&self, name: &str, provider: Provider) {
        lock(&self.state.pages).insert(name.to_owned(), Arc::new(provider));
    }
}

/// A provider whose value is there at once.
pub fn ready_made(value: impl Fn() -> Value + Send + Sync + 'static) -> Provider {
    Box::new(move || Box::pin(std::future::ready(value())))
}

fn lock(
    map: &Mutex<BTreeMap<String, Arc<Provider>>>,
) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Provider>>> {
    // Every change is one step: a panic elsewhere leaves nothing half done.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
