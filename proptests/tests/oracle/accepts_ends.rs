//! Accepted: odd but legal ends, clocks and extensions (D, E, L).

use oracle::{
    Ask, BodyEnd, Call, Direction, Ending, FunctionEnd, Observed, OnHalfClose, Reason, Residue,
    Returned, RunEnd, State, What,
};

use crate::{accepted, h};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };
const COOPERATE: Ask = Ask::Scripted { code: 21, bytes: 0 };
const GRACEFUL: Reason = Reason::GracefulDisconnect;
const AFTER_100: Call = Call::Disconnect { after_ms: 100 };
const LONG: Call = Call::Disconnect { after_ms: 9000 };

accepted! {
    a_close_that_overtakes_the_end_of_the_context: h().calls(Call::EndContext).calls(Call::Close).server_ends()
        .closed(Reason::Aborted);
    a_list_behind_a_close: h().sends(1, Ask::Scripted { code: 20, bytes: 0 }).starts(1, 1, 20).calls(Call::Close).lists(&[])
        .closed(Reason::Aborted).ends(1, RunEnd::Dropped).server_ends();
    a_disconnect_with_nothing_to_do: h().calls(LONG).server_ends().client_ends().closed(GRACEFUL);
    a_disconnect_that_drains: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG)
        .at(800).ends(1, RunEnd::Whole { bytes: 2 }).ok(1, &[0, 1]).server_ends().client_ends().closed(GRACEFUL);
    a_linger_to_its_end: h().calls(LONG).server_ends().at(2000).closed(GRACEFUL);
    a_linger_cut_by_the_deadline: h().calls(AFTER_100).server_ends().at(100).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_second_shorter_disconnect: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).at(50).calls(AFTER_100)
        .at(150).ends(1, RunEnd::Dropped).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_second_longer_disconnect: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(AFTER_100).calls(LONG)
        .at(100).ends(1, RunEnd::Dropped).closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_duration_without_end: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Disconnect { after_ms: u64::MAX })
        .at(80_000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").server_ends().client_ends().closed(GRACEFUL);
    a_batch_that_is_accepted_during_the_disconnect: h().sends(1, SCRIPTED).calls(LONG).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").server_ends().client_ends().closed(GRACEFUL);
    requests_behind_the_disconnect_are_discarded: h().sends(1, Ask::Echo(0)).calls(LONG).sends(2, Ask::Echo(0))
        .server_ends().client_ends().closed_after(0, GRACEFUL, |_| ());
    requests_behind_the_disconnect_are_never_answered: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).at(50)
        .sends(2, Ask::KeepAlive(0)).at(900).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").server_ends().client_ends()
        .closed_after(1, GRACEFUL, |_| ());
    an_end_of_stream_inside_a_request_while_draining: h().calls(LONG).sends_part(1, Ask::Echo(3), 6).client_ends()
        .server_ends().closed(GRACEFUL);
    a_goodbye_with_none_accepted_but_the_negotiate: h().negotiates(1).calls(LONG).sends(1, Ask::Echo(0)).goodbye(1)
        .server_ends().client_ends().closed_after(1, GRACEFUL, |_| ());
    a_goodbye_between_answers: h().negotiates(3).sends(1, Ask::Echo(0)).sends(2, Ask::Sleep { ms: 50, rest: 0 })
        .calls(LONG).ok(1, b"").goodbye(3).at(50).ok(2, b"").server_ends().client_ends().closed(GRACEFUL);
    a_goodbye_that_counts_cancels: h().negotiates(1).cancels(9).cancels(8).calls(LONG).goodbye(3).server_ends().client_ends().closed(GRACEFUL);
    a_goodbye_after_a_connection_error: h().negotiates(1).sends(1, Ask::Break).goodbye(2).server_ends().client_ends()
        .closed(Reason::RunFunction { id: 1 });
    a_goodbye_when_the_client_ended: h().negotiates(1).client_ends().goodbye(1).server_ends().closed(Reason::ClientClosed);
    a_goodbye_when_nothing_was_to_do: h().config(|c| c.timeouts.wait_ms = 500).negotiates(1).at(500).goodbye(1)
        .server_ends().client_ends().closed(Reason::TimeoutWaitingForTask);
    a_negotiate_that_takes_back: h().negotiates(3).negotiates(0).calls(LONG).server_ends().client_ends().closed(GRACEFUL);
    a_negotiate_of_a_newer_client: h().sends(1, Ask::Negotiate { version: 9, features: 0xffff_fff1, bytes: 40 })
        .ok(1, &[1, 0, 0, 0, 1, 0, 0, 4, 0, 0, 64, 0, 0, 0, 0, 7, 8, 0, 0, 0, 15]);
    a_malformed_negotiate: h().sends(1, Ask::Negotiate { version: 0, features: 1, bytes: 5 }).error(1, 250)
        .sends(2, Ask::Negotiate { version: 1, features: 1, bytes: 4 }).error(2, 250);
    signs_of_life: h().negotiates(2).sends(1, SCRIPTED).starts(1, 1, 20).at(15_000).processing(1).at(30_000).processing(1)
        .at(40_000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    an_overdue_sign_of_life: h().sends(1, SCRIPTED).starts(1, 1, 20).at(20_000).negotiates(2).processing(1)
        .at(25_000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    signs_of_life_while_draining: h().negotiates(2).sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Disconnect { after_ms: 20_000 })
        .at(15_000).processing(1).at(16_000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").server_ends().client_ends().closed(GRACEFUL);
    a_close_that_interrupts: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Close).ends(1, RunEnd::Dropped).closed(Reason::Aborted);
    a_close_while_draining: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).at(50).calls(Call::Close)
        .ends(1, RunEnd::Dropped).closed(GRACEFUL);
    a_close_and_a_disconnect_at_once: h().begins(Call::Close).begins(LONG).returns(1, Returned::Nothing)
        .returns(2, Returned::Nothing).closed(GRACEFUL);
    a_disconnect_of_no_time_that_still_writes: h().sends(1, Ask::Echo(0)).calls(Call::Disconnect { after_ms: 0 }).ok(1, b"")
        .closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_cooperating_function_that_outlives_its_connection: h().sends(1, COOPERATE).starts(1, 1, 21).calls(AFTER_100)
        .at(100).closed_with(GRACEFUL, |r| r.deadline_reached = true).at(390).ends(1, RunEnd::Whole { bytes: 1 })
        .event(What::Left(Residue::default())).complete().until(900);
    a_client_that_leaves_its_tasks: h().sends(1, SCRIPTED).starts(1, 1, 20).client_ends().ends(1, RunEnd::Dropped)
        .server_ends().closed(Reason::ClientClosed);
    a_client_that_leaves_and_still_gets_an_answer: h().sends(1, Ask::Echo(0)).client_ends().ok(1, b"").server_ends().closed(Reason::ClientClosed);
    a_half_close_that_drains: h().config(|c| c.on_half_close = OnHalfClose::Drain).sends(1, SCRIPTED).starts(1, 1, 20)
        .client_ends().at(90_000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").server_ends().closed(Reason::ClientClosed);
    an_end_of_stream_inside_a_header: h().sends_bytes(&[1, 0, 0]).client_ends().server_ends().closed(Reason::UnexpectedEnd { offset: 3 });
    an_end_of_stream_inside_a_block: h().sends_part(1, Ask::Echo(9), 9).client_ends().server_ends().closed(Reason::UnexpectedEnd { offset: 9 });
    an_end_by_l1_while_a_reset_is_on_its_way: h().config(|c| (c.timeouts.wait_ms, c.tolerance.network_ms) = (500, 50))
        .at(470).client_ends().client_resets().at(500).closed(Reason::TimeoutWaitingForTask);
    an_end_by_l1_while_a_reset_is_held_back: h().config(|c| c.timeouts.wait_ms = 500)
        .event(What::Stalled(Direction::ToServer)).client_ends().client_resets().at(500).closed(Reason::TimeoutWaitingForTask);
    an_end_by_l1_of_a_server_that_reads_no_end_of_stream: h().config(|c| (c.timeouts.wait_ms, c.limits.in_flight) = (500, 1))
        .sends(1, Ask::Scripted { code: 22, bytes: 0 }).starts(1, 1, 22).calls(Call::Cancel { id: 1 }).at(300)
        .observed(Observed::Stuck { id: 1 }).error(1, 255).at(400).client_ends().client_resets()
        .at(800).closed_with(Reason::TimeoutWaitingForTask, |r| r.stuck = vec![1]).at(900).ends(1, RunEnd::Whole { bytes: 0 });
    an_end_by_l1_of_a_server_that_nobody_hears: h().config(|c| c.timeouts.wait_ms = 500).at(200).event(What::ServerReset)
        .at(500).closed(Reason::TimeoutWaitingForTask);
    an_end_by_l3_while_draining: h().negotiates(1).sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).goodbye(2).at(6).stalls()
        .at(5006).ends(1, RunEnd::Dropped).closed(Reason::WriteTimeout);
    a_connection_that_a_shutdown_did_not_take: h().config(|c| c.tolerance.network_ms = 2).calls(Call::Shutdown { after_ms: 60 })
        .closed(GRACEFUL).at(2).server_ends().at(9).client_ends().complete();
    an_end_by_l2_while_a_reset_is_held_back: h().sends_part(1, Ask::Echo(9), 7).event(What::Stalled(Direction::ToServer))
        .client_ends().client_resets().at(5000).closed(Reason::ReadTimeout);
    an_end_by_l3_while_a_reset_is_held_back: h().sends(1, Ask::Produce(9)).stalls()
        .client_ends().client_resets().at(5000).closed(Reason::WriteTimeout);
    a_reset_while_a_task_runs: h().sends(1, SCRIPTED).starts(1, 1, 20).client_resets().ends(1, RunEnd::Dropped).closed(Reason::Transport);
    a_reset_with_answers_on_their_way: h().sends(1, Ask::Echo(3)).client_resets()
        .closed_with(Reason::Transport, |r| { r.interrupted_tasks.clear(); (r.ok, r.interrupted, r.bytes_written) = (1, 0, 10); });
    a_reset_while_draining_replaces_the_reason: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(LONG).at(20).client_resets()
        .ends(1, RunEnd::Dropped).closed(Reason::Transport);
    a_run_function_s_error: h().sends(1, SCRIPTED).starts(1, 1, 20).sends(2, SCRIPTED).starts(2, 2, 20).ends(1, RunEnd::Uncoded)
        .ends(2, RunEnd::Dropped).server_ends().client_ends().closed(Reason::RunFunction { id: 1 });
    a_body_that_tears_in_the_middle: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 70_000, then: BodyEnd::Torn }).receives(&[0, 0, 0, 0, 1, 3, 0, 1, 2])
        .server_ends().client_ends().closed_with(Reason::Body { id: 1 }, |r| r.interrupted_tasks[0].state = State::Responding);
    a_rejected_request: h().sends(1, Ask::Reject(2)).server_ends().client_ends().closed_after(0, Reason::TaskFunction { id: 1 }, |_| ());
    a_rejected_request_that_a_goodbye_had_counted: h().negotiates(1).sends(1, Ask::Reject(2)).calls(LONG).goodbye(2)
        .server_ends().client_ends().closed_with(Reason::TaskFunction { id: 1 }, |r| r.interrupted_tasks[0].state = State::Receiving);
    a_message_too_long: h().config(|c| c.limits.message_bytes = 10).sends_part(1, Ask::Echo(200), 9).server_ends().client_ends()
        .closed(Reason::MessageTooLong { id: 1 });
    an_idle_end: h().config(|c| c.timeouts.wait_ms = 500).sends(1, Ask::Echo(0)).ok(1, b"").at(500).server_ends().client_ends()
        .closed(Reason::TimeoutWaitingForTask);
    a_task_that_outlasts_the_idle_time: h().config(|c| c.timeouts.wait_ms = 500).sends(1, SCRIPTED).starts(1, 1, 20)
        .at(900).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"").at(1300).sends(2, Ask::KeepAlive(0)).ok(2, b"");
    a_header_that_stops: h().sends_bytes(&[1, 0]).at(5000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_body_that_stops: h().sends_part(1, Ask::Echo(90), 8).at(5000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_body_whose_end_came_when_l2_had_ended_it: h().negotiates(1).sends_part(1, Ask::Echo(90), 8).at(4000).sends_bytes(&[7]).at(5004)
        .goodbye(1).server_ends().at(5100).sends_bytes(&[7; 87]).sends_bytes(&[0]).client_ends()
        .closed_after(1, Reason::ReadTooSlow, |_| ());
    a_body_that_drips: h().sends_part(1, Ask::Echo(90), 8).at(4000).sends_bytes(&[7]).at(5004).server_ends().client_ends()
        .closed(Reason::ReadTooSlow);
    a_slow_but_honest_body: (1..=30).fold(h().config(|c| c.timeouts.read_ms = 200).sends_part(1, Ask::Digest(200), 8), |h, n| {
        h.at(n * 20).sends_bytes(&[7; 5])
    });
    a_byte_in_the_turn_in_which_the_credit_runs_out: h().config(|c| c.timeouts.read_ms = 200).sends_part(1, Ask::Digest(300), 200)
        .at(200).sends_bytes(&[7; 12]).at(251).sends_bytes(&[7; 40]).until(300);
    a_body_too_slow_behind_such_a_byte: h().config(|c| c.timeouts.read_ms = 294).sends_part(1, Ask::Digest(300), 200)
        .at(294).sends_bytes(&[7; 12]).at(344).server_ends().at(2344).closed(Reason::ReadTooSlow);
    a_client_that_reads_nothing: h().config(|c| c.transport_buffer_bytes = 64).stalls().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 1000 }).at(5000)
        .closed_with(Reason::WriteTimeout, |r| { r.interrupted_tasks[0].state = State::Responding; r.bytes_written = 64; });
    a_list_behind_an_error_in_a_history_that_is_cut_off: h().sends(1, SCRIPTED).starts(1, 1, 20).sends(1, Ask::Echo(0))
        .observed(Observed::Finished { id: 1, ending: Ending::Interrupted }).lists(&[]);
    a_request_that_a_full_buffer_held_and_the_way_there_and_back: h().config(|c| c.tolerance.network_ms = 50)
        .event(What::Stalled(Direction::ToServer)).sends(1, Ask::KeepAlive(0)).event(What::Flowing(Direction::ToServer))
        .at(115).ok(1, b"").until(500);
    a_reset_while_the_client_takes_nothing: h().config(|c| (c.timeouts.write_ms, c.transport_buffer_bytes) = (200, 64)).stalls()
        .sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Whole { bytes: 100 }).client_resets().closed(Reason::Transport)
        .at(9000).flows();
    a_client_that_reads_at_last: h().config(|c| c.transport_buffer_bytes = 64).stalls().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 100 }).at(20_000).flows().ok(1, &(0..100).collect::<Vec<u8>>());
    a_client_that_drips: h().config(|c| c.transport_buffer_bytes = 64).stalls().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 100 }).at(20_000).receives(&[0]).at(40_000).receives(&[0]).at(60_000).flows()
        .receives(&[0, 0, 1, 100]).receives(&(0..100).collect::<Vec<u8>>()).receives(&[0]);
    a_write_timeout_as_the_client_reads_again: h().sends(1, Ask::Produce(1)).stalls().at(6000).flows().ok(1, &[0])
        .server_ends().at(8000).closed(Reason::WriteTimeout);
    a_request_that_waits_while_a_stall_goes_on: h().stalls().sends(1, Ask::KeepAlive(0)).at(900).flows()
        .at(901).stalls().at(2000).flows().ok(1, b"");
    a_read_timeout_of_a_request_that_was_held: h().event(What::Stalled(Direction::ToServer)).sends_part(1, Ask::Echo(9), 7)
        .at(3000).event(What::Flowing(Direction::ToServer)).at(8000).server_ends().client_ends().closed(Reason::ReadTimeout);
    a_linger_that_began_behind_a_stall: h().calls(LONG).stalls().at(1500).flows().server_ends().at(2000).closed(GRACEFUL);
    requests_that_the_network_holds: h().event(What::Stalled(Direction::ToServer)).sends(1, Ask::KeepAlive(0)).at(3000)
        .event(What::Flowing(Direction::ToServer)).ok(1, b"");
    bytes_that_never_left: h().sends(1, Ask::Echo(3)).event(What::Unsent(4)).client_ends().server_ends().closed(Reason::UnexpectedEnd { offset: 6 });
    a_shutdown_that_waits_for_its_connection: h().begins(Call::Shutdown { after_ms: 5000 }).server_ends().client_ends()
        .closed(GRACEFUL).returns(1, Returned::Nothing);
    a_shutdown_held_up_by_code_that_blocks: h().sends(1, SCRIPTED).starts(1, 1, 20).begins(Call::Shutdown { after_ms: 100 })
        .at(100).ends(1, RunEnd::Dropped).closed_with(GRACEFUL, |r| r.deadline_reached = true).at(900).returns(1, Returned::Nothing);
    the_end_of_the_context: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::EndContext).at(10_000).ends(1, RunEnd::Dropped)
        .closed_with(GRACEFUL, |r| r.deadline_reached = true);
    a_negotiate_above_the_limit_of_messages: h().config(|c| c.limits.message_bytes = 0)
        .sends(1, Ask::Negotiate { version: 1, features: 0, bytes: 5 })
        .ok(1, &[1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 15]);
    a_reset_that_is_noticed_late: h().event(What::ClientReset).at(5000).server_ends().closed(Reason::Transport);
    two_breaks_that_the_network_held_and_gave_together: h().event(What::Stalled(Direction::ToServer))
        .sends(5, Ask::Break).at(700).sends(3, Ask::Break).at(720).event(What::Flowing(Direction::ToServer))
        .starts(0, 5, 8).ends(0, RunEnd::Uncoded).starts(1, 3, 8).ends(1, RunEnd::Uncoded).client_ends().server_ends()
        .closed(Reason::RunFunction { id: 5 });
    a_deadline_of_a_task_that_the_transport_did_not_take: h().sends(2, Ask::Limited(900)).starts(0, 2, 15).at(200)
        .ends(0, RunEnd::Dropped).observed(Observed::Finished { id: 2, ending: Ending::Error(253) }).client_resets()
        .closed_with(Reason::Transport, |r| r.interrupted_tasks[0].state = State::Responding);
    a_goodbye_that_l3_cut_off: h().config(|c| c.timeouts.write_ms = 100).negotiates(3).stalls().sends(1, Ask::Echo(0)).at(500)
        .client_ends().at(620).closed_with(Reason::ClientClosed, |r| r.interrupted_tasks[0].state = State::Responding).server_ends();
    two_tasks_with_one_id_that_end_in_two_states: h().stalls().sends(0, Ask::Echo(9)).starts(0, 0, 1).ends(0, RunEnd::Result)
        .observed(Observed::Finished { id: 0, ending: Ending::Ok }).sends(0, SCRIPTED).starts(1, 0, 20).begins(Call::Close)
        .ends(1, RunEnd::Dropped).closed_with(Reason::Aborted, |r| r.interrupted_tasks[0].state = State::Responding);
    a_function_that_l3_dropped: h().config(|c| c.timeouts.write_ms = 400).complete().negotiates(3).stalls().sends(2, SCRIPTED)
        .starts(0, 2, 20).at(1200).observed(Observed::Finished { id: 2, ending: Ending::Interrupted }).ends(0, RunEnd::Dropped)
        .at(3200).closed(Reason::WriteTimeout).server_ends();
    a_wait_that_a_stuck_function_does_not_end: h().config(|c| c.timeouts.wait_ms = 400)
        .sends(2, Ask::Scripted { code: 22, bytes: 0 }).starts(0, 2, 22).at(500).calls(Call::CancelAll).at(800)
        .observed(Observed::Stuck { id: 2 }).error(2, 255).at(1200).server_ends().at(2600).ends(0, RunEnd::Result)
        .at(3200).closed(Reason::TimeoutWaitingForTask);
    a_list_of_a_client_that_sees_its_end_late: h().stalls().sends(0, SCRIPTED).starts(0, 0, 20).sends(0, Ask::KeepAlive(0))
        .observed(Observed::Finished { id: 0, ending: Ending::Interrupted }).at(200).lists(&[]).at(210).ends(0, RunEnd::Dropped)
        .at(2000).closed_after(1, Reason::DuplicateTaskId { id: 0 }, |_| ());
    a_failed_task_function_of_a_client_that_does_not_read: h().config(|c| c.timeouts.write_ms = 100).stalls()
        .sends(5, Ask::Reject(0)).function(5, 7).function_ends(5, FunctionEnd::Failed).at(1900).flows().server_ends()
        .at(2000).closed_after(0, Reason::TaskFunction { id: 5 }, |_| ());
    a_stuck_task_whose_id_was_sent_again: h().sends(1, Ask::Scripted { code: 22, bytes: 0 }).starts(0, 1, 22).calls(Call::CancelAll)
        .at(300).sends(1, Ask::Tidy(9)).observed(Observed::Stuck { id: 1 }).error(1, 255).at(500)
        .ends(0, RunEnd::Whole { bytes: 0 });
    a_stuck_task_whose_answer_was_on_its_way_at_the_close: h().stalls().sends(1, Ask::Scripted { code: 22, bytes: 0 })
        .starts(0, 1, 22).calls(Call::CancelAll).at(300).observed(Observed::Stuck { id: 1 })
        .observed(Observed::Finished { id: 1, ending: Ending::Error(255) }).at(500).calls(Call::Close)
        .closed_with(Reason::Aborted, |r| {
            (r.cancelled, r.interrupted, r.bytes_written) = (1, 0, 6);
            (r.stuck, r.interrupted_tasks) = (vec![1], Vec::new());
        })
        .at(800).ends(0, RunEnd::Whole { bytes: 1 }).at(900).flows().error(1, 255).server_ends();
    a_failed_task_function_behind_what_is_written_slowly: h().stalls().sends(1, SCRIPTED).starts(0, 1, 20)
        .ends(0, RunEnd::Whole { bytes: 2 }).at(8).sends(5, Ask::Reject(0)).function(5, 7).function_ends(5, FunctionEnd::Failed)
        .at(2145).ok(1, &[0, 1]).server_ends().at(4145).closed_after(1, Reason::TaskFunction { id: 5 }, |_| ());
    a_refused_connection: h().server_ends().closed(Reason::Refused).client_ends();
}
