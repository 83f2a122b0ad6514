//! Error codes, and what ends a connection.

use std::fmt;

use super::hpack::HpackError;

/// Why a stream or a connection was ended (RFC 9113 §7). Unknown codes are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// No error: an orderly end.
    pub const NO_ERROR: Self = Self(0x0);
    /// The peer broke a rule without a code of its own.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// The sender's own fault.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// More was sent than the window allows.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame for a half that was closed.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of an impossible size.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// Nothing was done with the stream yet: it may be tried again elsewhere.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is not wanted any more; what a TCP reset becomes.
    pub const CANCEL: Self = Self(0x8);
    /// The header tables differ.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The TCP connection behind a CONNECT failed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer does something at a rate that looks like an attack.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport is not good enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// Wants HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = usize::try_from(self.0).ok().and_then(|code| NAMES.get(code));
        match known {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// How the peer broke the connection; a GOAWAY that says so is queued. Always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// A header block cannot be decoded.
    #[error("a header block is not HPACK")]
    Compression(#[from] HpackError),
    /// Something other than the expected CONTINUATION, or one that nobody expects.
    #[error("a header block is interrupted, or continued without a start")]
    Continuation,
    /// A flow-control window was overrun, or made larger than 2^31-1.
    #[error("a flow-control window was overrun")]
    FlowControl,
    /// A frame is longer than we allow.
    #[error("a frame of {0} bytes is too long")]
    FrameTooLong(u32),
    /// A frame's length does not go with its type.
    #[error("a frame of type {kind:#x} cannot have {length} bytes")]
    FrameLength {
        /// The frame's type.
        kind: u8,
        /// Its length.
        length: u32,
    },
    /// A header block, or what it stands for, is far beyond what we announced.
    #[error("a header list is too large")]
    HeadersTooLarge,
    /// A frame for a stream that was never opened.
    #[error("a frame for stream {0}, which was never opened")]
    IdleStream(u32),
    /// A WINDOW_UPDATE of the connection by nothing.
    #[error("a window update of 0")]
    ZeroIncrement,
    /// Padding longer than the frame.
    #[error("padding is longer than its frame")]
    Padding,
    /// The connection does not begin as HTTP/2 does.
    #[error("the connection does not begin with the preface of HTTP/2")]
    Preface,
    /// A push, which we forbade.
    #[error("a push, which is forbidden")]
    Push,
    /// A setting with a forbidden value.
    #[error("setting {id:#x} cannot be {value}")]
    Setting {
        /// Identifier of the setting.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// A frame on a stream that it cannot be for, e.g. DATA on stream 0.
    #[error("a frame of type {kind:#x} cannot be for stream {stream}")]
    StreamId {
        /// The frame's type.
        kind: u8,
        /// The stream.
        stream: u32,
    },
    /// Frames that serve no purpose, at a rate that looks like an attack.
    #[error("too many {0}")]
    TooMany(Excess),
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// PING and SETTINGS, each of which wants an answer.
    Answers,
    /// CONTINUATION frames in one header block.
    Continuations,
    /// Frames without any effect: empty, unknown, or for streams that are closed.
    IdleFrames,
    /// Streams that end before they were answered.
    Resets,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "pings and settings",
            Self::Continuations => "continuations of a header block",
            Self::IdleFrames => "frames without effect",
            Self::Resets => "streams reset before they were answered",
        })
    }
}

impl ConnectionError {
    /// What the peer is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Compression(_) => ErrorCode::COMPRESSION_ERROR,
            Self::FlowControl => ErrorCode::FLOW_CONTROL_ERROR,
            Self::FrameTooLong(_) | Self::FrameLength { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::HeadersTooLarge | Self::TooMany(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::Setting { id: super::settings::INITIAL_WINDOW_SIZE, .. } => ErrorCode::FLOW_CONTROL_ERROR,
            Self::Continuation
            | Self::IdleStream(_)
            | Self::Padding
            | Self::Preface
            | Self::Push
            | Self::Setting { .. }
            | Self::StreamId { .. }
            | Self::ZeroIncrement => ErrorCode::PROTOCOL_ERROR,
        }
    }
}

/// Why a stream cannot be opened. The request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection takes no more streams: one side is going away.
    #[error("the connection is going away")]
    GoingAway,
    /// The request is larger than the peer takes.
    #[error("request headers of {size} bytes are more than the {most} that the peer takes")]
    HeadersTooLarge {
        /// The size of the request's header list.
        size: usize,
        /// What the peer takes.
        most: u32,
    },
    /// All stream ids of the connection are used up.
    #[error("stream ids are used up")]
    IdsUsedUp,
    /// As many streams are open as the peer allows.
    #[error("the peer allows no more than {0} streams")]
    TooManyStreams(u32),
}
