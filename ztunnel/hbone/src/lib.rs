//! HBONE: TCP connections carried as HTTP/2 CONNECT streams over mutual TLS.
//!
//! From the wire up:
//! - [`socket`]: a non-blocking socket on the worker's reactor;
//! - [`record`]: TLS 1.3 records, sealed and opened where they lie, after a rustls handshake;
//! - [`h2`]: the CONNECT subset of HTTP/2 as plain data, without any I/O;
//! - [`authority`], [`baggage`], [`forwarded`], [`traceparent`]: what a CONNECT says;
//! - [`tunnel`]: one TLS connection and its streams, driven by one worker; [`pool`]: a worker's tunnels, shared;
//! - [`relay`]: two connections joined without a tunnel.

pub mod authority;
pub mod baggage;
pub mod forwarded;
pub mod h2;
pub mod pool;
pub mod record;
pub mod relay;
pub mod socket;
pub mod traceparent;
pub mod tunnel;
