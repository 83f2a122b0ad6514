//! Which trace a connection belongs to.

use std::num::{NonZeroU64, NonZeroU128};

use hbone::traceparent::TraceParent;
use mesh::Draws;

/// One connection's span: ours as seen from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Names it; handed on to the peer, whose span it is the parent of.
    pub own: TraceParent,
    /// The span that it belongs below, if any.
    pub parent: Option<NonZeroU64>,
}

impl Trace {
    /// The first span of a trace.
    pub fn root(draws: &mut Draws, sampled: bool) -> Self {
        let trace = u128::from(draws.bits()) << 64 | u128::from(draws.bits());
        let trace = NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN);
        Self { own: TraceParent { trace, span: span(draws), sampled }, parent: None }
    }

    /// A span below another one, of the same trace.
    pub fn below(parent: TraceParent, draws: &mut Draws) -> Self {
        Self { own: TraceParent { span: span(draws), ..parent }, parent: Some(parent.span) }
    }

    /// Random bits that are the same at both ends of a connection.
    pub fn draw(&self) -> u64 {
        // The lower half: generators that put a time into trace ids put it in front.
        u64::try_from(self.own.trace.get() & u128::from(u64::MAX)).unwrap_or_default()
    }
}

fn span(draws: &mut Draws) -> NonZeroU64 {
    NonZeroU64::new(draws.bits()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_below_another_is_of_its_trace_and_decided_alike() {
        let mut draws = Draws::new(7);
        let root = Trace::root(&mut draws, true);
        let below = Trace::below(root.own, &mut draws);
        assert_eq!((below.own.trace, below.parent), (root.own.trace, Some(root.own.span)));
        assert_ne!(below.own.span, root.own.span);
        assert!(below.own.sampled);
        assert_eq!(below.draw(), root.draw());
        assert_ne!(Trace::root(&mut draws, false).own.trace, root.own.trace);
    }
}
