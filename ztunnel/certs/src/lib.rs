//! Keys, certificate requests, trust, verifiers, TLS configurations, renewal and the CA client.
//!
//! - [`leaf`]: what a certificate says: its identity and how long it lasts;
//! - [`bundle`]: the roots of each trust domain; [`verify`]: chains checked against them;
//! - [`key`]: leaf keys and requests, [`credential`]: a key with its chain;
//! - [`configs`]: TLS configurations, built once for an identity and epoch; [`tickets`]: their session tickets;
//! - [`authority`]: what a CA does with a [`request`].

mod authority;
mod bundle;
mod client;
mod configs;
mod credential;
mod key;
mod leaf;
mod peers;
mod provider;
mod request;
mod server;
mod tickets;
mod verify;

pub use authority::{Authority, AuthorityError, RootFiles};
pub use bundle::{Bundles, ParseRootsError, TrustBundle};
pub use client::ClientTls;
pub use configs::{ConfigError, IdentityConfigs};
pub use credential::{Credential, CredentialError};
pub use key::{KeyError, LeafKey};
pub use leaf::{Leaf, LeafError, peer_identity};
pub use peers::PeerIdentities;
pub use request::{LeafRequest, LeafRequestError};
pub use server::ServerTls;
pub use verify::PeerError;
