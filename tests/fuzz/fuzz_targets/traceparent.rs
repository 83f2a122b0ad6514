//! The span that a CONNECT belongs to.
#![no_main]

use hbone::traceparent::TraceParent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    if let Ok(parent) = header.parse::<TraceParent>() {
        let shown = parent.to_string();
        assert_eq!(shown.parse(), Ok(parent));
        // All but the version, and flags that nobody knows.
        assert_eq!(shown[2..53], header[2..53]);
    }
});
