//! Addresses that pass from one identity to the next.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness::serve::{Handler, Server};
use harness::{AccessRecord, Cluster, LabError, PATIENCE, Pod, PodSpec, Stack, eventually};
use serde_json::json;

use crate::scene::{ECHO, Scene, cluster};

#[test]
fn an_address_that_is_used_again_a_thousand_times_never_gets_a_connection_that_was_for_another()
-> Result<(), LabError> {
    let mut cluster = cluster(Stack::Dual);
    // What comes is let in under an identity that was proved, or not at all.
    cluster.yaml(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n",
    )?;
    // Each calls one address: where a port calls a second one, redirection has to give it another number.
    (0..ADDRESSES).for_each(|place| cluster.pod(PodSpec::new("shop", &caller(place)).node("node1")));
    // Long enough for a SYN that the one before did not get to be sent again: then its successor gets it.
    let scene = Scene::with(&cluster, json!({ "timeouts": { "connect": "1500ms" } }))?;
    let callers = Callers::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for place in (0..ADDRESSES).flat_map(|place| [place; CALLERS]) {
            let (callers, client) = (&callers, scene.mesh.pod(&format!("shop/{}", caller(place))));
            scope.spawn(move || callers.call(&client, place));
        }
        let passed: Result<Vec<Server>, LabError> = (1..=WAVES).try_fold(Vec::new(), |before, wave| {
            callers.wave.store(wave, Ordering::SeqCst);
            pass_on(&scene, &mut cluster, wave, before)?;
            let servers = serve_all(&scene, wave)?;
            callers.wait_until_reached(wave)?;
            Ok(servers)
        });
        callers.over.store(true, Ordering::SeqCst);
        passed
    })?;
    let heard = callers.heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (answers, took) = (heard.answers.len(), began.elapsed());
    println!("{answers} answers while {ADDRESSES} addresses passed on {WAVES} times in {took:?}");
    assert_eq!(heard.changed, [] as [String; 0], "nobody is followed by another in a connection");
    for Answer { name, from, to, .. } in &heard.answers {
        assert!((*from..=*to).contains(&name.wave), "{name:?} in waves {from} to {to}");
    }
    assert!(answers > 5 * ADDRESSES * WAVES, "there was little traffic: {answers} answers");
    check_records(&scene, &heard.answers)
}

/// How many addresses pass on at a time. Every other one is of the client's own node; half are IPv6, of pods that have
/// nothing else.
const ADDRESSES: usize = 20;

/// How often each of them does.
const WAVES: usize = 1000 / ADDRESSES;

/// How many threads call each address.
const CALLERS: usize = 2;

/// Between two calls of one caller: so much that there is time for the pods.
const PACE: Duration = Duration::from_millis(30);

/// Who has an address in a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tenant {
    place: usize,
    wave: usize,
}

/// Those who call all the time.
#[derive(Default)]
struct Callers {
    wave: AtomicUsize,
    over: AtomicBool,
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Default)]
struct Heard {
    answers: Vec<Answer>,
    /// The wave whose tenant was heard last, by address.
    reached: [usize; ADDRESSES],
    /// Connections in which somebody else answered than before.
    changed: Vec<String>,
}

/// Who answered a new connection, and between which waves.
struct Answer {
    name: Tenant,
    /// The client's own address.
    local: SocketAddr,
    from: usize,
    to: usize,
}

/// A connection by the client's own address, and the identity that it was to.
type Call = (SocketAddr, Option<String>);

/// A connection to whoever has an address, who says his name as often as he is asked.
struct Talk(BufReader<TcpStream>);

impl Tenant {
    fn name(self) -> String {
        format!("tenant-{}-{}", self.place, self.wave)
    }

    fn parse(name: &str) -> Option<Self> {
        let (place, wave) = name.trim_end().strip_prefix("tenant-")?.split_once('-')?;
        Some(Self { place: place.parse().ok()?, wave: wave.parse().ok()? })
    }

    fn identity(self) -> String {
        format!("spiffe://cluster.local/ns/shop/sa/{}", self.name())
    }

    fn spec(self) -> PodSpec {
        let (node, ip) = at(self.place);
        let uid = format!("00000000-0000-4000-9000-{:06}{:06}", self.place, self.wave);
        PodSpec::new("shop", &self.name()).node(node).addresses(&[ip]).uid(&uid)
    }
}

impl Callers {
    /// Calls an address until all is over, and asks again in the connection before.
    fn call(&self, client: &Pod, place: usize) {
        let to = SocketAddr::new(at(place).1, ECHO);
        let mut kept: Option<(Tenant, Talk)> = None;
        while !self.over.load(Ordering::SeqCst) {
            if let Some((name, mut talk)) = kept.take()
                && let Some(now) = talk.ask()
                && now != name
            {
                self.heard().changed.push(format!("{name:?} became {now:?}"));
            }
            // The pod of the wave before may still be there when its successor is announced.
            let from = self.wave.load(Ordering::SeqCst).saturating_sub(1);
            if let Some((local, name, talk)) = Talk::open(client, to) {
                let to = self.wave.load(Ordering::SeqCst);
                let mut heard = self.heard();
                heard.answers.push(Answer { name, local, from, to });
                heard.reached[name.place] = name.wave;
                drop(heard);
                self.news.notify_all();
                kept = Some((name, talk));
            }
            std::thread::sleep(PACE);
        }
    }

    /// Waits until each tenant of the wave has been heard.
    fn wait_until_reached(&self, wave: usize) -> Result<(), LabError> {
        let missing = |heard: &mut Heard| heard.reached.iter().any(|reached| *reached != wave);
        let waited = self.news.wait_timeout_while(self.heard(), PATIENCE, missing);
        let (heard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() {
            return Ok(());
        }
        let what = format!("not all are reached in wave {wave}: {:?}", heard.reached);
        Err(LabError::Timeout { what, waited: PATIENCE })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Talk {
    /// A connection, the own address in it, and who answered.
    fn open(client: &Pod, to: SocketAddr) -> Option<(SocketAddr, Tenant, Self)> {
        let stream = client.connect(to).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
        let local = stream.local_addr().ok()?;
        let mut talk = Self(BufReader::new(stream));
        let name = talk.ask()?;
        Some((local, name, talk))
    }

    fn ask(&mut self) -> Option<Tenant> {
        self.0.get_mut().write_all(b"?").ok()?;
        let mut name = String::new();
        self.0.read_line(&mut name).ok()?;
        Tenant::parse(&name)
    }
}

/// The pod that calls an address.
fn caller(place: usize) -> String {
    format!("caller-{place}")
}

/// Where an address is, and which one.
fn at(place: usize) -> (&'static str, IpAddr) {
    let (node, number) = if place.is_multiple_of(2) { ("node2", 2) } else { ("node1", 1) };
    let host = 200 + u8::try_from(place).expect("there are few");
    let ip = match place / 2 % 2 {
        0 => IpAddr::from([10, 244, number, host]),
        _ => IpAddr::from([0xfd00, 0x244, number.into(), 0, 0, 0, 0, host.into()]),
    };
    (node, ip)
}

/// Gives every address to its next tenant; those before are served to the last.
fn pass_on(scene: &Scene, cluster: &mut Cluster, wave: usize, before: Vec<Server>) -> Result<(), LabError> {
    for place in 0..ADDRESSES {
        cluster.remove("Pod", "shop", &Tenant { place, wave: wave - 1 }.name());
        cluster.pod(Tenant { place, wave }.spec());
    }
    scene.mesh.update(cluster)?;
    drop(before);
    Ok(())
}

/// Has each tenant of a wave say its name whenever it is asked.
fn serve_all(scene: &Scene, wave: usize) -> Result<Vec<Server>, LabError> {
    let serve = |place| {
        let name = Tenant { place, wave }.name();
        let said = format!("{name}\n");
        let answer = Handler::each(move |mut stream| {
            let mut byte = [0];
            while std::io::Read::read(&mut stream, &mut byte)? > 0 {
                stream.write_all(said.as_bytes())?;
            }
            Ok(())
        });
        scene.mesh.pod(&format!("shop/{name}")).serve(ECHO, answer)
    };
    (0..ADDRESSES).map(serve).collect()
}

/// That each answer came from whom the client's daemon has on record for it.
fn check_records(scene: &Scene, answers: &[Answer]) -> Result<(), LabError> {
    // Ports are used again, so a connection is not known by its port alone.
    let heard = counted(answers.iter().map(|it| (it.local, Some(it.name.identity()))));
    let daemon = scene.mesh.daemon("node1");
    let mut wrong = Vec::new();
    let done = eventually("each answer is on record", || {
        let mut records = daemon.records()?;
        records.retain(|it| it.direction == "outbound");
        records.iter().for_each(check_identity);
        let believed = counted(records.iter().map(|it| (it.source, it.destination_identity.clone())));
        let times = |call: &Call| believed.get(call).copied().unwrap_or_default();
        // Until the daemon hears of a pod, there is nobody at its address, and nobody is taken for another.
        let is_known = |call: &Call, count| times(call) + times(&(call.0, None)) >= count;
        let unknown = heard.iter().filter(|(call, count)| !is_known(call, **count));
        wrong = unknown.map(|(call, count)| (call.clone(), *count)).collect();
        Ok(wrong.is_empty().then_some(()))
    });
    let lost = daemon.scrape()?.sum("ambient_log_lines_lost_total", &[]);
    assert!(done.is_ok(), "others answered than whom the daemon knew ({lost:?} lines lost): {wrong:#?}");
    Ok(())
}

/// That whoever proved his identity is who was called.
fn check_identity(record: &AccessRecord) {
    let called = record.destination_workload.as_deref().and_then(Tenant::parse);
    let proved = record.destination_identity.clone();
    assert!(proved.is_none() || proved == called.map(Tenant::identity), "{record:?}");
}

/// How often there is each.
fn counted(all: impl Iterator<Item = Call>) -> HashMap<Call, usize> {
    let mut counts = HashMap::new();
    all.for_each(|it| *counts.entry(it).or_default() += 1);
    counts
}
