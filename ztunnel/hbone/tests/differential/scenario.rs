//! What is to happen in one case, all from one number.

use std::collections::VecDeque;

use hbone::h2::Limits;

use crate::End;
use crate::random::Random;

/// One connection.
pub(crate) struct Scenario {
    /// In the order in which the client opens them. The last one is opened when all others are over.
    pub(crate) streams: Vec<Script>,
    pub(crate) limits: Limits,
    pub(crate) theirs: Theirs,
    /// The end that is ours says good-bye when so many streams were opened: a client to its server, or the reverse.
    pub(crate) leaves_after: Option<Leave>,
    pub(crate) pings: [usize; 2],
    /// How likely the network puts in a frame that means nothing, in percent.
    pub(crate) forged: usize,
    /// How likely the network cuts a frame in two, in percent.
    pub(crate) split: usize,
    /// The longest piece that the network delivers.
    pub(crate) piece: usize,
    pub(crate) random: Random,
}

/// The server goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leave {
    /// When it has seen so many requests.
    pub(crate) after: usize,
    /// Without regard to requests that are on their way. Ours only.
    pub(crate) at_once: bool,
}

/// How the h2 crate is set up.
pub(crate) struct Theirs {
    pub(crate) initial_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) max_frame_size: u32,
    pub(crate) max_header_list: u32,
    pub(crate) max_streams: u32,
    pub(crate) header_table_size: u32,
    pub(crate) changes: VecDeque<Change>,
}

/// What the h2 crate changes under way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    InitialWindow(u32),
    ConnectionWindow(u32),
}

/// One stream.
pub(crate) struct Script {
    pub(crate) client: Part,
    pub(crate) server: Part,
    pub(crate) status: u16,
    /// Who does nothing before the other has ended its half.
    pub(crate) waits: Option<End>,
}

/// What one end does on a stream.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) fields: Fields,
    pub(crate) body: usize,
    /// The longest piece that it sends at once.
    pub(crate) piece: usize,
    /// The end comes with the last piece, and with the headers where there is none. Else by itself.
    pub(crate) ends_with_last: bool,
    /// The end comes as trailers, where the h2 crate sends it.
    pub(crate) trailers: bool,
    pub(crate) cut: Option<Cut>,
}

/// A reset in place of a whole stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) when: When,
    pub(crate) code: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// A server's, instead of an answer.
    Asked,
    Sent(usize),
    Received(usize),
}

/// Headers besides pseudo-headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) baggage: Vec<String>,
    pub(crate) forwarded: Vec<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) network: Option<String>,
    /// What our codec does not know, from the h2 crate only.
    pub(crate) unknown: Vec<(String, Vec<u8>)>,
}

impl Scenario {
    pub(crate) fn new(seed: u64, ours: End) -> Self {
        let mut random = Random::new(seed);
        let count = 1 + random.bits(4);
        let limits = limits(&mut random);
        let theirs = Theirs::new(&mut random);
        // Small pieces and small windows take turns without number, so less goes through them.
        let (piece, most) =
            random.one_of(&[(2, 500), (20, 5000), (300, 50_000), (5000, 200_000), (100_000, 200_000)]);
        let slow = usize::try_from(theirs.slowest()).unwrap().saturating_mul(20).min(most);
        let most = if ours == End::Client { [slow, most] } else { [most, slow] };
        let streams = (0..=count).map(|_| Script::new(&mut random, ours, most)).collect();
        let leaves_after = random.chance(30).then(|| Leave {
            after: random.below(count + 1),
            at_once: ours == End::Server && random.chance(30),
        });
        Self {
            streams,
            limits,
            theirs,
            leaves_after,
            pings: [random.below(4), random.below(4)],
            forged: random.one_of(&[0, 0, 5, 30]),
            split: random.one_of(&[0, 0, 10, 50]),
            piece,
            random,
        }
    }

    /// What our end lets the other have in flight: four streams' worth at least.
    pub(crate) fn connection_window(&self) -> u32 {
        self.limits.connection_window.max(4 * self.limits.stream_window.max(65_535))
    }

    /// The script of a stream, by its number on the wire.
    pub(crate) fn script(&self, number: u32) -> &Script {
        &self.streams[usize::try_from(number / 2).unwrap()]
    }

    pub(crate) fn authority(number: u32) -> String {
        // Some come again and again, as those of a busy peer do.
        format!("10.0.{}.1:{}", number % 5, 8000 + number % 3)
    }
}

fn limits(random: &mut Random) -> Limits {
    Limits {
        max_concurrent_streams: random.one_of(&[1, 2, 4, 100]),
        initial_send_streams: random.one_of(&[1, 3, 100]),
        stream_window: random.one_of(&[0, 100_000, 1 << 20]),
        connection_window: random.one_of(&[0, 300_000, 32 << 20]),
        max_frame_size: random.one_of(&[0, 20_000, 1 << 20]),
        ..Limits::default()
    }
}

impl Theirs {
    fn new(random: &mut Random) -> Self {
        let initial_window = random.one_of(&[1, 50, 3000, 65_535, 65_535, 1 << 20]);
        let mut window = initial_window;
        let mut change = |random: &mut Random| {
            if random.chance(50) {
                return Change::ConnectionWindow(random.one_of(&[65_535, 100_000, 1 << 20]));
            }
            // By a third less at most: the crate gives nothing back because of a window that shrinks, so what it holds
            // back of a larger one would be all of a much smaller one.
            window = random.one_of(&[window - window / 3, window + 1, window * 2, window.max(65_535)]);
            Change::InitialWindow(window)
        };
        let changes = (0..random.bits(3)).map(|_| change(random)).collect();
        Self {
            initial_window,
            connection_window: random.one_of(&[65_535, 65_535, 100_000, 1 << 20]),
            max_frame_size: random.one_of(&[16_384, 16_384, 20_000, 1 << 20]),
            max_header_list: random.one_of(&[150, 1000, 16_384, 1 << 24]),
            max_streams: random.one_of(&[1, 2, 100]),
            header_table_size: random.one_of(&[0, 64, 500, 4096, 100_000]),
            changes,
        }
    }

    /// The smallest window that a stream to them ever has.
    fn slowest(&self) -> u32 {
        let changes = self.changes.iter().map(|change| match change {
            Change::InitialWindow(size) => *size,
            Change::ConnectionWindow(_) => u32::MAX,
        });
        changes.chain([self.initial_window]).min().unwrap_or(u32::MAX)
    }
}

impl Script {
    /// `most` is what client and server send at most.
    fn new(random: &mut Random, ours: End, most: [usize; 2]) -> Self {
        let part = |random: &mut Random, end: End| Part::new(random, end, end == ours, most[end.index()]);
        Self {
            client: part(random, End::Client),
            server: part(random, End::Server),
            status: if random.chance(80) { 200 } else { u16::try_from(200 + random.below(400)).unwrap() },
            waits: random.one_of(&[None, None, Some(End::Client), Some(End::Server)]),
        }
    }

    pub(crate) fn part(&self, end: End) -> &Part {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }
}

impl Part {
    fn new(random: &mut Random, end: End, ours: bool, most: usize) -> Self {
        let body = random.bits(18).min(most);
        let cut = random.chance(15).then(|| Cut {
            when: match random.below(5) {
                0 if end == End::Server => When::Asked,
                0..3 => When::Sent(random.below(body + 1)),
                _ => When::Received(random.bits(16)),
            },
            code: random.one_of(&[0, 1, 2, 5, 8, 10, 11, 0xffff, u32::MAX]),
        });
        Self {
            fields: Fields::new(random, end, ours),
            body,
            piece: 1 + random.one_of(&[body / 3, 1000, 16_384, 100_000]),
            ends_with_last: random.chance(50),
            trailers: random.chance(20),
            cut,
        }
    }
}

impl Fields {
    fn new(random: &mut Random, end: End, ours: bool) -> Self {
        let several = |random: &mut Random| {
            let most = if ours { 1 } else { 2 };
            let count = random.below(most + 1);
            (0..count).map(|_| text(random)).collect()
        };
        let mut fields = Self { baggage: several(random), ..Self::default() };
        if end == End::Client {
            fields.forwarded = several(random);
            fields.traceparent = random.chance(50).then(|| text(random));
            fields.network = random.chance(30).then(|| text(random));
        }
        if !ours {
            fields.unknown = (0..random.bits(3)).map(|_| unknown(random)).collect();
        }
        fields
    }

    /// Its size as a header list, with pseudo-headers of the longest kind (RFC 9113 §6.5.2).
    pub(crate) fn list_size(&self) -> u32 {
        let several = |name: &str, values: &[String]| {
            values.iter().map(|value| name.len() + value.len() + 32).sum::<usize>()
        };
        let single = |name: &str, value: &Option<String>| several(name, value.as_slice());
        let unknown = self.unknown.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>();
        let known = several("baggage", &self.baggage)
            + several("forwarded", &self.forwarded)
            + single("traceparent", &self.traceparent)
            + single("x-forwarded-network", &self.network);
        u32::try_from(PSEUDO_HEADERS + known + unknown).unwrap()
    }
}

/// `:method: CONNECT` and an authority of 14 bytes.
const PSEUDO_HEADERS: usize = 46 + 56;

/// A header's value: from a small pool, so that tables have something to do, or any.
fn text(random: &mut Random) -> String {
    if random.chance(40) {
        return random
            .one_of(&["cluster=Kubernetes", "~{}|^`<>", "a", "", "for=10.0.0.1;by=10.0.0.2", "00-1-2-01"])
            .to_owned();
    }
    let letters: &[u8] = random.one_of(&[
        &b"abcdefghijklmnopqrstuvwxyz=,.-"[..],
        b"0123456789",
        b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
        // Their Huffman codes are the longest that printable ones have.
        b"\\^|{}~<`",
    ]);
    (0..random.bits(11)).map(|_| char::from(random.one_of(letters))).collect()
}

/// A header that a tunnel does not have, of any bytes that a value may have.
fn unknown(random: &mut Random) -> (String, Vec<u8>) {
    let name = random.one_of(&[
        "x-a",
        "user-agent",
        "x-very-long-name-of-a-header-that-nobody-knows",
        "cookie",
        "baggage2",
    ]);
    let byte = |random: &mut Random| match u8::try_from(random.below(256)).unwrap() {
        control @ (0..b' ' | 0x7f) => control | 0x80,
        byte => byte,
    };
    let length = random.bits(9);
    let mut value: Vec<u8> = (0..length).map(|_| byte(random)).collect();
    value.extend_from_slice(b"end");
    (name.to_owned(), value)
}
