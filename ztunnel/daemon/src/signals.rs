//! SIGTERM and SIGINT.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::drain::Drainer;

/// The signals that end a daemon.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Takes over both signals. Must be called within a runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one; says which.
    ///
    /// # Cancel safety
    /// Safe: a signal that came is not lost.
    pub async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Starts the drain at the first signal, and cuts it short at the second. Never returns: a task to be dropped.
    pub async fn drive(mut self, drainer: Drainer, grace: Duration) {
        let signal = self.requested().await;
        tracing::info!(signal, ?grace, "draining");
        drainer.start(grace);
        loop {
            let signal = self.requested().await;
            tracing::warn!(signal, "cutting what is left");
            drainer.cut();
        }
    }
}
