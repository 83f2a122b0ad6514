//! TLS configurations, built once for an identity and epoch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::sign::SingleCertAndKey;
use rustls_pki_types::UnixTime;

use crate::bundle::Bundles;
use crate::client::ClientTls;
use crate::credential::{Credential, CredentialError};
use crate::leaf::Leaf;
use crate::peers::PeerIdentities;
use crate::server::ServerTls;
use crate::tickets::ServerTickets;
use crate::verify::{ChainVerifier, PeerError, Role};

/// Everything that a local identity needs to accept and open tunnels, under one credential and one generation of
/// bundles. A renewal or a changed bundle makes another one, with the next epoch and no ticket of the old one.
#[derive(Debug)]
pub struct IdentityConfigs {
    leaf: Leaf,
    epoch: u64,
    credential: Arc<Credential>,
    resolver: Arc<SingleCertAndKey>,
    chains: Arc<ChainVerifier>,
    server: Arc<ServerTls>,
    clients: Mutex<HashMap<ClientKey, Arc<ClientTls>>>,
}

/// Tickets must not be shared beyond this: a resumed client verifies nothing again, and pods have no TLS state in
/// common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    pod: Arc<str>,
    accepted: PeerIdentities,
}

/// Why TLS configurations could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The credential is unusable.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No random bytes for a ticket key.
    #[error("no ticket key could be generated")]
    TicketKey,
    /// rustls refused the configuration.
    #[error("tls library refused the configuration")]
    Tls(#[from] rustls::Error),
}

impl IdentityConfigs {
    /// Builds the configurations of one credential.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(credential: Arc<Credential>, bundles: Arc<Bundles>, epoch: u64) -> Result<Self, ConfigError> {
        let leaf = credential.leaf().clone();
        let resolver = Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(credential.certified_key()?)));
        let chains = Arc::new(ChainVerifier::new(bundles));
        let tickets = ServerTickets::new(leaf.not_after).map_err(|_no_random| ConfigError::TicketKey)?;
        let server = Arc::new(ServerTls::new(chains.clone(), resolver.clone(), tickets)?);
        Ok(Self { leaf, epoch, credential, resolver, chains, server, clients: Mutex::default() })
    }

    /// Whose they are and until when.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Counts renewals and changes of bundles. Part of a tunnel's key.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key and chain they rest on.
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// The roots that its peers are verified against.
    pub fn bundles(&self) -> &Arc<Bundles> {
        self.chains.bundles()
    }

    /// Checks the own chain as a peer would that trusts the same roots.
    pub(crate) fn check_own(&self, now: UnixTime) -> Result<(), PeerError> {
        // One that begins a little later is as good: whose clock is right remains to be seen.
        self.chains.verify(self.credential.chain(), Role::Server, now.max(self.leaf.not_before)).map(drop)
    }

    /// For accepting tunnels.
    pub fn server(&self) -> &Arc<ServerTls> {
        &self.server
    }

    /// For opening tunnels from `pod` (its uid) to any peer of `accepted`. Kept: asking again returns the same.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn client(&self, pod: &Arc<str>, accepted: &PeerIdentities) -> Result<Arc<ClientTls>, ConfigError> {
        let key = ClientKey { pod: pod.clone(), accepted: accepted.clone() };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let client = Arc::new(ClientTls::new(self.chains.clone(), accepted.clone(), self.resolver.clone())?);
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// The application protocol of a tunnel.
pub(crate) const ALPN: &[u8] = b"h2";

/// Most client configurations kept for one identity; beyond, tickets are lost and configurations rebuilt.
const MAX_CLIENTS: usize = 1024;
