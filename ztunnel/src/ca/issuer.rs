//! The CA's decision about one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certs::wire::{CertificateRequest, CertificateResponse, CertificateService};
use certs::{Clock, LeafRequest, describe, pem_of, serial_number};
use identity::{SpiffeId, TrustDomain};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::gate::{Call, Caller, Gate, Rates};
use super::metrics::CaMetrics;
use super::refusal::Refusal;
use super::root::FollowedRoot;

/// What an issuer goes by.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// The trust domain whose identities it signs.
    pub trust_domain: TrustDomain,
    /// Other names of that trust domain: identities there are those of the same workloads, and signed as asked.
    pub trust_aliases: Vec<TrustDomain>,
    /// How long a leaf lasts when nobody asks for another time.
    pub default_ttl: Duration,
    /// Longest life of a leaf.
    pub max_ttl: Duration,
    /// Calls a second of one caller.
    pub calls_per_second: u32,
    /// Calls that a caller may make at once.
    pub burst: u32,
}

/// Signs what it should, and nothing else.
pub struct Issuer {
    settings: IssuerSettings,
    root: FollowedRoot,
    gate: Gate,
    clock: Arc<dyn Clock>,
    rates: Rates,
    metrics: CaMetrics,
}

/// The issuer, seen from one connection.
pub(super) struct Desk {
    pub(super) issuer: Arc<Issuer>,
    pub(super) peer: SocketAddr,
}

/// Who asked for whom, as far as is known: for the audit.
#[derive(Default)]
struct Asked {
    caller: Option<String>,
    identity: Option<SpiffeId>,
}

impl Issuer {
    /// An issuer of `root` for whom `gate` lets in.
    pub fn new(
        settings: IssuerSettings,
        root: FollowedRoot,
        gate: Gate,
        clock: Arc<dyn Clock>,
        metrics: CaMetrics,
    ) -> Self {
        let rates = Rates::new(settings.calls_per_second, settings.burst);
        Self { settings, root, gate, clock, rates, metrics }
    }

    async fn decide(
        &self,
        request: &Request<CertificateRequest>,
        peer: SocketAddr,
        asked: &mut Asked,
    ) -> Result<CertificateResponse, Refusal> {
        let (now, body) = (self.clock.now(), request.get_ref());
        let token = bearer(request).ok_or(Refusal::NoToken)?;
        let call = Call { token, csr: &body.csr, peer: peer.ip(), now };
        let caller = self.gate.authenticate(&call).await?;
        asked.caller = Some(caller.name.clone());
        if !self.rates.admit(&caller.name, Instant::now()) {
            return Err(Refusal::RateLimit { caller: caller.name });
        }
        self.gate.record(&caller, now)?;
        let leaf = LeafRequest::from_pem(&body.csr)?;
        let identity = asked.identity.insert(leaf.identity().clone());
        self.check(&caller, identity, body.impersonated()).await?;
        let root = self.root.current();
        let ttl = self.ttl(body.validity_duration);
        let chain = root.authority.sign(&leaf, ttl, now)?;
        let below_root = chain.len().saturating_sub(1);
        let mut cert_chain: Vec<_> = chain[..below_root].chunks(1).map(pem_of).collect();
        // Istio's clients take all of the last text for roots.
        cert_chain.push(pem_of(&root.trusted));
        let serial = serial_number(&chain[0]).unwrap_or_default();
        let caller = caller.name;
        tracing::info!(target: "audit", caller, %identity, %peer, serial, ?ttl, "certificate signed");
        Ok(CertificateResponse { cert_chain })
    }

    /// A caller may ask for whom the gate permits, in our trust domain; `named` is on whose behalf it says that it asks.
    async fn check(&self, caller: &Caller, identity: &SpiffeId, named: Option<&str>) -> Result<(), Refusal> {
        if let Some(named) = named.filter(|named| *named != identity.as_str()) {
            let (got, want) = (identity.clone(), named.chars().take(MAX_SHOWN).collect());
            return Err(Refusal::IdentityMismatch { got, want });
        }
        let own = self.own(identity).ok_or_else(|| Refusal::TrustDomain { identity: identity.clone() })?;
        self.gate.permit(caller, &own, named.is_some()).await
    }

    /// The identity under our own trust domain's first name; none when it is of another.
    fn own(&self, identity: &SpiffeId) -> Option<SpiffeId> {
        let domain = identity.trust_domain_str();
        if domain == self.settings.trust_domain.as_str() {
            return Some(identity.clone());
        }
        let is_alias = self.settings.trust_aliases.iter().any(|alias| alias.as_str() == domain);
        let own =
            SpiffeId::new(&self.settings.trust_domain, identity.namespace(), identity.service_account());
        is_alias.then_some(own.ok()?)
    }

    /// How long a leaf lasts for which so many seconds are asked.
    fn ttl(&self, asked: i64) -> Duration {
        let asked = u64::try_from(asked).ok().filter(|seconds| *seconds > 0);
        let ttl = asked.map_or(self.settings.default_ttl, Duration::from_secs);
        ttl.min(self.settings.max_ttl)
    }
}

impl CertificateService for Desk {
    async fn create_certificate(
        &self,
        request: Request<CertificateRequest>,
    ) -> Result<CertificateResponse, Status> {
        let issuer = &self.issuer;
        issuer.metrics.requested();
        let mut asked = Asked::default();
        match issuer.decide(&request, self.peer, &mut asked).await {
            Ok(response) => {
                issuer.metrics.signed();
                Ok(response)
            }
            Err(refusal) => {
                issuer.metrics.refused(&refusal);
                let Asked { caller, identity } = asked;
                let (reason, cause, peer) = (refusal.reason(), describe(&refusal), self.peer);
                let identity = identity.as_ref().map(SpiffeId::as_str);
                tracing::warn!(target: "audit", caller, identity, %peer, reason, cause, "certificate refused");
                Err(Status::from(&refusal))
            }
        }
    }
}

fn bearer(request: &Request<CertificateRequest>) -> Option<&str> {
    let header = request.metadata().get("authorization")?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Characters shown of a text that callers choose.
const MAX_SHOWN: usize = 300;
