//! The end that is the h2 crate's.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::{Ping, PingPong, SendStream, client, server};
use http::{Method, Request, Response};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use crate::random::Random;
use crate::scenario::{Change, Fields, Script, Theirs};
use crate::stream::Stream;
use crate::{Case, End, Scenario};

/// Runs a client until its connection is over.
pub(crate) async fn run_client(case: Rc<Case>, socket: DuplexStream) {
    let (mut requests, connection) = client_builder(&case.scenario.theirs).handshake(socket).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn_local(drive_client(case.clone(), connection));
    let mut random = case.random();
    for (script, number) in case.scenario.streams.iter().zip((1..).step_by(2)) {
        if case.is_last(number) {
            finish(&mut tasks, 1).await;
            // Until nothing is on its way: the clock of the test stands still as long as anybody has anything to do.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let at_once = script.client.body == 0 && script.client.ends_with_last && script.client.cut.is_none();
        let ends = at_once && script.waits != Some(End::Client);
        let (response, send) = match requests.send_request(request(script, number), ends) {
            Ok(opened) => opened,
            // Its server has said good-bye.
            Err(error) => {
                assert!(case.scenario.leaves_after.is_some(), "{error}");
                break;
            }
        };
        assert_eq!(response.stream_id().as_u32(), number);
        // The crate wakes one task of a stream only: this one as long as the stream waits for others to end.
        if let Err(error) = poll_fn(|cx| requests.poll_ready(cx)).await {
            assert!(case.scenario.leaves_after.is_some(), "{error}");
            break;
        }
        tasks.spawn_local(Stream::of_client(case.clone(), number, response, send, ends).run());
        for _ in 0..random.bits(4) {
            tokio::task::yield_now().await;
        }
    }
    if random.chance(50) {
        finish(&mut tasks, 1).await;
    }
    drop(requests);
    finish(&mut tasks, 0).await;
}

/// Runs a server until its connection is over.
pub(crate) async fn run_server(case: Rc<Case>, socket: DuplexStream) {
    let mut connection: server::Connection<_, Bytes> =
        server_builder(&case.scenario.theirs).handshake(socket).await.unwrap();
    let mut tasks = JoinSet::new();
    let mut upkeep = Upkeep::new(case.clone(), connection.ping_pong().unwrap());
    let mut accepted = 0;
    loop {
        let leave = case.scenario.leaves_after.is_some_and(|leave| accepted == leave.after);
        if leave {
            connection.graceful_shutdown();
        }
        accepted += 1;
        let next = poll_fn(|cx| {
            if let Some(change) = upkeep.change(cx) {
                let done = match change {
                    Change::ConnectionWindow(size) => {
                        connection.set_target_window_size(size);
                        true
                    }
                    Change::InitialWindow(size) => connection.set_initial_window_size(size).is_ok(),
                };
                upkeep.changed(done);
            }
            upkeep.ping(cx);
            connection.poll_accept(cx)
        });
        let Some(next) = next.await else { break };
        let (request, respond) = next.expect("our client keeps the rules");
        tasks.spawn_local(Stream::of_server(case.clone(), request, respond).run());
    }
    finish(&mut tasks, 0).await;
}

async fn drive_client(case: Rc<Case>, mut connection: client::Connection<DuplexStream, Bytes>) {
    let mut upkeep = Upkeep::new(case, connection.ping_pong().unwrap());
    let ended = poll_fn(|cx| {
        if let Some(change) = upkeep.change(cx) {
            let done = match change {
                Change::ConnectionWindow(size) => {
                    connection.set_target_window_size(size);
                    true
                }
                Change::InitialWindow(size) => connection.set_initial_window_size(size).is_ok(),
            };
            upkeep.changed(done);
        }
        upkeep.ping(cx);
        std::pin::Pin::new(&mut connection).poll(cx)
    });
    ended.await.expect("our server keeps the rules");
}

/// Waits until so many tasks are left.
async fn finish(tasks: &mut JoinSet<()>, left: usize) {
    while tasks.len() > left {
        tasks.join_next().await.expect("there are some").unwrap();
    }
}

/// What a connection does beside its streams.
struct Upkeep {
    case: Rc<Case>,
    random: Random,
    changes: VecDeque<Change>,
    ping_pong: PingPong,
    pings: usize,
    asked: bool,
}

impl Upkeep {
    fn new(case: Rc<Case>, ping_pong: PingPong) -> Self {
        let pings = case.scenario.pings[case.ours.other().index()];
        let changes = case.scenario.theirs.changes.clone();
        Self { random: case.random(), case, changes, ping_pong, pings, asked: false }
    }

    /// The next change, if it is time for it.
    fn change(&mut self, cx: &Context<'_>) -> Option<Change> {
        let change = *self.changes.front()?;
        cx.waker().wake_by_ref();
        self.random.chance(10).then_some(change)
    }

    fn changed(&mut self, done: bool) {
        if done {
            self.changes.pop_front();
        }
    }

    fn ping(&mut self, cx: &mut Context<'_>) {
        if self.asked
            && let Poll::Ready(pong) = self.ping_pong.poll_pong(cx)
        {
            self.asked = false;
            if pong.is_ok() {
                self.case.journal.borrow_mut().pongs[self.case.ours.other().index()] += 1;
            }
        }
        if !self.asked && self.pings > 0 && self.ping_pong.send_ping(Ping::opaque()).is_ok() {
            self.asked = true;
            self.pings -= 1;
            cx.waker().wake_by_ref();
        }
    }
}

fn client_builder(theirs: &Theirs) -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(theirs.initial_window)
        .initial_connection_window_size(theirs.connection_window)
        .max_frame_size(theirs.max_frame_size)
        .max_header_list_size(theirs.max_header_list)
        .header_table_size(theirs.header_table_size)
        // Its own limits are not what this is about.
        .data_frame_budget(usize::MAX)
        .enable_push(false);
    builder
}

fn server_builder(theirs: &Theirs) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(theirs.initial_window)
        .initial_connection_window_size(theirs.connection_window)
        .max_frame_size(theirs.max_frame_size)
        .max_header_list_size(theirs.max_header_list)
        .header_table_size(theirs.header_table_size)
        .max_concurrent_streams(theirs.max_streams)
        .data_frame_budget(usize::MAX);
    builder
}

fn request(script: &Script, number: u32) -> Request<()> {
    let mut request = Request::builder().method(Method::CONNECT).uri(Scenario::authority(number));
    let Fields { baggage, forwarded, traceparent, network, unknown } = &script.client.fields;
    for (name, value) in unknown {
        request = request.header(name, &value[..]);
    }
    for (name, values) in [
        ("baggage", &baggage[..]),
        ("forwarded", forwarded),
        ("traceparent", traceparent.as_slice()),
        ("x-forwarded-network", network.as_slice()),
    ] {
        for value in values {
            request = request.header(name, value);
        }
    }
    request.body(()).unwrap()
}

/// What a server answers.
pub(crate) fn response(script: &Script) -> Response<()> {
    let mut response = Response::builder().status(script.status);
    let Fields { baggage, unknown, .. } = &script.server.fields;
    for (name, value) in unknown {
        response = response.header(name, &value[..]);
    }
    for value in baggage {
        response = response.header("baggage", value);
    }
    response.body(()).unwrap()
}

/// A stream's sending half.
pub(crate) type Send = SendStream<Bytes>;
