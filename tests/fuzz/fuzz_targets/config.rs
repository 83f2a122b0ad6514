//! Configuration files: read, or refused with reasons; and what is written out reads back to the same.
#![no_main]

use std::path::Path;

use daemon::config::{File, Flags};
use libfuzzer_sys::fuzz_target;
use ztunnel::config::{Config, OPTIONS};

fuzz_target!(|text: &str| {
    let read = |text: &str| {
        let file = File { path: Path::new("ztunnel.yaml"), text };
        OPTIONS.resolve(Config::default(), Some(file), |_| None, &Flags::default())
    };
    match read(text) {
        Ok(config) => assert_eq!(read(&OPTIONS.document(&config)).expect("it was written by us"), config),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
