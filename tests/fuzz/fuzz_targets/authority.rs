//! What a CONNECT names as its target.
#![no_main]

use hbone::authority::{Authority, AuthorityError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(authority) = text.parse::<Authority>() else { return };
    let shown = authority.to_string();
    assert_eq!(shown.parse::<Authority>(), Ok(authority.clone()), "what is shown is what was read");
    assert_eq!(shown.parse::<Authority>().map(|it| it.to_string()), Ok::<_, AuthorityError>(shown.clone()));
    assert_ne!(authority.port(), 0);
    match (authority.socket_addr(), authority.name()) {
        // One spelling of an address only: two would be two destinations to some and one to others.
        (Some(address), None) => assert_eq!(address.to_string(), shown),
        (None, Some((name, _))) => {
            assert_eq!(name, name.to_ascii_lowercase());
            assert!(name.parse::<std::net::IpAddr>().is_err() && name.len() <= 253);
        }
        both => panic!("{both:?}"),
    }
});
