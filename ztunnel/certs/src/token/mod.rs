//! How a node proves to a CA who it is: a bearer token with each request.

mod file;
mod node_key;
mod node_token;

use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

pub use file::{TokenFile, TokenFileError};
pub use node_key::{NodeKey, NodeKeyError, NodeKeyPair, NodePublicKey};
pub use node_token::{NodeClaims, NodeToken, NodeTokenError};

/// Makes the tokens that go with requests.
pub trait TokenSource: Send + Sync + 'static {
    /// The token for one call that sends the certificate request `csr`.
    ///
    /// # Errors
    /// When there is none.
    fn token(&self, csr: &str, now: UnixTime) -> Result<Zeroizing<String>, TokenError>;
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file that holds it is unusable.
    #[error(transparent)]
    File(#[from] TokenFileError),
    /// The key that signs it does not.
    #[error(transparent)]
    NodeKey(#[from] NodeKeyError),
}

/// The audience of tokens for a CA. Istio's.
pub const AUDIENCE: &str = "istio-ca";

/// How far the clocks of a node, its peers and its CA may be apart.
pub const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_mins(5);
