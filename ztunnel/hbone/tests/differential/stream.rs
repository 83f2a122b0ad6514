//! One stream of the h2 crate's end.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Error, Reason, RecvStream};
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};

use crate::journal::{Head, content};
use crate::random::Random;
use crate::scenario::{Part, Script, When};
use crate::theirs::{Send, response};
use crate::{Case, End};

/// One stream, and how far it is.
pub(crate) struct Stream {
    case: Rc<Case>,
    end: End,
    number: u32,
    random: Random,
    head: Awaited,
    send: Option<Send>,
    receive: Option<RecvStream>,
    sent: usize,
    ended: bool,
    received: usize,
    /// Received and not given back yet.
    held: usize,
    peer_ended: bool,
    over: bool,
}

/// The headers that are still to come, or to be said.
enum Awaited {
    Response(ResponseFuture),
    Answer(SendResponse<Bytes>),
    Nothing,
}

impl Stream {
    pub(crate) fn of_client(
        case: Rc<Case>,
        number: u32,
        response: ResponseFuture,
        send: Send,
        ended: bool,
    ) -> Self {
        Self { send: Some(send), ended, ..Self::new(case, End::Client, number, Awaited::Response(response)) }
    }

    pub(crate) fn of_server(
        case: Rc<Case>,
        request: Request<RecvStream>,
        answer: SendResponse<Bytes>,
    ) -> Self {
        let number = answer.stream_id().as_u32();
        let first = request.uri().authority().unwrap().to_string();
        let (parts, receive) = request.into_parts();
        case.journal.borrow_mut().seen(End::Server, number).head = Some(head(first, &parts.headers));
        Self { receive: Some(receive), ..Self::new(case, End::Server, number, Awaited::Answer(answer)) }
    }

    fn new(case: Rc<Case>, end: End, number: u32, head: Awaited) -> Self {
        Self {
            random: case.random(),
            case,
            end,
            number,
            head,
            send: None,
            receive: None,
            sent: 0,
            ended: false,
            received: 0,
            held: 0,
            peer_ended: false,
            over: false,
        }
    }

    /// Plays its part to the end.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| {
            while !self.over && (self.receive(cx) || self.advance(cx)) {
                self.over |= self.ended && self.peer_ended;
            }
            self.give_back(cx);
            if self.over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn script(&self) -> &Script {
        self.case.scenario.script(self.number)
    }

    fn part(&self) -> &Part {
        self.script().part(self.end)
    }

    /// Takes what there is; whether there was anything.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        if let Awaited::Response(response) = &mut self.head {
            let Poll::Ready(answer) = std::pin::Pin::new(response).poll(cx) else { return false };
            self.head = Awaited::Nothing;
            match answer {
                Ok(answer) => self.answered(answer),
                Err(error) => self.failed(&error),
            }
            return true;
        }
        let Some(receive) = &mut self.receive else { return false };
        if self.peer_ended {
            return false;
        }
        match receive.poll_data(cx) {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(bytes))) => {
                self.case.journal.borrow_mut().bytes(self.end, self.number, &bytes);
                self.received += bytes.len();
                self.held += bytes.len();
            }
            Poll::Ready(Some(Err(error))) => self.failed(&error),
            Poll::Ready(None) => {
                self.peer_ended = true;
                self.case.journal.borrow_mut().seen(self.end, self.number).ended = true;
            }
        }
        true
    }

    fn answered(&mut self, answer: Response<RecvStream>) {
        let (parts, receive) = answer.into_parts();
        let head = head(parts.status.as_u16().to_string(), &parts.headers);
        self.case.journal.borrow_mut().seen(self.end, self.number).head = Some(head);
        self.receive = Some(receive);
    }

    /// Does the next thing that it can do; whether there was any.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        if self.over || self.ended {
            return false;
        }
        if let Some(code) = self.due_cut() {
            match (&mut self.send, &mut self.head) {
                (Some(send), _) => send.send_reset(Reason::from(code)),
                (None, Awaited::Answer(answer)) => answer.send_reset(Reason::from(code)),
                (None, _) => unreachable!("it can send or answer"),
            }
            self.over = true;
            self.case.journal.borrow_mut().seen(self.end, self.number).gave_up = true;
            return true;
        }
        let reset = match (&mut self.send, &mut self.head) {
            (Some(send), _) => send.poll_reset(cx),
            (None, Awaited::Answer(answer)) => answer.poll_reset(cx),
            (None, _) => Poll::Pending,
        };
        if let Poll::Ready(reset) = reset {
            match reset {
                Ok(reason) => self.was_reset(reason),
                Err(error) => self.failed(&error),
            }
            return true;
        }
        if self.script().waits == Some(self.end) && !self.peer_ended {
            return false;
        }
        if let Awaited::Answer(_) = self.head { self.answer() } else { self.send(cx) }
    }

    fn due_cut(&self) -> Option<u32> {
        let cut = self.part().cut?;
        let is_due = match cut.when {
            When::Asked => matches!(self.head, Awaited::Answer(_)),
            When::Sent(count) => self.send.is_some() && self.sent >= count,
            When::Received(count) => self.received >= count,
        };
        is_due.then_some(cut.code)
    }

    fn answer(&mut self) -> bool {
        let response = response(self.script());
        let part = self.part();
        self.ended = part.body == 0 && part.ends_with_last && part.cut.is_none();
        if let Awaited::Answer(mut answer) = std::mem::replace(&mut self.head, Awaited::Nothing) {
            match answer.send_response(response, self.ended) {
                Ok(send) => self.send = Some(send),
                Err(error) => self.failed(&error),
            }
        }
        true
    }

    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let part = self.part();
        let most = match part.cut.map(|cut| cut.when) {
            Some(When::Sent(count)) => count,
            _ => part.body,
        };
        let (left, piece, trailers) = (most - self.sent, part.piece, part.trailers);
        let ends_with_last = part.ends_with_last && part.cut.is_none();
        let Some(send) = &mut self.send else { return false };
        if left == 0 {
            self.ended = true;
            let ended = if trailers {
                send.send_trailers(HeaderMap::from_iter([(
                    "x-last".parse().unwrap(),
                    HeaderValue::from_static("1"),
                )]))
            } else {
                send.send_data(Bytes::new(), true)
            };
            // It may know of a reset that we have not heard of.
            let _reset = ended;
            return true;
        }
        send.reserve_capacity(left.min(piece));
        if send.capacity() == 0 {
            match send.poll_capacity(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(Err(error))) => self.failed(&error),
                Poll::Ready(_) => {}
            }
            return true;
        }
        let length = left.min(piece).min(send.capacity());
        let bytes = (self.sent..self.sent + length).map(|at| content(self.end, self.number, at)).collect();
        self.ended = length == left && ends_with_last;
        let _reset = send.send_data(bytes, self.ended);
        self.sent += length;
        true
    }

    /// Gives back what it holds, mostly.
    fn give_back(&mut self, cx: &mut Context<'_>) {
        let Some(receive) = &mut self.receive else { return };
        if self.over || self.random.chance(50) {
            receive.flow_control().release_capacity(std::mem::take(&mut self.held)).unwrap();
        } else if self.held > 0 {
            cx.waker().wake_by_ref();
        }
    }

    fn failed(&mut self, error: &Error) {
        self.over = true;
        if error.is_go_away() {
            return;
        }
        assert!(error.is_reset() && error.is_remote(), "{:?} of stream {}: {error:?}", self.end, self.number);
        self.was_reset(error.reason().unwrap());
    }

    fn was_reset(&mut self, reason: Reason) {
        self.over = true;
        self.case.journal.borrow_mut().seen(self.end, self.number).reset = Some(reason.into());
    }
}

fn head(first: String, headers: &HeaderMap) -> Head {
    let text = |name: &str| {
        let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    Head {
        first,
        baggage: text("baggage"),
        forwarded: text("forwarded"),
        traceparent: text("traceparent"),
        network: text("x-forwarded-network"),
    }
}
