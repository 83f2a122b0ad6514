//! Whom a namespace's pods may connect to outside of the mesh.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh::{EgressEntry, EgressList, EgressTarget};

fuzz_target!(|text: &str| {
    let entries = text.split(',').filter_map(|part| part.parse::<EgressEntry>().ok());
    for entry in entries {
        let port = entry.port;
        let list = EgressList(vec![entry.clone()]);
        match entry.whom {
            EgressTarget::Below(name) => {
                assert!(is_name(&name) && list.has_name(&format!("a.{name}"), port));
                assert!(!list.has_name(&name, port) && !list.has_name(&format!("a{name}"), port));
            }
            EgressTarget::Host(name) => {
                assert!(is_name(&name) && list.has_name(&name, port));
                assert!(!list.has_name(&format!("a.{name}"), port));
            }
            EgressTarget::Range(range) => {
                assert!(list.has_address((range.addr(), port.unwrap_or(1)).into()) && !list.has_names());
                assert_eq!(
                    range.to_string().parse::<EgressEntry>().map(|it| it.whom),
                    Ok(EgressTarget::Range(range))
                );
            }
        }
    }
});

fn is_name(name: &str) -> bool {
    let length = (1..=253).contains(&name.len());
    length && name == name.to_ascii_lowercase() && name.parse::<std::net::IpAddr>().is_err()
}
