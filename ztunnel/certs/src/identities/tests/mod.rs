//! A node's identities, with a CA that does as it is told and a clock that stands still.

mod cache;
mod fetching;
mod renewal;
mod revocation;
mod trust;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Identities, IdentityState, IdentityStatus};
use crate::{Authority, Clock, LeafRequest, SignError, SignedChain, Signer, TrustFiles, pem_of};

/// A node whose identities are kept up to date.
struct Node {
    identities: Identities,
    ca: Arc<Ca>,
    clock: Arc<TestClock>,
    folder: tempfile::TempDir,
    _upkeep: JoinSet<()>,
}

/// Signs, unless it is told otherwise.
struct Ca {
    clock: Arc<TestClock>,
    state: Mutex<CaState>,
    /// One permit per answer.
    answers: Semaphore,
}

struct CaState {
    authority: Authority,
    hand_out_own_root: bool,
    /// Handed out besides the authority's own.
    more_roots: Vec<CertificateDer<'static>>,
    lifetime: Duration,
    /// How far its clock is ahead, in seconds.
    ahead: i64,
    failures: VecDeque<SignError>,
    down: bool,
    calls: Vec<(SpiffeId, Instant)>,
    in_flight: usize,
    most_in_flight: usize,
}

/// Runs with tokio's clock, from the time at which it was made; it may be set.
struct TestClock {
    started: Instant,
    time: Mutex<Duration>,
}

impl Node {
    /// A node with a CA that answers.
    fn new() -> Self {
        let node = Self::with_mute_ca();
        node.ca.answers.add_permits(Semaphore::MAX_PERMITS);
        node
    }

    /// A node with a CA that answers when it is [told to](Semaphore::add_permits).
    fn with_mute_ca() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock {
            started: Instant::now(),
            time: Mutex::new(Duration::from_secs(UnixTime::now().as_secs())),
        });
        let ca = Arc::new(Ca::new(clock.clone()));
        write_roots(&folder.path().join("roots.pem"), &[ca.root()]);
        let trust = TrustFiles {
            domain: "cluster.local".parse().unwrap(),
            aliases: ["old.example".parse().unwrap(), "older.example".parse().unwrap()].into(),
            roots: folder.path().join("roots.pem"),
            federated: [
                ("partner.example".parse().unwrap(), folder.path().join("partner.pem")),
                ("old.example".parse().unwrap(), folder.path().join("roots.pem")),
            ]
            .into(),
            revocations: [("cluster.local".parse().unwrap(), folder.path().join("crl.pem"))].into(),
        };
        let (identities, upkeep) = Identities::start(ca.clone(), trust, clock.clone()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep.run());
        Self { identities, ca, clock, folder, _upkeep: tasks }
    }

    fn want(&self, names: &[&str]) {
        self.identities.want(names.iter().map(|name| id(name)).collect::<BTreeSet<_>>());
    }

    async fn ready(&self, name: &str) -> Arc<crate::IdentityConfigs> {
        self.identities.ready(&id(name), Instant::now() + Duration::from_secs(3600)).await.unwrap()
    }

    fn status(&self, name: &str) -> IdentityStatus {
        let statuses = self.identities.statuses();
        statuses.iter().find(|status| status.identity == id(name)).unwrap().clone()
    }

    fn state(&self, name: &str) -> IdentityState {
        self.status(name).state
    }
}

impl Ca {
    fn new(clock: Arc<TestClock>) -> Self {
        let state = CaState {
            authority: Authority::ephemeral("test").unwrap(),
            hand_out_own_root: true,
            more_roots: Vec::new(),
            lifetime: Duration::from_secs(24 * 3600),
            ahead: 0,
            failures: VecDeque::new(),
            down: false,
            calls: Vec::new(),
            in_flight: 0,
            most_in_flight: 0,
        };
        Self { clock, state: Mutex::new(state), answers: Semaphore::new(0) }
    }

    fn set(&self, change: impl FnOnce(&mut CaState)) {
        change(&mut self.state.lock().unwrap());
    }

    fn root(&self) -> CertificateDer<'static> {
        self.state.lock().unwrap().authority.root().clone()
    }

    /// Whose certificates it was asked for, in order.
    fn asked(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.calls.iter().map(|(identity, _)| identity.service_account().to_owned()).collect()
    }

    /// How much time passed between calls, in milliseconds.
    fn gaps(&self) -> Vec<u128> {
        let state = self.state.lock().unwrap();
        state.calls.windows(2).map(|pair| (pair[1].1 - pair[0].1).as_millis()).collect()
    }

    fn answer(&self, csr: &str) -> Result<SignedChain, SignError> {
        let mut state = self.state.lock().unwrap();
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        if state.down {
            return Err(unreachable_ca());
        }
        let now = self.clock.now().as_secs().checked_add_signed(state.ahead).unwrap();
        let request = LeafRequest::from_pem(csr).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let mut chain = state.authority.sign(&request, state.lifetime, now).unwrap();
        let mut roots = vec![chain.pop().unwrap()];
        if !state.hand_out_own_root {
            roots.clear();
        }
        roots.extend(state.more_roots.iter().cloned());
        Ok(SignedChain { chain, roots })
    }
}

impl Signer for Ca {
    fn sign<'a>(
        &'a self,
        identity: &'a SpiffeId,
        csr: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<SignedChain, SignError>> + Send + 'a>> {
        Box::pin(async move {
            self.set(|state| {
                state.calls.push((identity.clone(), Instant::now()));
                state.in_flight += 1;
                state.most_in_flight = state.most_in_flight.max(state.in_flight);
            });
            self.answers.acquire().await.unwrap().forget();
            self.set(|state| state.in_flight -= 1);
            self.answer(csr)
        })
    }
}

impl TestClock {
    fn set_forward(&self, by: Duration) {
        *self.time.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(*self.time.lock().unwrap() + self.started.elapsed())
    }
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/default/sa/{name}").parse().unwrap()
}

fn write_roots(path: &Path, roots: &[CertificateDer<'_>]) {
    std::fs::write(path, pem_of(roots)).unwrap();
}

fn unreachable_ca() -> SignError {
    SignError::Unreachable(tonic::Status::unavailable("no route to host"))
}

/// Lets everything happen that is to happen within `time`.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
