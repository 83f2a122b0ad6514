//! Tokens of nodes: read or refused, and never believed without the node's signature.
#![no_main]

use std::sync::OnceLock;

use certs::{CaAddress, NodeKey, NodePublicKey, NodeToken};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::UnixTime;

fuzz_target!(|text: &str| {
    static KEY: OnceLock<NodePublicKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let pair = NodeKey::generate().expect("keys can be made");
        NodePublicKey::from_pem(&pair.public).expect("it is a key")
    });
    if let Ok(token) = NodeToken::parse(text) {
        assert!(token.verify(key, "request", UnixTime::now()).is_err());
    }
    if let Ok(address) = text.parse::<CaAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
});
