//! End-to-end suites, one per folder in `suites`; what they are built from is in the crate `harness`.
