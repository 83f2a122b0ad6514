//! The certificate of the CA's own server, signed by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::{AuthorityError, Clock, ServingError, ServingTls, describe};
use tokio::time::sleep;

use super::metrics::CaMetrics;
use super::root::FollowedRoot;

/// The names under which callers know the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNames {
    /// DNS names.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// Why the server has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewServingError {
    /// It was not signed.
    #[error("certificate of the ca's server was not signed")]
    Authority(#[from] AuthorityError),
    /// It cannot be used.
    #[error(transparent)]
    Tls(#[from] ServingError),
}

/// What keeps the server's certificate fresh.
pub(super) struct Serving {
    pub(super) tls: Arc<ServingTls>,
    pub(super) names: ServerNames,
    pub(super) root: FollowedRoot,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: CaMetrics,
}

impl ServerNames {
    /// Sorts names and addresses out.
    pub fn new(texts: &[String]) -> Self {
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_name) => names.push(text.clone()),
            }
        }
        Self { names, addresses }
    }
}

impl Serving {
    /// Makes the server another certificate.
    ///
    /// # Errors
    /// When it is not signed, mostly because the root has ended.
    pub(super) fn renew(&self) -> Result<(), RenewServingError> {
        let (root, now) = (self.root.current(), self.clock.now());
        let ServerNames { names, addresses } = &self.names;
        let (key, mut chain) = root.authority.serving(names, addresses, LIFETIME, now)?;
        // Callers have the root.
        chain.pop();
        self.tls.replace(&key, chain)?;
        let root_end = root.authority.not_after().as_secs();
        self.metrics.root_ends(root_end);
        self.metrics.serving_ends(now.as_secs().saturating_add(LIFETIME.as_secs()).min(root_end));
        Ok(())
    }

    /// Renews the certificate often, and at once when the root changes.
    pub(super) async fn keep(mut self) {
        loop {
            tokio::select! {
                () = self.root.changed() => {}
                () = sleep(RENEW_EVERY) => {}
            }
            if let Err(error) = self.renew() {
                tracing::error!(cause = describe(&error), "the ca's server keeps its old certificate");
            }
        }
    }
}

/// Life of the server's certificate.
const LIFETIME: Duration = Duration::from_hours(24);

/// Far more often than needed, for it costs nothing: a clock that is set, or a failure, is mended soon.
const RENEW_EVERY: Duration = Duration::from_mins(30);
