//! End-to-end suites; see the folder `suites`.
