//! Where a daemon is asked.

use std::net::SocketAddr;
use std::path::Path;

use prometheus::IntCounterVec;

use super::{Admin, BindError, Listener, Surface, serve};
use crate::tasks::Tasks;

/// Where a daemon is asked; none where it is not.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Unix socket of everything.
    pub admin_socket: Option<&'a Path>,
    /// Loopback address of what changes nothing.
    pub admin: Option<SocketAddr>,
    /// Address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Address of the probes.
    pub readiness: Option<SocketAddr>,
}

impl Places<'_> {
    /// Serves `admin` at all of them, or at none.
    ///
    /// # Errors
    /// The option whose place cannot be had, and why.
    pub async fn serve(
        self,
        admin: &Admin,
        panics: &IntCounterVec,
        tasks: &Tasks,
    ) -> Result<(), (&'static str, BindError)> {
        for (surface, listener) in self.bind().await? {
            tasks.spawn("admin", serve(admin.clone(), surface, listener, panics.clone()));
        }
        Ok(())
    }

    async fn bind(self) -> Result<Vec<(Surface, Listener)>, (&'static str, BindError)> {
        let of = |option| move |error| (option, error);
        let mut bound = Vec::new();
        if let Some(path) = self.admin_socket {
            bound.push((Surface::Admin, Listener::unix(path).map_err(of("adminSocket"))?));
        }
        if let Some(address) = self.admin {
            bound.push((Surface::AdminReadOnly, Listener::loopback(address).await.map_err(of("admin"))?));
        }
        if let Some(address) = self.metrics {
            bound.push((Surface::Metrics, Listener::any(address).await.map_err(of("metrics"))?));
        }
        if let Some(address) = self.readiness {
            bound.push((Surface::Probes, Listener::any(address).await.map_err(of("readiness"))?));
        }
        Ok(bound)
    }
}
