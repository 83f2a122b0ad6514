//! W3C trace context in a tunnel's requests: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

/// A span, as it is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that it belongs to.
    pub trace: NonZeroU128,
    /// The span.
    pub span: NonZeroU64,
    /// Whoever hands it on keeps it.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("traceparent is malformed")]
pub struct ParseTraceParentError;

/// Reads any version: later ones may only add fields behind those of this one.
impl FromStr for TraceParent {
    type Err = ParseTraceParentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split('-');
        let mut hex = |digits: usize| {
            let field = fields.next().ok_or(ParseTraceParentError)?;
            // Upper case is malformed, and so are signs, which numbers may have.
            let is_hex = field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if field.len() != digits || !is_hex {
                return Err(ParseTraceParentError);
            }
            u128::from_str_radix(field, 16).map_err(|_| ParseTraceParentError)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let extended = fields.next().is_some();
        if version == 0xff || (version == 0 && extended) {
            return Err(ParseTraceParentError);
        }
        let span = u64::try_from(span).map_err(|_| ParseTraceParentError)?;
        Ok(Self {
            trace: NonZeroU128::new(trace).ok_or(ParseTraceParentError)?,
            span: NonZeroU64::new(span).ok_or(ParseTraceParentError)?,
            sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

const SAMPLED: u128 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.span.get(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(parent.to_string(), text);
        let later: TraceParent = format!("01{}-more", &text[2..]).parse().unwrap();
        assert_eq!(later, parent);
    }

    #[test]
    fn what_the_recommendation_calls_invalid_is_refused() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for wrong in [
            String::new(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-1"),
            format!("00-+{}-{span}-01", &trace[1..]),
        ] {
            assert_eq!(wrong.parse::<TraceParent>(), Err(ParseTraceParentError), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_span_round_trips(trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled: bool) {
            let (trace, span) = (NonZeroU128::new(trace).unwrap(), NonZeroU64::new(span).unwrap());
            let parent = TraceParent { trace, span, sampled };
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }

        #[test]
        fn any_text_is_read_as_what_it_says_or_refused(
            text in "([0-9a-fA-F]{2}|00)-[0-9a-f]{31,32}-[0-9a-f]{16}-[0-9a-f]{1,2}(-.*)?|.{0,60}",
        ) {
            let Ok(parent) = text.parse::<TraceParent>() else { return Ok(()) };
            let shown = parent.to_string();
            prop_assert_eq!(shown.parse(), Ok(parent));
            prop_assert_eq!(&shown[2..53], &text[2..53]);
        }

        #[test]
        fn one_character_makes_it_another_or_none(
            at in 0..55_usize,
            character in any::<char>(),
            trace in 1..=u128::MAX,
        ) {
            let (trace, span) = (NonZeroU128::new(trace).unwrap(), NonZeroU64::MIN);
            let text = TraceParent { trace, span, sampled: true }.to_string();
            let changed = format!("{}{character}{}", &text[..at], &text[at + 1..]);
            if let Ok(read) = changed.parse::<TraceParent>() {
                let (version, flags) = (at < 2, at > 52);
                prop_assert!(changed == text || version || flags || read.to_string() == changed, "{}", changed);
            }
        }
    }
}
