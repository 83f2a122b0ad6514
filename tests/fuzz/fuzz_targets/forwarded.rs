//! On behalf of whom a CONNECT is made.
#![no_main]

use hbone::forwarded::Forwarded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    if let Some(forwarded) = Forwarded::parse(header) {
        assert_eq!(Forwarded::parse(&forwarded.to_string()), Some(forwarded));
    }
});
