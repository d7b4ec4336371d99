//! Rejected: disconnecting, closing, draining (D), and the extensions (E).

use oracle::{Ask, Call, Reason, Returned, RunEnd};

use crate::{h, rejected};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };
const GRACEFUL: Reason = Reason::GracefulDisconnect;
const AFTER_100: Call = Call::Disconnect { after_ms: 100 };
const LONG: Call = Call::Disconnect { after_ms: 9000 };

rejected! {
    a_keep_alive_with_a_body: E1, h().sends(1, Ask::KeepAlive(4)).ok(1, &[0, 1, 2, 3]);
    a_negotiate_that_grants_what_was_not_asked_for: E3,
        h().sends(1, Ask::Negotiate { version: 1, features: 1, bytes: 5 })
            .ok(1, &[1, 0, 0, 0, 3, 0, 0, 4, 0, 0, 64, 0, 0, 0, 0, 7, 8, 0, 0, 0, 15]);
    a_negotiate_with_another_limit: E3,
        h().sends(1, Ask::Negotiate { version: 1, features: 1, bytes: 5 })
            .ok(1, &[1, 0, 0, 0, 1, 0, 0, 4, 1, 0, 64, 0, 0, 0, 0, 7, 8, 0, 0, 0, 15]);
    a_malformed_negotiate_that_is_answered_ok: E3,
        h().sends(1, Ask::Negotiate { version: 1, features: 1, bytes: 4 }).ok(1, b"");
    an_echo_that_is_malformed: E3, h().sends(1, Ask::Echo(0)).error(1, 250);
    a_goodbye_that_was_not_granted: E4, h().sends(1, Ask::Echo(0)).ok(1, b"").calls(LONG).goodbye(1);
    a_goodbye_after_a_negotiate_that_gave_it_up: E4, h().negotiates(1).negotiates(2).calls(LONG).goodbye(2);
    a_goodbye_that_comes_twice: E4, h().negotiates(1).calls(LONG).goodbye(1).goodbye(1);
    a_goodbye_that_counts_too_many: E4, h().negotiates(1).calls(LONG).goodbye(2);
    a_goodbye_that_counts_too_few: E4,
        h().negotiates(1).sends(1, Ask::Sleep { ms: 50, rest: 0 }).calls(LONG).goodbye(1).at(50).ok(1, b"");
    a_goodbye_that_does_not_count_what_has_started: E4,
        h().negotiates(1).sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).goodbye(1);
    a_goodbye_with_another_count_than_the_report: E4,
        h().negotiates(1).sends(1, Ask::Echo(0)).calls(LONG).goodbye(1).server_ends().client_ends()
            .closed_with(GRACEFUL, |_| ());
    a_goodbye_while_nothing_ends: E4, h().negotiates(1).goodbye(1);
    a_goodbye_because_of_a_close: E4, h().negotiates(1).calls(Call::Close).goodbye(1);
    a_granted_goodbye_that_is_missing: E4,
        h().negotiates(1).calls(LONG).server_ends().client_ends().closed(GRACEFUL);
    a_processing_that_was_not_granted: E5, h().sends(1, SCRIPTED).at(15_000).processing(1);
    a_processing_for_a_keep_alive: E5,
        h().negotiates(2).sends(1, Ask::KeepAlive(0)).at(15_000).processing(1);
    a_processing_for_an_id_that_is_gone: E5,
        h().negotiates(2).sends(1, SCRIPTED).at(15_000).error(1, 1).processing(1);
    a_processing_too_early: E5, h().negotiates(2).sends(1, SCRIPTED).at(10_000).processing(1);
    a_second_processing_too_early: E5,
        h().negotiates(2).sends(1, SCRIPTED).at(15_000).processing(1).at(20_000).processing(1);
    a_long_task_without_a_processing: E5,
        h().negotiates(2).sends(1, SCRIPTED).starts(1, 1, 20).at(40_000)
            .ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    a_request_that_was_sent_after_the_disconnect_and_is_answered: D1,
        h().calls(LONG).sends(1, Ask::Echo(0)).ok(1, b"");
    a_request_that_was_sent_after_the_goodbye_and_is_started: E4,
        h().negotiates(1).calls(LONG).goodbye(1).sends(1, SCRIPTED).starts(1, 1, 20);
    a_request_that_was_sent_after_the_disconnect_and_is_started: D1,
        h().calls(LONG).sends(1, SCRIPTED).starts(1, 1, 20);
    a_request_whose_end_came_after_the_disconnect: D1,
        h().sends_part(1, Ask::Echo(3), 7).calls(LONG).sends_bytes(&[1, 2, 0]).ok(1, &[0, 1, 2]);
    a_run_that_starts_long_after_the_disconnect: D1,
        h().sends(1, SCRIPTED).calls(LONG).at(500).starts(1, 1, 20);
    a_request_that_was_sent_after_the_shutdown: D1,
        h().begins(Call::Shutdown { after_ms: 900 }).sends(1, Ask::Echo(0)).ok(1, b"");
    a_deadline_that_passes: D2, h().sends(1, SCRIPTED).starts(1, 1, 20).calls(AFTER_100).until(500);
    the_longer_of_two_disconnects: D2,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).calls(AFTER_100)
            .at(9000).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    the_later_call_though_the_first_was_shorter: D2,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(AFTER_100).at(50).calls(AFTER_100)
            .at(180).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_shutdown_that_the_connection_ignores: D2,
        h().sends(1, SCRIPTED).starts(1, 1, 20).begins(Call::Shutdown { after_ms: 100 }).until(600);
    a_deadline_that_is_reached_too_early: D2,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(AFTER_100)
            .at(50).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_deadline_that_nobody_set: D2,
        h().client_ends().server_ends().closed_with(Reason::ClientClosed, |r| r.deadline_reached = true);
    a_drain_that_interrupts_a_task: D3,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).server_ends().client_ends().closed(GRACEFUL);
    a_drain_that_cuts_a_response: D3,
        h().sends(1, Ask::Echo(3)).calls(LONG).receives(&[0, 0, 0, 0, 1, 3, 0]).server_ends().client_ends()
            .closed_after(0, GRACEFUL, |_| ());
    a_half_close_that_interrupts_though_it_should_drain: D3,
        h().config(|c| c.on_half_close = oracle::OnHalfClose::Drain).sends(1, SCRIPTED).starts(1, 1, 20)
            .client_ends().server_ends().closed(Reason::ClientClosed);
    a_connection_that_stays_when_both_have_ended: D3,
        h().calls(LONG).server_ends().client_ends().until(2500);
    a_linger_without_end: D3, h().calls(LONG).server_ends().until(2500);
    a_linger_that_is_cut: L11, h().calls(LONG).server_ends().at(100).closed(GRACEFUL);
    a_close_that_does_not_close: D5, h().calls(Call::Close).until(500);
    a_run_that_starts_after_a_close: D1, h().sends(1, SCRIPTED).calls(Call::Close).at(100).starts(1, 1, 20);
    a_shutdown_that_does_not_return: D6,
        h().begins(Call::Shutdown { after_ms: 100 }).server_ends().client_ends().closed(GRACEFUL).until(1500);
    a_shutdown_that_returns_too_early: D6,
        h().sends(1, SCRIPTED).starts(1, 1, 20).begins(Call::Shutdown { after_ms: 900 })
            .returns(1, Returned::Nothing).at(500).ends(1, RunEnd::Coded { code: 1 }).error(1, 1);
    a_failure_without_a_code_that_ends_nothing: T8,
        h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Uncoded).until(60_000);
    a_request_that_is_accepted_after_a_connection_error: D8,
        h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Uncoded)
            .at(100).sends(2, SCRIPTED).starts(2, 2, 20);
    bytes_behind_the_end_of_the_stream: Harness, h().sends(1, Ask::Echo(0)).server_ends().ok(1, b"");
}
