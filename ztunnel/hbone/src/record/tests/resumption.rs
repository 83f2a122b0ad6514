//! Sessions that are resumed when what the peer proved at their beginning does not count any more.
//!
//! rustls asks no verifier about a resumed session. That a changed trust comes with other tickets keeps such sessions
//! from being resumed in the first place; here they are nevertheless, as by a mistake there, or as time passes.

use std::time::Duration;

use certs::{PeerError, PeerIdentities, RevocationLists, RootFiles};
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use rustls::pki_types::UnixTime;

use super::super::handshake::{HandshakeError, accept_with, connect_with};
use super::*;

/// A mesh of which both ends may think anew.
struct Changing {
    root: RootFiles,
    client: IdentityConfigs,
    server: IdentityConfigs,
}

/// What has changed between two connections.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    /// The peer's certificate has ended.
    Expired,
    /// Another identity is expected of the peer.
    OtherIdentity,
    /// The peer's certificate was revoked.
    Revoked,
    /// The peer's root left the bundle, another one came.
    RootGone,
    /// The peer's trust domain is not accepted any more.
    DomainGone,
}

impl Changing {
    fn new() -> Self {
        let root = Authority::make_root("mesh", 2 * LIFETIME, UnixTime::now()).unwrap();
        let authority = Authority::from_pem(&root.certificate, &root.key).unwrap();
        let bundles = Arc::new(bundles(&root.certificate));
        let configs = |name| {
            let credential = credential_of(&authority, &id(name));
            IdentityConfigs::new(Arc::new(credential), bundles.clone(), 1).unwrap()
        };
        Self { client: configs("client"), server: configs("server"), root }
    }

    /// Has a connection leave a ticket at the client.
    async fn leave_ticket(&self) {
        let (client, server) = self.connect_again(Change::Nothing, Change::Nothing).await;
        let (mut client, mut server) = (Driver::from(client.unwrap()), Driver::from(server.unwrap()));
        server.write(b"x").await;
        client.read(1).await;
    }

    /// Connects as ever, while both ends judge each other by what has changed in their eyes.
    async fn connect_again(
        &self,
        at_client: Change,
        at_server: Change,
    ) -> (Result<Established, HandshakeError>, Result<Established, HandshakeError>) {
        let (right, left) = socket_pair();
        // Whoever is refused hears of it only when it has said all.
        let _open = left.try_clone().unwrap();
        let left = Socket::new(left).unwrap();
        let before = self.towards_server(&self.client, Change::Nothing);
        let (client, server) = (
            self.after(&self.client, &self.server, at_client),
            self.after(&self.server, &self.client, at_server),
        );
        let client = self.towards_server(&client, at_client);
        tokio::join!(
            connect_with(left, before.config(), ADDRESS, |chain| client.admit(chain, at_client.now())),
            accept_with(right, self.server.server().config(), |chain| {
                server.server().admit(chain, at_server.now())
            }),
        )
    }

    fn towards_server(&self, client: &IdentityConfigs, change: Change) -> Arc<ClientTls> {
        let accepted: PeerIdentities = match change {
            Change::OtherIdentity => id("other").into(),
            _ => id("server").into(),
        };
        client.client(&"pod-1".into(), &accepted).unwrap()
    }

    /// What `end` believes after a change that concerns `peer`.
    fn after(&self, end: &IdentityConfigs, peer: &IdentityConfigs, change: Change) -> IdentityConfigs {
        let bundles = match change {
            Change::Nothing | Change::Expired | Change::OtherIdentity => bundles(&self.root.certificate),
            Change::Revoked => {
                let root = TrustBundle::from_pem(self.root.certificate.as_bytes()).unwrap();
                let list = RevocationLists::parse(&self.list(peer.credential())).unwrap();
                Bundles::from_iter([("cluster.local".parse().unwrap(), root.with_revocations(list))])
            }
            Change::RootGone => {
                bundles(&Authority::make_root("mesh", LIFETIME, UnixTime::now()).unwrap().certificate)
            }
            Change::DomainGone => Bundles::default(),
        };
        IdentityConfigs::new(end.credential().clone(), Arc::new(bundles), 2).unwrap()
    }

    /// A revocation list with the number of a credential.
    fn list(&self, revoked: &Credential) -> Vec<u8> {
        let serial = certs::serial_number(&revoked.chain()[0]).unwrap();
        let serial: Vec<u8> = (0..serial.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&serial[at..at + 2], 16).unwrap())
            .collect();
        let now = time::OffsetDateTime::now_utc();
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let key = KeyPair::from_pem(&self.root.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.root.certificate, key).unwrap();
        params.signed_by(&issuer).unwrap().pem().unwrap().into_bytes()
    }
}

impl Change {
    /// When the second connection is judged.
    fn now(self) -> UnixTime {
        let now = Duration::from_secs(UnixTime::now().as_secs());
        UnixTime::since_unix_epoch(if matches!(self, Self::Expired) { now + LIFETIME } else { now })
    }

    fn is_why(self, error: &HandshakeError) -> bool {
        let HandshakeError::Peer(refused) = error else { return false };
        match self {
            Self::Nothing => false,
            Self::Expired => matches!(refused, PeerError::Chain { source, .. } if is_expired(source)),
            Self::OtherIdentity => matches!(refused, PeerError::IdentityMismatch { .. }),
            Self::Revoked => matches!(refused, PeerError::Revoked { .. }),
            Self::RootGone => matches!(refused, PeerError::Chain { .. }),
            Self::DomainGone => matches!(refused, PeerError::UntrustedDomain(_)),
        }
    }
}

#[tokio::test]
async fn a_server_whose_session_is_resumed_is_judged_by_what_counts_now() {
    let mesh = Changing::new();
    for change in
        [Change::Expired, Change::OtherIdentity, Change::Revoked, Change::RootGone, Change::DomainGone]
    {
        mesh.leave_ticket().await;
        let (client, server) = mesh.connect_again(change, Change::Nothing).await;
        assert!(server.unwrap().resumed, "{change:?}");
        let refused = client.map(|established| established.peer).unwrap_err();
        assert!(change.is_why(&refused), "{change:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_client_whose_session_is_resumed_is_judged_by_what_counts_now() {
    let mesh = Changing::new();
    for change in [Change::Expired, Change::Revoked, Change::RootGone, Change::DomainGone] {
        mesh.leave_ticket().await;
        let (client, server) = mesh.connect_again(Change::Nothing, change).await;
        assert!(client.unwrap().resumed, "{change:?}");
        let refused = server.map(|established| established.peer).unwrap_err();
        assert!(change.is_why(&refused), "{change:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_ticket_is_not_used_in_another_epoch_of_either_end() {
    let mesh = Changing::new();
    let resumed = async |client: &IdentityConfigs, server: &IdentityConfigs| {
        mesh.leave_ticket().await;
        let (left, right) = socket_pair();
        let right = Socket::new(right).unwrap();
        let tls = mesh.towards_server(client, Change::Nothing);
        let (client, server) = tokio::join!(
            super::super::connect(left, &tls, ADDRESS),
            super::super::accept(right, server.server())
        );
        (client.unwrap().resumed, server.unwrap().resumed)
    };
    let client = mesh.after(&mesh.client, &mesh.server, Change::Nothing);
    let server = mesh.after(&mesh.server, &mesh.client, Change::Nothing);
    assert_eq!(resumed(&mesh.client, &mesh.server).await, (true, true));
    assert_eq!(resumed(&client, &mesh.server).await, (false, false));
    assert_eq!(resumed(&mesh.client, &server).await, (false, false));
}

fn bundles(root: &str) -> Bundles {
    let root = TrustBundle::from_pem(root.as_bytes()).unwrap();
    Bundles::from_iter([("cluster.local".parse().unwrap(), root)])
}

/// Whether it says that a certificate has ended.
fn is_expired(error: &impl std::fmt::Debug) -> bool {
    format!("{error:?}").starts_with("CertExpired")
}

/// A bit longer than a leaf of these tests.
const LIFETIME: Duration = Duration::from_hours(25);
