//! Accepting.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use crate::serve::{Handler, Kind};
use crate::{LabError, Netns};

/// A server on a thread. Its listener and its connections are closed when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    seen: Arc<Mutex<Seen>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    peers: Vec<SocketAddr>,
    held: Vec<TcpStream>,
    /// Owned by the threads that serve them: only so does the end of one close its connection.
    served: Vec<Weak<TcpStream>>,
}

impl Server {
    /// Listens in a namespace.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(netns: &Netns, ip: IpAddr, port: u16, handler: Handler) -> Result<Self, LabError> {
        let listener = Arc::new(netns.within(|| TcpListener::bind((ip, port)))?);
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Seen>>::default();
        let (ears, notes) = (listener.clone(), seen.clone());
        let acceptor = thread::Builder::new().name("server".to_owned()).spawn(move || {
            while let Ok((stream, peer)) = ears.accept() {
                // What cannot have a thread is closed.
                let _served = serve(&handler, stream, peer, &notes);
            }
        })?;
        Ok(Self { address, listener, seen, acceptor: Some(acceptor) })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whom it has seen, oldest first, as the kernel told it.
    pub fn peers(&self) -> Vec<SocketAddr> {
        lock(&self.seen).peers.iter().map(|it| SocketAddr::new(it.ip().to_canonical(), it.port())).collect()
    }

    /// Stops listening; connections go on.
    pub fn stop_listening(&mut self) {
        let _already_shut = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_listening();
        for stream in lock(&self.seen).served.drain(..).filter_map(|it| it.upgrade()) {
            let _already_shut = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(handler: &Handler, stream: TcpStream, peer: SocketAddr, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut seen = lock(seen);
    seen.peers.push(peer);
    match &handler.0 {
        Kind::Hold => seen.held.push(stream),
        Kind::Each(serve) => {
            let (stream, serve) = (Arc::new(stream), serve.clone());
            seen.served.retain(|it| it.strong_count() > 0);
            seen.served.push(Arc::downgrade(&stream));
            let work = move || {
                // A client that goes away is none of the server's concern.
                let _ = serve(&stream);
            };
            thread::Builder::new().name("connection".to_owned()).spawn(work)?;
        }
    }
    Ok(())
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
