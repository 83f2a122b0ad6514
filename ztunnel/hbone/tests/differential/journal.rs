//! What each end saw of the other, and whether that is what the other sent.

use std::collections::BTreeMap;

use crate::End;
use crate::scenario::{Fields, Scenario, Script};
use crate::tap::{Sent, Tap};

/// What both ends saw.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    streams: [BTreeMap<u32, Seen>; 2],
    pub(crate) pongs: [usize; 2],
}

/// What one end saw on a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) head: Option<Head>,
    pub(crate) bytes: usize,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
    /// It has reset the stream itself. Nothing of that goes over the wire when the other end was faster.
    pub(crate) gave_up: bool,
}

/// A request's or a response's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The authority or the status.
    pub(crate) first: String,
    pub(crate) baggage: Option<String>,
    pub(crate) forwarded: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) network: Option<String>,
}

impl Head {
    /// What `end` says first on a stream.
    fn of(script: &Script, end: End, number: u32) -> Self {
        let Fields { baggage, forwarded, traceparent, network, .. } = &script.part(end).fields;
        let joined = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        Self {
            first: match end {
                End::Client => Scenario::authority(number),
                End::Server => script.status.to_string(),
            },
            baggage: joined(baggage),
            forwarded: joined(forwarded),
            traceparent: traceparent.clone(),
            network: network.clone(),
        }
    }

    /// Whether this is `whole` without what our codec, or this test's user of it, leaves out where that is too much.
    fn is_modest_form_of(&self, whole: &Self) -> bool {
        let modest = Self { baggage: None, traceparent: None, ..whole.clone() };
        *self == modest || *self == Self { forwarded: None, network: None, ..modest }
    }
}

impl Journal {
    pub(crate) fn seen(&mut self, by: End, number: u32) -> &mut Seen {
        self.streams[by.index()].entry(number).or_default()
    }

    /// Takes payload down that `by` received.
    pub(crate) fn bytes(&mut self, by: End, number: u32, payload: &[u8]) {
        let seen = self.seen(by, number);
        for (at, byte) in payload.iter().enumerate() {
            assert_eq!(
                *byte,
                content(by.other(), number, seen.bytes + at),
                "byte {} of stream {number}",
                seen.bytes + at
            );
        }
        seen.bytes += payload.len();
    }

    /// Compares everything with what went over the wire, and that with what was to go.
    pub(crate) fn check(&self, scenario: &Scenario, tap: &Tap, ours: End) {
        for (&number, &asked) in &tap.from[End::Client.index()].streams {
            if self.is_left_out(number, tap) {
                continue;
            }
            let answered = tap.from[End::Server.index()].streams.get(&number).copied().unwrap_or_default();
            let script = scenario.script(number);
            let both = [asked, answered];
            let whole = both.iter().all(|sent| sent.ended);
            assert!(
                whole || both.iter().any(|sent| sent.reset.is_some()),
                "stream {number} has no end: {both:?}"
            );
            for by in [End::Client, End::Server] {
                let (sent, own) = (both[by.other().index()], both[by.index()]);
                let seen = self.streams[by.index()].get(&number).cloned().unwrap_or_default();
                let story =
                    format!("{by:?} of stream {number} saw {seen:?} of {sent:?}, having sent {own:?}");
                check_seen(&seen, sent, own, by == ours, &story);
                if let Some(head) = &seen.head {
                    let want = Head::of(script, by.other(), number);
                    let too_large =
                        script.part(by.other()).fields.list_size() > scenario.theirs.max_header_list;
                    let is_modest = by != ours && too_large && head.is_modest_form_of(&want);
                    assert!(*head == want || is_modest, "{want:?}: {story}");
                }
                if sent.ended && sent.reset.is_none() && own.reset.is_none() {
                    assert_eq!(sent.bytes, script.part(by.other()).body, "{story}");
                }
            }
        }
    }

    /// The server said that it takes no notice of this stream.
    fn is_left_out(&self, number: u32, tap: &Tap) -> bool {
        tap.from[End::Server.index()].go_away.is_some_and(|(last, _)| number > last)
            && !self.streams[End::Server.index()].contains_key(&number)
    }
}

/// Compares what one end saw of a stream with what the other sent.
fn check_seen(seen: &Seen, sent: Sent, own: Sent, is_ours: bool, story: &str) {
    assert!(seen.bytes <= sent.bytes, "{story}");
    assert!(!seen.ended || sent.ended, "{story}");
    assert!(seen.reset.is_none() || seen.reset == sent.reset, "{story}");
    if own.reset.is_some() || seen.gave_up {
        // What comes behind that is nothing to it.
        return;
    }
    match sent.reset {
        None => assert_eq!((seen.bytes, seen.ended), (sent.bytes, sent.ended), "{story}"),
        // A reset behind both ends is none.
        Some(_) if own.ended && sent.ended => {}
        // The h2 crate says nothing of a request that is reset before its user asked for it, if its client leaves then.
        Some(_) if !is_ours && *seen == Seen::default() => {}
        Some(_) => {
            assert_eq!(seen.reset, sent.reset, "{story}");
            // The h2 crate throws away what its user has not taken by then.
            assert!(seen.bytes == sent.bytes || !is_ours, "{story}");
        }
    }
}

/// The byte that `from` sends at an offset of a stream.
pub(crate) fn content(from: End, number: u32, at: usize) -> u8 {
    let [low, middle, high, ..] = at.to_le_bytes();
    let [stream, ..] = number.to_le_bytes();
    let from = if from == End::Client { 0 } else { 0x55 };
    low.wrapping_mul(31).wrapping_add(middle).wrapping_add(high.wrapping_mul(7)).wrapping_add(stream) ^ from
}
