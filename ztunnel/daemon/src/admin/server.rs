//! Accepting and bounding.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::Admin;
use crate::admin::handler::{self, Surface};
use crate::admin::listener::{Listener, Stream};
use crate::tasks::Tasks;

/// Serves `surface` on `listener` until dropped. Its connections end with it.
pub async fn serve(
    admin: Admin,
    surface: Surface,
    mut listener: Listener,
    panics: prometheus::IntCounterVec,
) {
    let connections = Tasks::new(crate::tasks::OnPanic::Report, panics);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok(Stream::Tcp(stream)) => start(&connections, &admin, surface, stream, place),
            Ok(Stream::Unix(stream)) => start(&connections, &admin, surface, stream, place),
            Err(error) => {
                // Out of files, mostly: going on at once would only spin.
                tracing::warn!(%error, "admin connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start<S>(connections: &Tasks, admin: &Admin, surface: Surface, stream: S, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let admin = admin.clone();
    connections.spawn("admin connection", async move {
        let _place = place;
        let service = service_fn(move |request| {
            let admin = admin.clone();
            async move { Ok::<_, Infallible>(handler::answer(&admin, surface, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER)
            .serve_connection(TokioIo::new(stream), service);
        // A client that goes away, or dawdles, is none of our concern.
        let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
    });
}

/// Connections at a time, per listener. Others wait.
pub const CONNECTIONS: usize = 32;

/// Time for a request's head, which is also how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a whole connection: Prometheus opens another.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes of a request's head.
const MAX_HEADER: usize = 16 * 1024;

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
