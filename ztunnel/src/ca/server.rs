//! The CA's parts, put together.

use std::net::SocketAddr;
use std::sync::Arc;

use certs::wire::SERVER_ALPN;
use certs::{Clock, ServingError, ServingTls};
use daemon::drain::Drain;
use daemon::tasks::Tasks;

use super::config::CaServerConfig;
use super::gate::Gate;
use super::issuer::{Issuer, IssuerSettings};
use super::listener::Reception;
use super::metrics::CaMetrics;
use super::root::{self, FollowedRoot, Root, RootSource};
use super::serving::{RenewServingError, ServerNames, Serving};

/// A CA that listens.
pub struct CaServer {
    reception: Reception,
    root: FollowedRoot,
    address: SocketAddr,
}

/// What a CA needs besides its configuration.
pub struct CaParts {
    /// Who signs at first.
    pub root: Root,
    /// Where that is read again.
    pub source: RootSource,
    /// Who may ask for whom.
    pub gate: Gate,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: CaMetrics,
    /// Owner of what runs besides.
    pub tasks: Arc<Tasks>,
}

/// Why a CA does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Its server has no certificate.
    #[error(transparent)]
    Serving(#[from] RenewServingError),
    /// Its TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] ServingError),
}

impl CaServer {
    /// Listens, and keeps roots and certificates fresh from here on.
    ///
    /// # Errors
    /// When the address is taken, or the root cannot sign.
    pub async fn start(config: &CaServerConfig, parts: CaParts) -> Result<Self, StartError> {
        let CaParts { root, source, gate, clock, metrics, tasks } = parts;
        let (root, following) = root::follow(root, source, clock.clone());
        let tls = Arc::new(ServingTls::new(SERVER_ALPN)?);
        let serving = Serving {
            tls: tls.clone(),
            names: ServerNames::new(&config.listen.names),
            root: root.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        serving.renew()?;
        let issuer = Issuer::new(settings(config), root.clone(), gate, clock, metrics);
        let address = config.listen.address;
        let bound = daemon::admin::bind_any(address).await.and_then(|bound| Ok((bound.local_addr()?, bound)));
        let (address, listener) = bound.map_err(|source| StartError::Bind { address, source })?;
        tasks.spawn("root", following);
        if let Some(path) = &config.root.publish {
            tasks.spawn("published roots", root::publish::to_file(root.clone(), path.clone()));
        }
        tasks.spawn("serving certificate", serving.keep());
        let (issuer, connections) = (Arc::new(issuer), config.limits.connections);
        let reception = Reception { listener, tls, issuer, connections, tasks };
        Ok(Self { reception, root, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root in use.
    pub const fn root(&self) -> &FollowedRoot {
        &self.root
    }

    /// What decides about requests.
    pub const fn issuer(&self) -> &Arc<Issuer> {
        &self.reception.issuer
    }

    /// Serves callers until a drain begins.
    pub async fn serve(self, drain: Drain) {
        self.reception.serve(drain).await;
    }
}

fn settings(config: &CaServerConfig) -> IssuerSettings {
    let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
    IssuerSettings {
        trust_domain: config.trust.domain.clone(),
        trust_aliases: config.trust.aliases.clone(),
        default_ttl: config.leaf.ttl,
        max_ttl: config.leaf.max_ttl,
        calls_per_second: narrow(config.limits.calls_per_second),
        burst: narrow(config.limits.burst),
    }
}
