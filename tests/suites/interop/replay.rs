//! What a peer said, said again to our codec.

use harness::LabError;

use crate::wire::end::End;
use crate::wire::frames::meaning;
use crate::wire::scenario::{Peer, SCENARIOS, Scenario};
use crate::wire::transcript::{Replayed, Transcript};

#[test]
fn a_peer_is_understood_as_when_it_was_recorded() -> Result<(), LabError> {
    each(|scenario, transcript| {
        let mut source = Replayed::as_it_came(transcript);
        assert_eq!(replay(scenario, &mut source)?, transcript.account, "{}", scenario.name);
        Ok(())
    })
}

#[test]
fn a_peer_is_understood_byte_by_byte() -> Result<(), LabError> {
    each(|scenario, transcript| {
        let mut source = Replayed::byte_by_byte(transcript);
        assert_eq!(replay(scenario, &mut source)?, transcript.account, "{}", scenario.name);
        Ok(())
    })
}

#[test]
fn a_peer_is_answered_as_when_it_was_recorded() -> Result<(), LabError> {
    each(|scenario, transcript| {
        let mut source = Replayed::as_it_came(transcript);
        replay(scenario, &mut source)?;
        assert_eq!(meaning(&source.ours), meaning(&transcript.ours()), "{}", scenario.name);
        Ok(())
    })
}

fn replay(scenario: &Scenario, source: &mut Replayed) -> Result<Vec<String>, LabError> {
    let mut end = match scenario.peer {
        Peer::Client(_) => End::server(source),
        Peer::Server => End::client(source),
    };
    (scenario.run)(&mut end)?;
    Ok(end.into_account())
}

fn each(test: impl Fn(&Scenario, &Transcript) -> Result<(), LabError>) -> Result<(), LabError> {
    SCENARIOS.iter().try_for_each(|scenario| test(scenario, &Transcript::read(scenario.name)?))
}
