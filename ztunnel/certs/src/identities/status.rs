//! What there is to say about identities.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use identity::SpiffeId;

use super::fetch::FetchError;
use crate::signer::SignError;

/// How one identity fares.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IdentityStatus {
    /// The identity.
    pub identity: SpiffeId,
    /// Whether it can be used.
    pub state: IdentityState,
    /// Its certificate, if there is one.
    pub certificate: Option<CertificateStatus>,
    /// Why the last fetch came to nothing; none when it did not.
    pub last_error: Option<Arc<str>>,
    /// Fetches that came to nothing, one after the other.
    pub failures: u32,
    /// Connections that wait for it.
    pub waiting: usize,
}

/// A certificate in use. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CertificateStatus {
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// First second of its life.
    pub not_before: u64,
    /// Last second of its life.
    pub not_after: u64,
    /// When another one will be fetched.
    pub renew_at: u64,
    /// The epoch of its TLS configurations.
    pub epoch: u64,
}

/// Whether an identity can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityState {
    /// It has a certificate.
    Available,
    /// It has none, and the last fetch failed.
    Failed,
    /// Its first certificate is on its way.
    Initializing,
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// A certificate came.
    Fetched,
    /// The CA refused.
    Refused,
    /// The CA did not answer in time.
    Timeout,
    /// The CA cannot be reached or recognised.
    Unreachable,
    /// What came is no use, or there was nothing to ask with.
    Unusable,
}

/// Fetches by outcome.
#[derive(Debug, Default)]
pub(super) struct FetchCounts([AtomicU64; FetchOutcome::ALL.len()]);

impl FetchOutcome {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Fetched, Self::Refused, Self::Timeout, Self::Unreachable, Self::Unusable];

    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Unusable => "unusable",
        }
    }

    pub(super) const fn of(error: &FetchError) -> Self {
        match error {
            FetchError::Sign(SignError::Refused { .. }) => Self::Refused,
            FetchError::Sign(SignError::Timeout { .. }) | FetchError::Timeout { .. } => Self::Timeout,
            FetchError::Sign(SignError::Roots { .. } | SignError::Unreachable(_)) => Self::Unreachable,
            _ => Self::Unusable,
        }
    }
}

impl fmt::Display for FetchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FetchCounts {
    pub(super) fn count(&self, outcome: FetchOutcome) {
        self.slot(outcome).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, outcome: FetchOutcome) -> u64 {
        self.slot(outcome).load(Ordering::Relaxed)
    }

    const fn slot(&self, outcome: FetchOutcome) -> &AtomicU64 {
        &self.0[outcome as usize]
    }
}
