//! The task that drives a tunnel.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::time::{Instant, Sleep, sleep};

use super::receive::Brought;
use super::stream::{Request, Stream};
use super::{Ended, READ, Shared, State, Timing, Tunnel};
use crate::record::MAX_RECEIVED;

/// Drives a tunnel until it ends, and says why it did. `on_request` is given the peer's streams (servers only).
///
/// # Cancel safety
/// Dropping the future ends the tunnel at once, and resets its applications' connections.
pub async fn drive(tunnel: Tunnel, mut on_request: impl FnMut(Request)) -> Ended {
    let mut driver = Driver {
        timer: Box::pin(sleep(tunnel.0.timing.ping_every)),
        asked: None,
        idle_since: Some(Instant::now()),
        started: false,
        appetite: MIN_READ,
        unfinished: None,
        leave_pending: false,
        tunnel,
    };
    poll_fn(|cx| driver.poll(cx, &mut on_request)).await
}

struct Driver {
    tunnel: Tunnel,
    timer: Pin<Box<Sleep>>,
    /// Until when a ping is to be answered, and how long that is from when it was sent or anything else came.
    asked: Option<(Instant, Duration)>,
    /// Since when there are no streams.
    idle_since: Option<Instant>,
    /// What came behind the handshake has been looked at.
    started: bool,
    /// What one read may take: all that there is room for, unless it brings much for many.
    appetite: usize,
    /// What the peer had begun when it was last looked at, and since when.
    unfinished: Option<(u32, Instant)>,
    /// The peer had not confirmed our leave when it was last looked at.
    leave_pending: bool,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>, on_request: &mut impl FnMut(Request)) -> Poll<Ended> {
        let shared = self.tunnel.0.clone();
        let mut state = shared.state.borrow_mut();
        state.scheduled = false;
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
        let turn = match state.ended.clone() {
            // Cut: not a byte more goes either way.
            Some(why) => Err(why),
            None => self.turn(cx, &shared, &mut state),
        };
        let (requests, ended) = match turn {
            Ok(brought) => (brought.requests, self.is_over(&state).then_some(Ended::Closed)),
            Err(ended) => (Default::default(), Some(ended)),
        };
        if let Some(why) = ended {
            self.leave(cx, &shared, &mut state, &why);
            state.end(why.clone(), &shared.buffers);
            return Poll::Ready(why);
        }
        drop(state);
        for (token, request) in requests {
            on_request(Request { stream: Stream::new(self.tunnel.clone(), token), request });
        }
        Poll::Pending
    }

    /// One turn: send, receive, and send what receiving gave cause to.
    fn turn(&mut self, cx: &mut Context<'_>, shared: &Shared, state: &mut State) -> Result<Brought, Ended> {
        if let Some(within) = state.doubted.take() {
            self.ask(state, within);
            self.timer.as_mut().reset(Instant::now() + within);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.tick(cx, shared, state)?;
        }
        flush(cx, shared, state)?;
        let mut brought = self.receive(cx, shared, state)?;
        self.hear(&brought);
        if brought.received && !brought.full && brought.requests.is_empty() && !brought.closed {
            // The socket is empty; asking for more has this task woken when there is.
            brought = self.receive(cx, shared, state)?;
            self.hear(&brought);
        }
        if brought.received {
            // There may be more, even behind a mere part of a record: only a read that finds nothing has us woken by
            // the socket. Others first: they are woken already.
            cx.waker().wake_by_ref();
        }
        if brought.closed {
            return Err(Ended::PeerClosed);
        }
        flush(cx, shared, state)?;
        if brought.held_back && !state.outgoing.is_overfull() {
            // Room came in this very turn, and nobody has asked the socket.
            cx.waker().wake_by_ref();
        }
        Ok(brought)
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        state: &mut State,
    ) -> Result<Brought, Ended> {
        if !self.started {
            self.started = true;
            let mut first = std::mem::take(&mut state.partial);
            let brought = state.take_in(&mut first)?;
            first.drain(..brought.consumed);
            state.partial = first;
            // Whatever came, the socket has not been asked yet.
            cx.waker().wake_by_ref();
            return Ok(brought);
        }
        if state.outgoing.is_overfull() {
            // The peer asks and does not listen. Once it does, the flush that is under way wakes us.
            return Ok(Brought { held_back: true, ..Brought::default() });
        }
        let mut scratch = shared.buffers.scratch();
        let room = &mut scratch[MAX_RECEIVED..MAX_RECEIVED + self.appetite];
        let count = match shared.socket.poll_recv(cx, room) {
            Poll::Pending => return Ok(Brought::default()),
            Poll::Ready(Ok(0)) => return Err(Ended::PeerClosed),
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => return Err(Ended::Socket(Arc::new(error))),
        };
        state.alive = true;
        let start = MAX_RECEIVED - state.partial.len();
        scratch[start..MAX_RECEIVED].copy_from_slice(&state.partial);
        let received = &mut scratch[start..MAX_RECEIVED + count];
        let mut brought = state.take_in(received)?;
        shared.buffers.arrived(brought.deliveries);
        brought.full = count == self.appetite;
        self.appetite = match brought.deliveries {
            FEW.. => MIN_READ,
            // One that brought nothing has the beginning of what may be anything.
            1.. if brought.full => (self.appetite * 4).min(READ),
            _ => self.appetite,
        };
        brought.received = true;
        let left = &received[brought.consumed..];
        state.partial.clear();
        if left.is_empty() {
            // Nothing is held while a tunnel is idle.
            state.partial = Vec::new();
        } else if !brought.closed {
            state.partial.extend_from_slice(left);
        }
        Ok(brought)
    }

    /// What is to be done from time to time.
    fn tick(&mut self, cx: &mut Context<'_>, shared: &Shared, state: &mut State) -> Result<(), Ended> {
        let Timing { ping_every, ping_timeout, idle } = shared.timing;
        let now = Instant::now();
        if let Some((by, within)) = self.asked
            && now >= by
        {
            return Err(Ended::Unresponsive(within));
        }
        self.unfinished = state.h2.unfinished().map(|at| match self.unfinished {
            Some((before, since)) if before == at => (at, since),
            _ => (at, now),
        });
        if self.unfinished.is_some_and(|(_, since)| now - since >= ping_timeout) {
            // It sends, so no ping is due; but a byte now and then is nothing to wait for.
            return Err(Ended::Unresponsive(ping_timeout));
        }
        self.see_off(shared, state);
        state.h2.replenish();
        if !std::mem::take(&mut state.alive) && self.asked.is_none() {
            self.ask(state, ping_timeout);
        }
        match (state.lanes.is_empty(), self.idle_since) {
            (false, _) => self.idle_since = None,
            (true, None) => self.idle_since = Some(now),
            // It was told that we leave, and does not say that it heard it.
            (true, Some(since)) if idle.is_some_and(|idle| now - since >= idle + ping_timeout) => {
                return Err(Ended::Unresponsive(ping_timeout));
            }
            (true, Some(since)) if idle.is_some_and(|idle| now - since >= idle) => state.h2.go_away(),
            (true, Some(_)) => {}
        }
        let mut next = self.asked.map_or(ping_every, |(by, _)| ping_every.min(by - now));
        if let (Some(idle), Some(since)) = (idle, self.idle_since) {
            let ends = [since + idle, since + idle + ping_timeout].into_iter().find(|end| *end > now);
            next = ends.map_or(next, |end| next.min(end - now));
        }
        self.timer.as_mut().reset(now + next);
        // Registers the timer anew.
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Takes no more streams of a peer whose certificate has ended: nobody would accept it of a new tunnel, and peers
    /// that renew theirs come with another tunnel long before. Nor of one that does not confirm our leave.
    fn see_off(&mut self, shared: &Shared, state: &mut State) {
        if UnixTime::now().as_secs() > shared.peer_until.get() {
            state.h2.go_away();
        }
        if self.leave_pending {
            state.h2.conclude_leave();
        }
        self.leave_pending = state.h2.is_leave_pending();
    }

    /// Asks the peer for a sign of life.
    fn ask(&mut self, state: &mut State, within: Duration) {
        state.h2.ping(PING);
        self.asked = Some((Instant::now() + within, within));
    }

    /// Takes what came for a sign of life: only the answer is one for certain. Anything else may have lain in the
    /// socket since before we asked, and has us wait anew.
    fn hear(&mut self, brought: &Brought) {
        if brought.pong {
            self.asked = None;
        } else if let Some((by, within)) = &mut self.asked
            && brought.received
        {
            *by = Instant::now() + *within;
        }
    }

    /// Whether the tunnel has served its purpose.
    fn is_over(&self, state: &State) -> bool {
        state.h2.is_drained() && state.lanes.is_empty() && state.outgoing.is_empty()
    }

    /// Says good-bye as far as the socket takes it at once.
    fn leave(&self, cx: &mut Context<'_>, shared: &Shared, state: &mut State, why: &Ended) {
        let alert = match why {
            Ended::Record(error) => match error.alert() {
                Some(alert) => {
                    state.outgoing.close(&mut state.records);
                    state.records.alert(alert)
                }
                None => return,
            },
            Ended::Carrier(_) | Ended::Socket(_) | Ended::Unresponsive(_) => return,
            Ended::Closed | Ended::Dropped | Ended::PeerClosed | Ended::Protocol(_) | Ended::Revoked => {
                // A GOAWAY that says why is among the control frames.
                if state.collect_control(&shared.buffers).is_err() {
                    return;
                }
                state.outgoing.close(&mut state.records);
                state.records.close_notify()
            }
        };
        state.outgoing.last_words(&alert, &mut state.records, &shared.buffers);
        // What the kernel does not take at once is of no use to a peer that is given up.
        let _ = state.outgoing.poll_flush(cx, &shared.socket, &mut state.records, &shared.buffers);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let shared = &self.tunnel.0;
        shared.state.borrow_mut().end(Ended::Dropped, &shared.buffers);
    }
}

/// Sends what was collected, and lets those go on who waited for room.
fn flush(cx: &mut Context<'_>, shared: &Shared, state: &mut State) -> Result<(), Ended> {
    state.collect_control(&shared.buffers)?;
    let State { outgoing, records, .. } = state;
    if let Poll::Ready(sent) = outgoing.poll_flush(cx, &shared.socket, records, &shared.buffers) {
        sent?;
        state.unblock();
    }
    Ok(())
}

const PING: [u8; 8] = *b"alive?\0\0";

/// What is read of a peer that has much for many, and at first: a whole record.
const MIN_READ: usize = MAX_RECEIVED;

/// From so many writes to applications on, a turn is long: in a full read there is payload for 24,000, and meanwhile no other
/// task of the worker runs.
const FEW: u64 = 256;
