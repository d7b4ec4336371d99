//! Rejected: reports and their reasons (D9), and what is left over.

use oracle::{Ask, Call, FunctionEnd, Reason, Residue, RunEnd, State, What};

use crate::{h, rejected};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };

/// One echo, answered, and both have ended their streams.
fn answered() -> oracle::Handmade {
    h().sends(1, Ask::Echo(0))
        .ok(1, b"")
        .client_ends()
        .server_ends()
}

/// One task that runs when the client leaves.
fn left() -> oracle::Handmade {
    h().sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .client_ends()
        .server_ends()
}

rejected! {
    counts_that_do_not_add_up: D9, answered().closed_with(Reason::ClientClosed, |r| r.accepted = 0);
    an_answer_that_is_counted_as_interrupted: D9,
        answered().closed_with(Reason::ClientClosed, |r| (r.ok, r.interrupted) = (0, 1));
    an_ok_that_is_counted_as_an_error: D9,
        answered().closed_with(Reason::ClientClosed, |r| (r.ok, r.errors) = (0, 1));
    a_cancelled_answer_that_is_counted_as_an_error: D9,
        h().sends(1, Ask::Sleep { ms: 9, rest: 0 }).cancels(1).error(1, 255).client_ends().server_ends()
            .closed_with(Reason::ClientClosed, |r| (r.cancelled, r.errors) = (0, 1));
    a_cancel_that_is_not_counted: D9,
        answered().closed_with(Reason::ClientClosed, |r| (r.cancels, r.ok) = (1, 0));
    more_requests_than_were_sent: D9,
        answered().closed_with(Reason::ClientClosed, |r| (r.accepted, r.ok) = (2, 2));
    fewer_bytes_than_the_accepted_requests_have: D9,
        answered().closed_with(Reason::ClientClosed, |r| r.bytes_read = 3);
    more_bytes_read_than_sent: D9, answered().closed_with(Reason::ClientClosed, |r| r.bytes_read = 30);
    fewer_bytes_written_than_received: D9, answered().closed_with(Reason::ClientClosed, |r| r.bytes_written = 3);
    bytes_that_were_lost_before_a_good_end: D9, answered().closed_with(Reason::ClientClosed, |r| r.bytes_written = 30);
    an_interrupted_task_that_is_not_named: D9,
        left().closed_with(Reason::ClientClosed, |r| r.interrupted_tasks.clear());
    an_interrupted_task_under_another_id: D9,
        left().closed_with(Reason::ClientClosed, |r| r.interrupted_tasks[0].id = 2);
    a_running_task_in_receiving: D9,
        left().closed_with(Reason::ClientClosed, |r| r.interrupted_tasks[0].state = State::Receiving);
    a_running_task_in_responding: D9,
        left().closed_with(Reason::ClientClosed, |r| r.interrupted_tasks[0].state = State::Responding);
    an_answer_to_a_request_that_was_not_accepted: T5, answered().closed_after(0, Reason::ClientClosed, |r| {
        r.bytes_read = 0;
    });
    a_graceful_end_that_nobody_asked_for: D9, answered().closed(Reason::GracefulDisconnect);
    an_aborted_connection_that_nobody_closed: D5, answered().closed(Reason::Aborted);
    a_client_that_never_closed: D7, h().server_ends().at(2000).closed(Reason::ClientClosed);
    a_client_that_closed_inside_a_request: D7,
        h().sends_part(1, Ask::Echo(2), 7).client_ends().server_ends().closed(Reason::ClientClosed);
    an_unexpected_end_between_two_requests: D7, answered().closed(Reason::UnexpectedEnd { offset: 0 });
    an_unexpected_end_at_another_offset: D7,
        h().sends_part(1, Ask::Echo(2), 7).client_ends().server_ends().closed(Reason::UnexpectedEnd { offset: 6 });
    a_client_closed_only_after_a_disconnect: D7,
        h().calls(Call::Disconnect { after_ms: 900 }).at(10).client_ends().server_ends().closed(Reason::ClientClosed);
    aborted_though_it_was_already_draining: D9,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Disconnect { after_ms: 900 })
            .at(50).calls(Call::Close).closed(Reason::Aborted);
    graceful_though_it_was_closed_before: D9,
        h().calls(Call::Close).calls(Call::Disconnect { after_ms: 900 }).closed(Reason::GracefulDisconnect);
    a_transport_error_without_one: D8, h().server_ends().at(2000).closed(Reason::Transport);
    a_task_that_did_not_fail: T8, answered().closed(Reason::RunFunction { id: 1 });
    a_task_function_that_did_not_fail: T3, answered().closed(Reason::TaskFunction { id: 1 });
    a_body_that_did_not_fail: T7, answered().closed(Reason::Body { id: 1 });
    a_duplicate_id_whose_first_was_answered_before: T11,
        h().sends(1, Ask::Echo(0)).ok(1, b"").sends(1, Ask::Echo(0)).server_ends().client_ends()
            .closed_after(1, Reason::DuplicateTaskId { id: 1 }, |_| ());
    a_message_too_long_that_was_not: L4, answered().closed(Reason::MessageTooLong { id: 1 });
    a_message_over_its_limit_that_is_answered: L4,
        h().config(|c| c.limits.message_bytes = 10).sends(1, Ask::Echo(11)).ok(1, &oracle::pattern(11));
    a_client_that_left_long_after_the_run_function_failed: D9,
        h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Uncoded)
            .at(900).client_ends().server_ends().closed(Reason::ClientClosed);
    a_connection_that_is_never_reported: D9, h().complete().sends(1, Ask::Echo(0)).ok(1, b"").until(50);
    a_run_function_that_is_left: Residue, left().closed(Reason::ClientClosed).complete().until(5000);
    a_task_function_that_is_left: Residue,
        h().sends_part(1, Ask::Scripted { code: 20, bytes: 3 }, 7).function(1, 20).client_ends().server_ends()
            .closed(Reason::UnexpectedEnd { offset: 7 }).complete().until(50);
    a_body_that_is_never_dropped: T7,
        h().sends(1, SCRIPTED).starts(1, 1, 20)
            .ends(1, RunEnd::Streamed { bytes: 1, then: oracle::BodyEnd::Whole }).ok(1, &[0])
            .client_ends().server_ends().closed(Reason::ClientClosed).complete();
    a_run_that_starts_when_all_is_closed: D4,
        h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Task).client_ends().server_ends()
            .closed(Reason::ClientClosed).starts(1, 1, 20).ends(1, RunEnd::Dropped).complete();
    a_place_that_is_never_given_back: Residue,
        answered().closed(Reason::ClientClosed).event(What::Left(Residue { tasks: 1, ..Residue::default() }));
    unsent_bytes_that_stay_counted: Residue,
        answered().closed(Reason::ClientClosed).event(What::Left(Residue { unsent_bytes: 6, ..Residue::default() }));
    a_client_that_stays_in_the_list: Residue,
        answered().closed(Reason::ClientClosed).event(What::Left(Residue { clients: 1, ..Residue::default() }));
    a_list_of_a_closed_connection_that_is_not_empty: T11, left().closed(Reason::ClientClosed).lists(&[1]);
    a_counted_request_without_an_answer: T5,
        h().negotiates(1).sends(1, SCRIPTED).calls(Call::Disconnect { after_ms: 9000 }).goodbye(2).server_ends();
}
