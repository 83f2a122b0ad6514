//! What header lists say.

use super::hpack::{Encoder, FIELD_OVERHEAD, Indexing};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// CONNECT, or something that is to be refused.
    pub method: Method,
    /// Where to, e.g. `10.0.0.1:80`; parse it as an [`Authority`](crate::authority::Authority). May be empty or
    /// nonsense when received.
    pub authority: Box<str>,
    /// Who the client says it is: see [`baggage`](crate::baggage). Several headers are joined by commas.
    pub baggage: Option<Box<str>>,
    /// On behalf of whom: see [`forwarded`](crate::forwarded). Several headers are joined by commas.
    pub forwarded: Option<Box<str>>,
    /// W3C trace context, as it came.
    pub traceparent: Option<Box<str>>,
    /// `x-forwarded-network`: the network that an inner CONNECT comes from.
    pub network: Option<Box<str>>,
}

/// A request's method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// CONNECT: a tunnel to the authority.
    Connect,
    /// Anything else; to be answered with 400.
    Other(Box<str>),
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Who the server says the destination is.
    pub baggage: Option<Box<str>>,
}

impl ConnectRequest {
    /// A CONNECT to `authority`, without any headers.
    pub fn new(authority: impl Into<Box<str>>) -> Self {
        Self {
            method: Method::Connect,
            authority: authority.into(),
            baggage: None,
            forwarded: None,
            traceparent: None,
            network: None,
        }
    }

    /// Whether this is a CONNECT at all.
    pub fn is_connect(&self) -> bool {
        self.method == Method::Connect
    }

    /// The same without what only labels metrics and logs.
    pub(super) fn without_claims(&self) -> Self {
        Self { baggage: None, traceparent: None, ..self.clone() }
    }

    /// Its size as a header list (RFC 9113 §6.5.2).
    pub(super) fn list_size(&self) -> usize {
        self.fields().map(|(name, value, _)| field_size(name, value)).sum()
    }

    pub(super) fn encode(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        for (name, value, indexing) in self.fields() {
            encoder.field(out, name, value, indexing);
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str, Indexing)> {
        let method = match &self.method {
            Method::Connect => "CONNECT",
            Method::Other(method) => method,
        };
        let fields = [
            (METHOD, Some(method), Indexing::Repeated),
            (AUTHORITY, Some(&*self.authority), Indexing::Repeated),
            (BAGGAGE, self.baggage.as_deref(), Indexing::Repeated),
            (FORWARDED, self.forwarded.as_deref(), Indexing::Unique),
            (TRACEPARENT, self.traceparent.as_deref(), Indexing::Unique),
            (NETWORK, self.network.as_deref(), Indexing::Repeated),
        ];
        fields.into_iter().filter_map(|(name, value, indexing)| Some((name, value?, indexing)))
    }
}

impl ConnectResponse {
    /// An answer without any headers.
    pub const fn new(status: u16) -> Self {
        Self { status, baggage: None }
    }

    /// Whether the tunnel is open (RFC 9110 §9.3.6: any 2xx).
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Writes it as a header list of at most `most` bytes: without the baggage, which only labels metrics and logs,
    /// where it has no room.
    pub(super) fn encode(&self, encoder: &mut Encoder, out: &mut Vec<u8>, most: u32) {
        let status = self.status.to_string();
        encoder.field(out, STATUS, &status, Indexing::Repeated);
        let fits =
            |baggage: &&str| field_size(STATUS, &status) + field_size(BAGGAGE, baggage) <= most as usize;
        if let Some(baggage) = self.baggage.as_deref().filter(fits) {
            encoder.field(out, BAGGAGE, baggage, Indexing::Repeated);
        }
    }
}

/// A header list while it is decoded: what is known is kept, the rest only counted.
#[derive(Debug, Default)]
pub(super) struct HeaderList {
    /// As RFC 9113 §6.5.2 counts it.
    size: usize,
    limit: usize,
    malformed: bool,
    regular_seen: bool,
    method: Option<Box<str>>,
    authority: Option<Box<str>>,
    status: Option<Box<str>>,
    scheme: Option<Box<str>>,
    path: Option<Box<str>>,
    baggage: Option<Box<str>>,
    forwarded: Option<Box<str>>,
    traceparent: Option<Box<str>>,
    network: Option<Box<str>>,
}

/// The header list breaks RFC 9113 §8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl HeaderList {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit as usize, ..Self::default() }
    }

    /// Counts a field, and keeps it if it is of use.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.size += name.len() + value.len() + FIELD_OVERHEAD;
        if self.is_too_large() {
            return;
        }
        if !is_valid_name(name) || value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            self.malformed = true;
            return;
        }
        match name.strip_prefix(b":") {
            Some(_) => self.pseudo(name, value),
            None => self.regular(name, value),
        }
    }

    /// Larger than we announced.
    pub(super) const fn is_too_large(&self) -> bool {
        self.size > self.limit
    }

    /// So large that it is no accident.
    pub(super) const fn is_a_bomb(&self) -> bool {
        self.size > self.limit.saturating_mul(4)
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let slot = match std::str::from_utf8(name) {
            Ok(METHOD) => &mut self.method,
            Ok(AUTHORITY) => &mut self.authority,
            Ok(STATUS) => &mut self.status,
            Ok(SCHEME) => &mut self.scheme,
            Ok(PATH) => &mut self.path,
            _ => return self.malformed = true,
        };
        match text(value) {
            Some(text) if slot.is_none() && !self.regular_seen => *slot = Some(text.into()),
            _ => self.malformed = true,
        }
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) {
        self.regular_seen = true;
        let Ok(name) = std::str::from_utf8(name) else { return self.malformed = true };
        let slot = match name {
            BAGGAGE => &mut self.baggage,
            FORWARDED => &mut self.forwarded,
            TRACEPARENT => &mut self.traceparent,
            NETWORK => &mut self.network,
            // RFC 9113 §8.2.2.
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return self.malformed = true;
            }
            "te" => return self.malformed |= value != b"trailers",
            _ => return,
        };
        // What is not text is of no use to us, and no reason to refuse the stream.
        let Some(text) = text(value) else { return };
        match slot {
            None => *slot = Some(text.into()),
            Some(before) if matches!(name, BAGGAGE | FORWARDED) => {
                *slot = Some(format!("{before},{text}").into())
            }
            Some(_) => {}
        }
    }

    pub(super) fn into_request(self) -> Result<ConnectRequest, Malformed> {
        let method = self.method.ok_or(Malformed)?;
        let is_connect = &*method == "CONNECT";
        let has_target = if is_connect {
            // RFC 9113 §8.5.
            self.scheme.is_none() && self.path.is_none() && self.authority.is_some()
        } else {
            self.scheme.is_some() && self.path.is_some()
        };
        if self.malformed || self.status.is_some() || !has_target {
            return Err(Malformed);
        }
        Ok(ConnectRequest {
            method: if is_connect { Method::Connect } else { Method::Other(method) },
            authority: self.authority.unwrap_or_default(),
            baggage: self.baggage,
            forwarded: self.forwarded,
            traceparent: self.traceparent,
            network: self.network,
        })
    }

    pub(super) fn into_response(self) -> Result<ConnectResponse, Malformed> {
        let is_request =
            self.method.is_some() || self.authority.is_some() || self.scheme.is_some() || self.path.is_some();
        let status = self.status.ok_or(Malformed)?;
        if self.malformed || is_request || status.len() != 3 || !status.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Malformed);
        }
        let status = status.parse().map_err(|_| Malformed)?;
        Ok(ConnectResponse { status, baggage: self.baggage })
    }

    /// Whether these may be trailers: no pseudo-headers (RFC 9113 §8.1).
    pub(super) const fn are_trailers(&self) -> bool {
        let pseudo = self.method.is_some()
            || self.authority.is_some()
            || self.status.is_some()
            || self.scheme.is_some()
            || self.path.is_some();
        !self.malformed && !pseudo
    }
}

/// What a field counts in a header list.
const fn field_size(name: &str, value: &str) -> usize {
    name.len() + value.len() + FIELD_OVERHEAD
}

/// Lower-case token characters, behind one colon at most (RFC 9113 §8.2.1).
fn is_valid_name(name: &[u8]) -> bool {
    let bare = name.strip_prefix(b":").unwrap_or(name);
    let is_token =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bare.is_empty() && bare.iter().all(is_token)
}

/// Printable ASCII and tabs.
fn text(value: &[u8]) -> Option<&str> {
    let printable = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if printable { std::str::from_utf8(value).ok() } else { None }
}

const METHOD: &str = ":method";
const AUTHORITY: &str = ":authority";
const STATUS: &str = ":status";
const SCHEME: &str = ":scheme";
const PATH: &str = ":path";
const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";
const TRACEPARENT: &str = "traceparent";
const NETWORK: &str = "x-forwarded-network";
