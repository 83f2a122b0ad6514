//! The CONNECT subset of HTTP/2 (RFC 9113) as plain data: no socket, no clock, no task.
//!
//! [`Connection::next_event`] takes plaintext in pieces of any size and hands payload on as sub-slices of the very
//! input, long before a frame is complete. What is to be sent besides payload collects in
//! [`Connection::control`]; for payload the caller asks for a frame header and puts it in front of bytes that it
//! holds. No frame of payload allocates, in or out.
//!
//! Everything that the peer can make grow is bounded by [`Limits`].
//!
//! ```
//! use hbone::h2::{ConnectRequest, Connection, Event, Limits};
//!
//! let mut client = Connection::client(Limits::default());
//! let mut server = Connection::server(Limits::default());
//! let stream = client.open(&ConnectRequest::new("10.0.0.1:80")).unwrap();
//! let bytes = std::mem::take(client.control());
//! let mut input = &bytes[..];
//! while let Some(event) = server.next_event(&mut input).unwrap() {
//!     if let Event::Request { request, .. } = event {
//!         assert_eq!(&*request.authority, "10.0.0.1:80");
//!     }
//! }
//! # let _ = stream;
//! ```

mod block;
mod budget;
mod connection;
mod error;
mod event;
mod frame;
mod goaway;
pub mod hpack;
mod limits;
mod message;
mod receive;
mod rules;
mod send;
mod settings;
mod streams;
mod window;

pub use self::connection::Connection;
pub use self::error::{ConnectionError, ErrorCode, Excess, OpenError};
pub use self::event::Event;
pub use self::frame::FRAME_HEADER;
pub use self::limits::Limits;
pub use self::message::{ConnectRequest, ConnectResponse, Method};
pub use self::streams::StreamId;

#[cfg(test)]
mod tests;
