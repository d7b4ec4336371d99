//! States are seen in the histories that reach them, and in no others.

use oracle::{Ask, Call, History, Observed, Reach, Reached, Reason, RunEnd, reached};

use crate::h;

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };

fn assert_reaches(history: History, expected: &[Reached]) {
    let reached = reached(&history);
    for state in expected {
        assert!(reached.contains(state), "{state} is not among {reached:?}");
    }
}

#[test]
fn the_list_is_long_and_each_state_has_a_meaning_of_its_own() {
    let mut meanings: Vec<_> = Reached::ALL.iter().map(|state| state.meaning()).collect();
    meanings.sort_unstable();
    meanings.dedup();
    assert!(meanings.len() == Reached::ALL.len() && meanings.len() >= 60);
}

#[test]
fn an_empty_history_reaches_nothing() {
    assert_eq!(reached(&h().history()), []);
    let mut reach = Reach::default();
    reach.count(&h().history());
    assert_eq!(reach.missing(), Reached::ALL);
}

#[test]
fn a_counter_names_what_is_missing() {
    let mut reach = Reach::default();
    Reached::ALL[1..]
        .iter()
        .for_each(|state| reach.mark(*state));
    assert_eq!(reach.missing(), [Reached::CancelInReceiving]);
    let mut both = Reach::default();
    both.mark(Reached::CancelInReceiving);
    both.merge(&reach);
    assert_eq!(both.missing(), []);
}

#[test]
fn cancels_are_told_apart_by_the_state_of_their_task() {
    let receiving = h()
        .sends_part(1, Ask::Echo(3), 7)
        .calls(Call::Cancel { id: 1 })
        .sends_bytes(&[1, 2, 0])
        .error(1, 255);
    assert_reaches(
        receiving.history(),
        &[Reached::CancelInReceiving, Reached::CancelByHandle],
    );
    let running = h()
        .sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .at(5)
        .cancels(1)
        .at(6)
        .ends(1, RunEnd::Dropped)
        .error(1, 255);
    assert_reaches(
        running.history(),
        &[Reached::CancelInRunning, Reached::CancelOnWire],
    );
    let late = h()
        .sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 0 })
        .calls(Call::CancelAll)
        .ok(1, b"");
    assert_reaches(
        late.history(),
        &[Reached::CancelInResponding, Reached::CompletionWins],
    );
    let first = h().complete().sends(1, SCRIPTED).cancels(1).error(1, 255);
    assert_reaches(first.history(), &[Reached::CancelBeforeFirstPoll]);
}

#[test]
fn ids_that_are_used_again_are_seen() {
    let at_once = h()
        .sends(1, Ask::Echo(0))
        .ok(1, b"")
        .sends(1, Ask::Echo(0))
        .ok(1, b"");
    assert_reaches(
        at_once.history(),
        &[Reached::IdReusedAtOnce, Reached::EmptyMessage],
    );
    let stuck = h()
        .sends(1, Ask::Block(900))
        .starts(1, 1, 14)
        .calls(Call::Cancel { id: 1 })
        .at(500)
        .observed(Observed::Stuck { id: 1 })
        .error(1, 255)
        .sends(1, Ask::Echo(0))
        .ok(1, b"")
        .at(900)
        .ends(1, RunEnd::Result);
    assert_reaches(
        stuck.history(),
        &[
            Reached::Stuck,
            Reached::StuckIdReused,
            Reached::StuckReturnsLate,
        ],
    );
}

#[test]
fn disconnects_are_told_apart_by_the_byte_at_which_they_come() {
    let states = [
        Reached::DisconnectAtByte0,
        Reached::DisconnectAtByte1,
        Reached::DisconnectAtByte2,
        Reached::DisconnectAtByte3,
        Reached::DisconnectAtByte4,
        Reached::DisconnectAtByte5,
        Reached::DisconnectInMessage,
    ];
    for (bytes, state) in states.into_iter().enumerate() {
        let cut = h()
            .sends(1, Ask::Echo(0))
            .sends_part(2, Ask::Echo(9), bytes)
            .calls(Call::Disconnect { after_ms: 9 });
        assert_reaches(cut.history(), &[state]);
    }
    let two = h()
        .calls(Call::Disconnect { after_ms: 9 })
        .calls(Call::Disconnect { after_ms: 8 })
        .calls(Call::Disconnect { after_ms: 10 });
    assert_reaches(
        two.history(),
        &[Reached::SecondShorter, Reached::SecondLonger],
    );
}

#[test]
fn limits_that_are_reached_and_left_are_seen() {
    let one = h()
        .config(|c| c.limits.in_flight = 1)
        .sends(1, SCRIPTED)
        .sends(2, SCRIPTED)
        .starts(1, 1, 20)
        .sends(3, Ask::KeepAlive(0))
        .ok(3, b"")
        .ends(1, RunEnd::Whole { bytes: 0 })
        .ok(1, b"")
        .starts(2, 2, 20)
        .ends(2, RunEnd::Whole { bytes: 0 })
        .ok(2, b"");
    assert_reaches(
        one.history(),
        &[Reached::InFlightReached, Reached::InFlightLeft],
    );
    let full = h()
        .config(|c| c.limits.tasks = 1)
        .sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .sends(2, SCRIPTED)
        .error(2, 252)
        .ends(1, RunEnd::Whole { bytes: 0 })
        .ok(1, b"")
        .sends(2, SCRIPTED)
        .starts(2, 2, 20);
    assert_reaches(
        full.history(),
        &[Reached::ServerFull, Reached::ServerFullLeft],
    );
    let unsent = h()
        .config(|c| (c.limits.unsent_bytes, c.transport_buffer_bytes) = (100, 10))
        .stalls()
        .sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 200 })
        .flows()
        .ok(1, &oracle::pattern(200))
        .client_ends()
        .server_ends()
        .closed(Reason::ClientClosed);
    assert_reaches(
        unsent.history(),
        &[
            Reached::UnsentReached,
            Reached::UnsentLeft,
            Reached::ClientClosed,
        ],
    );
}
