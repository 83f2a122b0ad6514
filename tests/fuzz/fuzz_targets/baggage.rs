//! What a peer says of the workload behind it.
#![no_main]

use hbone::baggage::Baggage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let baggage = Baggage::parse(header);
    let parts = [
        &baggage.cluster,
        &baggage.namespace,
        &baggage.workload,
        &baggage.service,
        &baggage.version,
        &baggage.region,
        &baggage.zone,
    ];
    for part in parts {
        assert!(part.len() <= 253 && !part.chars().any(char::is_control), "{part:?}");
    }
    let shown = baggage.to_string();
    assert!(shown.bytes().all(|byte| matches!(byte, b'!'..=b'~')), "{shown}");
    // A kind without a name is not written.
    let kind = if baggage.workload.is_empty() { Baggage::default().kind } else { baggage.kind };
    assert_eq!(Baggage::parse(&shown), Baggage { kind, ..baggage });
});
