//! End-to-end suites, one per folder in `suites`. What they are built from is in the crate `harness`; here is what they
//! share: the cluster that most scenarios take place in, and calls between its pods.

pub mod calls;
pub mod hbone_server;
pub mod pki;
pub mod revocation;
