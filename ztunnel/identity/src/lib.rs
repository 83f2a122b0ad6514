//! SPIFFE identities and trust domains.
//!
//! A workload's identity is the URI `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, and nothing
//! else: the shape that Istio uses. Values of these types are always well formed; parsing is the only way in.
//!
//! ```
//! use identity::SpiffeId;
//!
//! let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
//! assert_eq!(id.namespace(), "shop");
//! assert_eq!(id.service_account(), "cart");
//! assert_eq!(id.trust_domain().as_str(), "cluster.local");
//! ```

mod spiffe_id;
mod trust_domain;

pub use spiffe_id::{ParseSpiffeIdError, SpiffeId};
pub use trust_domain::{ParseTrustDomainError, TrustDomain};
