//! Conversations with a live peer in plaintext, which `--record` keeps.

use harness::LabError;

use crate::wire::live::converse;
use crate::wire::scenario::{Peer, SCENARIOS};
use crate::world::World;

#[test]
fn a_peers_client_and_server_say_what_our_codec_understands() -> Result<(), LabError> {
    let mut world = World::up()?;
    for scenario in SCENARIOS {
        println!("{}", scenario.name);
        let transcript = converse(&mut world, scenario)?;
        if let Ok(product) = std::env::var("INTEROP_RECORD") {
            let end = if scenario.peer == Peer::Server { "server" } else { "client" };
            let head = format!(
                "{}\nThe peer is the {end}: {product}.\n\
                 Plaintext of one connection: > the peer's bytes, < ours, = what the peer did.",
                scenario.about
            );
            transcript.write(scenario.name, &head)?;
        }
    }
    Ok(())
}
