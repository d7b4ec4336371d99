//! Rejected: limits and timeouts (L).

use oracle::{Ask, Direction, Reason, RunEnd, What};

use crate::{h, rejected};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };

rejected! {
    an_end_by_l1_too_early: L1,
        h().config(|c| c.timeouts.wait_ms = 500).at(300).sends(1, Ask::KeepAlive(0)).ok(1, b"")
            .at(600).server_ends().client_ends().closed(Reason::TimeoutWaitingForTask);
    an_end_by_l1_while_a_task_ran: L1,
        h().config(|c| c.timeouts.wait_ms = 500).sends(1, SCRIPTED).starts(1, 1, 20)
            .at(400).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"")
            .at(600).server_ends().client_ends().closed(Reason::TimeoutWaitingForTask);
    an_end_by_l1_after_a_reset_that_had_come: L1,
        h().config(|c| c.timeouts.wait_ms = 500).client_ends().client_resets().at(600).closed(Reason::TimeoutWaitingForTask);
    an_idle_connection_that_goes_on: L1,
        h().config(|c| c.timeouts.wait_ms = 500).sends(1, Ask::Echo(0)).ok(1, b"").until(900);
    a_read_timeout_too_early: L2,
        h().sends_part(1, Ask::Echo(9), 7).at(3000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_read_timeout_between_requests: L2,
        h().sends(1, Ask::Echo(0)).ok(1, b"").at(9000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_header_that_never_comes: L2, h().sends_bytes(&[1, 0]).until(6000);
    a_message_that_never_comes: L2, h().sends_part(1, Ask::Echo(9), 7).until(6000);
    a_message_that_drips: L2,
        (1..70).fold(h().sends_part(1, Ask::Echo(90), 8), |h, second| h.at(second * 100).sends_bytes(&[7]));
    a_header_that_drips: L2,
        [1, 2, 3, 4, 5, 6].into_iter().fold(h().sends_bytes(&[1]), |h, byte| h.at(byte * 1500).sends_bytes(&[0]));
    a_read_timeout_though_bytes_had_moved: L2,
        h().sends_part(1, Ask::Echo(90), 8).at(4000).sends_bytes(&[7]).at(5004).server_ends().client_ends()
            .closed(Reason::ReadTimeout);
    a_write_timeout_of_a_client_that_reads: L3,
        h().sends(1, Ask::Echo(0)).ok(1, b"").at(9000).server_ends().client_ends().closed(Reason::WriteTimeout);
    a_write_timeout_too_early: L3,
        h().sends(1, Ask::Produce(9)).stalls().at(2000).server_ends().client_ends().closed(Reason::WriteTooSlow);
    a_client_that_takes_nothing_for_ever: L3,
        h().config(|c| c.transport_buffer_bytes = 64).stalls().sends(1, SCRIPTED).starts(1, 1, 20)
            .ends(1, RunEnd::Whole { bytes: 1000 }).until(60_000);
    more_tasks_in_flight_than_allowed: L5,
        h().config(|c| c.limits.in_flight = 1).sends(1, SCRIPTED).sends(2, SCRIPTED)
            .starts(1, 1, 20).starts(2, 2, 20);
    a_stuck_task_whose_place_was_given_away: L5,
        h().config(|c| c.limits.in_flight = 1).sends(1, Ask::Scripted { code: 22, bytes: 0 })
            .starts(1, 1, 22).cancels(1).at(300).observed(oracle::Observed::Stuck { id: 1 }).error(1, 255)
            .sends(2, SCRIPTED).starts(2, 2, 20);
    more_tasks_of_the_server_than_allowed: L6,
        h().config(|c| c.limits.tasks = 1).sends(1, SCRIPTED).sends(2, SCRIPTED)
            .starts(1, 1, 20).starts(2, 2, 20);
    an_unavailable_task_though_all_is_free: L6, h().sends(1, Ask::Echo(0)).error(1, 252);
    an_unavailable_task_though_the_one_before_is_gone: L6,
        h().config(|c| c.limits.tasks = 1).sends(1, Ask::Echo(0)).ok(1, b"").sends(2, Ask::Echo(0)).error(2, 252);
    more_message_bytes_than_are_held: L16,
        h().config(|c| c.limits.held_bytes = 10).sends(1, Ask::Scripted { code: 20, bytes: 12 })
            .sends(2, SCRIPTED).starts(1, 1, 20).starts(2, 2, 20);
    a_deadline_of_a_task_function_too_early: L14,
        h().sends(1, SCRIPTED).at(3000).error(1, 253);
    a_body_that_stalls_and_is_answered_ok: L15,
        h().sends(1, SCRIPTED).starts(1, 1, 20)
            .ends(1, RunEnd::Streamed { bytes: 2, then: oracle::BodyEnd::Stalls }).at(31_000).ok(1, &[0, 1]);
    a_read_timeout_though_only_requests_stalled_for_a_moment: L2,
        h().event(What::Stalled(Direction::ToServer)).sends(1, Ask::Echo(0)).at(100)
            .event(What::Flowing(Direction::ToServer)).server_ends().client_ends().closed_after(0, Reason::ReadTimeout, |_| ());
    an_idle_connection_that_goes_on_after_a_stall: L1,
        h().config(|c| c.timeouts.wait_ms = 500).stalls().at(100).flows().at(200).sends(1, Ask::Echo(0)).ok(1, b"").until(900);
    a_header_that_never_comes_after_a_stall: L2, h().stalls().at(100).flows().at(200).sends_bytes(&[1, 0]).until(6000);
    a_read_timeout_too_early_after_a_stall: L2,
        h().event(What::Stalled(Direction::ToServer)).at(3000).event(What::Flowing(Direction::ToServer)).at(4000)
            .sends_part(1, Ask::Echo(9), 7).at(7000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_reset_after_a_stall_that_is_not_noticed: L1,
        h().config(|c| c.timeouts.wait_ms = 500).stalls().at(100).flows().at(200).client_ends().client_resets().at(700)
            .closed(Reason::TimeoutWaitingForTask);
    a_write_timeout_long_after_a_stall: L3,
        h().sends(1, Ask::Produce(1)).stalls().at(6000).flows().ok(1, &[0]).at(9000).closed(Reason::WriteTimeout);
    a_client_that_took_nothing_until_it_read_again: L3,
        h().config(|c| c.transport_buffer_bytes = 64).stalls().sends(1, SCRIPTED).starts(1, 1, 20)
            .ends(1, RunEnd::Whole { bytes: 100 }).at(60_000).flows().ok(1, &(0..100).collect::<Vec<u8>>());
    an_answer_that_is_late_after_a_stall: T5,
        h().stalls().at(100).flows().at(200).sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Whole { bytes: 0 })
            .at(900).ok(1, b"");
    a_request_that_is_not_looked_at_when_all_flows_again: L7,
        h().stalls().sends(1, Ask::KeepAlive(0)).at(900).flows().at(2000).ok(1, b"");
    a_linger_that_does_not_end_after_a_stall: D3,
        h().stalls().at(100).flows().at(200).calls(oracle::Call::Disconnect { after_ms: 9000 }).server_ends().at(300)
            .client_ends().until(1000);
    a_sign_of_life_that_is_missing_after_a_stall: E5,
        h().stalls().at(100).flows().at(200).negotiates(2).sends(1, SCRIPTED).starts(1, 1, 20).at(40_000)
            .ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    a_cancel_that_is_not_answered_after_a_stall: T13,
        h().stalls().at(100).flows().at(200).sends(1, SCRIPTED).starts(1, 1, 20)
            .calls(oracle::Call::Cancel { id: 1 }).at(210).ends(1, RunEnd::Dropped).at(3000).error(1, 255);
    a_failure_of_a_transport_that_was_only_slow: D8,
        h().stalls().at(100).flows().at(200).closed(Reason::Transport);
    a_refused_connection_that_was_served: L8, h().sends(1, Ask::Echo(0)).ok(1, b"").server_ends().client_ends().closed(Reason::Refused);
    a_handshake_timeout_after_an_answer: L9,
        h().sends(1, Ask::Echo(0)).ok(1, b"").server_ends().client_ends().closed(Reason::HandshakeTimeout);
}
