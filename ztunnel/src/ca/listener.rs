//! Accepting callers.

use std::sync::Arc;
use std::time::Duration;

use certs::{ServingTls, describe, wire};
use daemon::drain::Drain;
use daemon::tasks::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::issuer::{Desk, Issuer};

/// Accepts callers.
pub(super) struct Reception {
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServingTls>,
    pub(super) issuer: Arc<Issuer>,
    /// Connections at a time.
    pub(super) connections: usize,
    /// Owner of the connections.
    pub(super) tasks: Arc<Tasks>,
}

impl Reception {
    /// Serves callers until a drain begins. Calls that are being answered then may end.
    pub(super) async fn serve(self, drain: Drain) {
        tokio::select! {
            () = self.accept(&drain) => {}
            _deadline = drain.draining() => {}
        }
    }

    async fn accept(&self, drain: &Drain) {
        let room = Arc::new(Semaphore::new(self.connections));
        let acceptor = TlsAcceptor::from(self.tls.config().clone());
        loop {
            let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let desk = Arc::new(Desk { issuer: self.issuer.clone(), peer });
                    let (acceptor, drain) = (acceptor.clone(), drain.clone());
                    self.tasks.spawn("ca connection", async move {
                        let _place = place;
                        attend(acceptor, stream, desk, &drain).await;
                    });
                }
                Err(error) => {
                    // Out of files, mostly: going on at once would only spin.
                    tracing::warn!(%error, "connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn attend(acceptor: TlsAcceptor, stream: TcpStream, desk: Arc<Desk>, drain: &Drain) {
    let (peer, _guard) = (desk.peer, drain.guard());
    // An answer is small, and waited for.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, cause = describe(&error), "handshake failed");
            return;
        }
        Err(_elapsed) => {
            tracing::debug!(%peer, "handshake took too long");
            return;
        }
    };
    let ending = async {
        drain.draining().await;
    };
    let served = tokio::select! {
        served = wire::serve(desk, stream, ending) => served,
        () = drain.cut() => return,
    };
    if let Err(error) = served {
        tracing::debug!(%peer, cause = describe(&error), "connection broke");
    }
}

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
