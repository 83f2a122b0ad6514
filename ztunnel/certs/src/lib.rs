//! Keys, certificate requests, trust, verifiers, TLS configurations, renewal and the CA client.
//!
//! - [`leaf`]: what a certificate says: its identity and how long it lasts;
//! - [`bundle`]: the roots of each trust domain; [`verify`]: chains checked against them, [`revocation`]: unless they are
//!   taken back; [`trust`]: where all that comes from;
//! - [`key`]: leaf keys and requests, [`credential`]: a key with its chain;
//! - [`configs`]: TLS configurations, built once for an identity and epoch; [`tickets`]: their session tickets;
//! - [`signer`]: who signs; [`ca_client`]: one over the network, [`wire`]: how it is asked, [`token`]: by whom;
//! - [`identities`]: the certificates of a node's workloads, fetched and renewed; [`cache`]: kept for the next start;
//! - [`authority`]: what a CA does with a [`request`]; [`serving`]: how it is recognised.

mod authority;
mod bundle;
mod ca_client;
mod cache;
mod client;
mod clock;
mod configs;
mod credential;
mod der;
mod identities;
mod key;
mod leaf;
mod peers;
mod pem;
mod provider;
mod request;
mod revocation;
mod server;
mod serving;
mod signer;
mod tickets;
mod token;
mod trust;
mod verify;
pub mod wire;

pub use authority::{Authority, AuthorityError, RootFiles};
pub use bundle::{Bundles, ParseRootsError, TrustBundle};
pub use ca_client::{CaAddress, CaClient, CaClientConfig, ConnectError, Dial, ParseCaAddressError};
pub use cache::{CacheError, CredentialCache};
pub use client::ClientTls;
pub use clock::{Clock, SystemClock};
pub use configs::{ConfigError, IdentityConfigs};
pub use credential::{Credential, CredentialError};
pub use identities::{
    CertificateStatus, FetchOutcome, Identities, IdentityChange, IdentityChanges, IdentityState,
    IdentityStatus, Unavailable, UnavailableReason, Upkeep,
};
pub use key::{KeyError, LeafKey};
pub use leaf::{Leaf, LeafError, not_after, peer_identity, serial_number};
pub use peers::PeerIdentities;
pub use pem::pem_of;
pub use request::{LeafRequest, LeafRequestError};
pub use revocation::{ParseListsError, RevocationLists, chain_numbers};
pub use server::ServerTls;
pub use serving::{ServingError, ServingTls};
pub use signer::{RootsError, SignError, SignedChain, Signer};
pub use token::{
    AUDIENCE, CLOCK_SKEW, NodeClaims, NodeKey, NodeKeyError, NodeKeyPair, NodePublicKey, NodeToken,
    NodeTokenError, TokenError, TokenFile, TokenFileError, TokenSource,
};
pub use trust::{FederatedWithItself, TrustFiles};
pub use verify::PeerError;

/// An error with its causes, in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    // A gRPC status shows all that it knows, its source with the names of types.
    let said = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = said(error);
        // Wrappers tend to repeat what they wrap.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
