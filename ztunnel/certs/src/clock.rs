//! What time it is.

use rustls_pki_types::UnixTime;

/// Tells the time of day. Certificates last by it; intervals are measured by tokio's clock.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> UnixTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        UnixTime::now()
    }
}
