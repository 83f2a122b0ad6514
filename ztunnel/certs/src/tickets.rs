//! Session tickets, bound to the identity, epoch and peers of the configuration that owns them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::server::ProducesTickets;
use rustls_pki_types::{ServerName, UnixTime};
use zeroize::Zeroizing;

/// The tickets of one client configuration, by server address.
#[derive(Debug, Default)]
pub(crate) struct ClientTickets {
    servers: Mutex<HashMap<ServerName<'static>, ServerMemory>>,
}

/// What a client remembers of one server.
#[derive(Debug, Default)]
struct ServerMemory {
    group: Option<NamedGroup>,
    tickets: [Option<Tls13ClientSessionValue>; TICKETS_PER_SERVER],
}

impl ClientTickets {
    fn servers(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, ServerMemory>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, server: ServerName<'static>, note: impl FnOnce(&mut ServerMemory)) {
        let mut servers = self.servers();
        if servers.len() >= MAX_SERVERS && !servers.contains_key(&server) {
            servers.clear();
        }
        note(servers.entry(server).or_default());
    }
}

impl ClientSessionStore for ClientTickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.remember(server, |memory| memory.group = Some(group));
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.servers().get(&server.to_owned())?.group
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _session: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.remember(server, |memory| {
            memory.tickets.rotate_right(1);
            memory.tickets[0] = Some(ticket);
        });
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut servers = self.servers();
        let memory = servers.get_mut(server)?;
        let ticket = memory.tickets[0].take();
        memory.tickets.rotate_left(1);
        ticket
    }
}

/// Seals and opens the tickets of one server configuration. Its key is made for it and dies with it.
pub(crate) struct ServerTickets {
    key: RandomizedNonceKey,
    /// When the server's own certificate ends.
    not_after: UnixTime,
}

impl ServerTickets {
    pub(crate) fn new(not_after: UnixTime) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key)?;
        Ok(Self { key: RandomizedNonceKey::new(&AES_256_GCM, &*key)?, not_after })
    }

    fn lifetime_at(&self, now: UnixTime) -> Duration {
        let left = self.not_after.as_secs().saturating_sub(now.as_secs());
        Duration::from_secs(left).min(MAX_LIFETIME)
    }
}

impl std::fmt::Debug for ServerTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTickets").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A ticket is `expiry 8 | nonce 12 | sealed session | tag 16`, the expiry authenticated.
impl ProducesTickets for ServerTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let seconds = self.lifetime_at(UnixTime::now()).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = UnixTime::now();
        let expiry = (now.as_secs() + self.lifetime_at(now).as_secs()).to_be_bytes();
        let mut sealed = Vec::with_capacity(EXPIRY + NONCE_LEN + plain.len() + TAG);
        sealed.extend_from_slice(&expiry);
        sealed.extend_from_slice(&[0; NONCE_LEN]);
        sealed.extend_from_slice(plain);
        let (front, body) = sealed.split_at_mut(EXPIRY + NONCE_LEN);
        let (nonce, tag) = self.key.seal_in_place_separate_tag(Aad::from(expiry), body).ok()?;
        front[EXPIRY..].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (expiry, rest) = ticket.split_first_chunk::<EXPIRY>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if u64::from_be_bytes(*expiry) <= UnixTime::now().as_secs() {
            return None;
        }
        let mut session = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(*expiry), &mut session).ok()?.len();
        session.truncate(length);
        Some(session)
    }
}

const EXPIRY: usize = 8;
const TAG: usize = 16;

/// A ticket's key lives in memory until the leaf is renewed; this bounds what a stolen one opens.
const MAX_LIFETIME: Duration = Duration::from_hours(12);

/// Tickets kept per server: a few tunnels to one busy peer may reconnect at once. About 3 kB each.
const TICKETS_PER_SERVER: usize = 2;

/// Servers remembered by one configuration. All of them serve one identity, so these are a deployment's replicas.
const MAX_SERVERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(seconds_left: u64) -> ServerTickets {
        let not_after = Duration::from_secs(UnixTime::now().as_secs() + seconds_left);
        ServerTickets::new(UnixTime::since_unix_epoch(not_after)).unwrap()
    }

    #[test]
    fn a_ticket_opens_where_it_was_made_and_nowhere_else() {
        let ours = tickets(3600);
        let ticket = ours.encrypt(b"session").unwrap();
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets(3600).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ours.decrypt(&changed), None, "byte {at}");
            assert_eq!(ours.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_ticket_ends_with_the_servers_certificate() {
        let (hour, day) = (3600, 24 * 3600);
        let left = |tickets: &ServerTickets| {
            let ticket = tickets.encrypt(b"session").unwrap();
            let expiry = u64::from_be_bytes(*ticket.first_chunk().unwrap());
            tickets.not_after.as_secs() - expiry
        };
        assert_eq!(left(&tickets(hour)), 0);
        assert!(tickets(hour).lifetime() <= u32::try_from(hour).unwrap());
        assert!(left(&tickets(day)) > 0, "a ticket lives no longer than twelve hours");
        let ended = tickets(0);
        assert_eq!(ended.decrypt(&ended.encrypt(b"session").unwrap()), None);
    }
}
