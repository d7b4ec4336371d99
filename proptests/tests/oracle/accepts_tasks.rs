//! Accepted: odd but legal lives of tasks (T, N, L5, L6, section 11).

use oracle::{
    Ask, BodyEnd, Call, CancelCause, Ending, FunctionEnd, Neighbours, Observed, Order, Reason,
    RunEnd, Runs, State,
};

use crate::{accepted, h};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };
const COOPERATE: Ask = Ask::Scripted { code: 21, bytes: 0 };
const BLOCKING: Ask = Ask::Scripted { code: 22, bytes: 0 };
const SLEEP: Ask = Ask::Sleep { ms: 100, rest: 1 };

accepted! {
    a_thread_that_gets_to_an_earlier_request_later: h().config(|c| c.limits.held_bytes = 4)
        .sends(3, Ask::Scripted { code: 22, bytes: 2 }).sends(4, Ask::Scripted { code: 21, bytes: 9 })
        .starts(0, 4, 21).starts(1, 3, 22).ends(0, RunEnd::Whole { bytes: 0 }).ends(1, RunEnd::Whole { bytes: 0 })
        .ok(4, b"").ok(3, b"");
    an_id_used_again_before_its_cancelled_task_was_read_of: h().stalls().sends_part(0, Ask::Scripted { code: 20, bytes: 9 }, 7)
        .calls(Call::Cancel { id: 0 }).sends_bytes(&[1, 2, 3, 4, 5, 6, 7, 8, 0])
        .observed(Observed::Finished { id: 0, ending: Ending::Error(255) }).sends(0, Ask::Scripted { code: 20, bytes: 0 })
        .starts(0, 0, 20).ends(0, RunEnd::Panicked).flows().error(0, 255).error(0, 254);
    a_task_function_behind_a_refused_request_of_its_id: h().config(|c| c.neighbours = Neighbours::Some)
        .sends(5, Ask::First(9)).sends(3, Ask::First(0)).sends(5, Ask::First(0))
        .function(3, 11).function_ends(3, FunctionEnd::Task).function(5, 11).function_ends(5, FunctionEnd::Task)
        .error(5, 252).ok(3, b"").ok(5, b"");
    a_task_function_behind_a_refused_request_whose_answer_was_not_read: h().config(|c| c.neighbours = Neighbours::Some)
        .stalls().sends(1, Ask::Digest(0)).sends(9, Ask::Digest(0)).function(9, 10).function_ends(9, FunctionEnd::Task)
        .starts(1, 9, 10).ends(1, RunEnd::Result).sends(1, Ask::Digest(0)).function(1, 10).function_ends(1, FunctionEnd::Task)
        .starts(2, 1, 10).ends(2, RunEnd::Result);
    a_cancelled_task_behind_a_body_that_stalls: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 70_000, then: BodyEnd::Stalls }).sends(4, SCRIPTED).starts(2, 4, 20)
        .at(8).calls(Call::Cancel { id: 4 }).ends(2, RunEnd::Dropped).at(1813)
        .event(oracle::What::BodyEnded { run: 1, how: BodyEnd::Whole }).ok(1, &oracle::pattern(70_000)).error(4, 255);
    a_task_that_fails_with_the_code_of_cancelled_when_it_is: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .calls(Call::Cancel { id: 1 }).ends(1, RunEnd::Coded { code: 255 }).error(1, 255);
    a_spawned_function_that_starts_when_its_connection_is_closed:
        h().config(|c| c.tasks.iter_mut().filter(|task| task.code == 21).for_each(|task| task.runs = Runs::Spawn))
            .sends(1, COOPERATE).observed(Observed::Started { id: 1, code: 21 }).calls(Call::Close)
            .observed(Observed::Finished { id: 1, ending: Ending::Interrupted }).closed(Reason::Aborted)
            .starts(1, 1, 21).at(300).ends(1, RunEnd::Dropped).until(900);
    a_run_that_fails_with_the_code_of_a_refusal: h().sends(3, Ask::Fail(252)).sends(5, Ask::Fail(241)).sends(3, Ask::Fail(117))
        .starts(1, 3, 3).ends(1, RunEnd::Coded { code: 252 }).observed(Observed::Finished { id: 3, ending: Ending::Error(252) })
        .starts(2, 5, 3).ends(2, RunEnd::Coded { code: 241 }).starts(3, 3, 3).ends(3, RunEnd::Coded { code: 117 })
        .error(3, 252).error(5, 241).error(3, 117);
    a_refusal_that_was_not_read_is_no_failure_of_its_task: h().config(|c| c.neighbours = Neighbours::Some).stalls()
        .sends(9, Ask::Reject(2)).at(71).sends(4, Ask::Panic).starts(1, 4, 5).ends(1, RunEnd::Panicked);
    nothing_at_all: h();
    answers_in_any_order: h().sends(1, SLEEP).sends(2, Ask::Echo(0)).ok(2, b"").at(100).ok(1, &[0]);
    an_id_used_again_at_once: h().sends(1, Ask::Echo(0)).ok(1, b"").sends(1, Ask::Fail(3)).error(1, 3);
    an_id_used_again_before_its_answer_came:
        h().sends(1, Ask::Echo(1)).sends(1, Ask::Fail(3)).ok(1, &[0]).error(1, 3);
    an_answer_in_single_bytes:
        [0, 0, 0, 0, 1, 2, 0, 1, 0].into_iter().fold(h().sends(1, Ask::Echo(2)), |h, byte| h.receives(&[byte]));
    answers_and_requests_that_share_pieces:
        h().sends_bytes(&[1, 0, 0, 0, 1, 0, 3, 0, 0]).sends_bytes(&[0, 2, 1, 9, 0])
            .receives(&[0, 0, 0, 0, 1, 0, 1, 0]).receives(&[0, 0, 2, 9]);
    little_endian: h().config(|c| c.byte_order = Order::Little)
        .sends(0x0102_0304, SLEEP).at(100).ok(0x0102_0304, &[0]);
    a_message_in_one_byte_blocks: h().sends_bytes(&[1, 0, 0, 0, 1, 1, 7, 1, 8, 0]).ok(1, &[7, 8]);
    a_body_of_just_one_full_block: h().sends(1, Ask::Produce(255)).ok(1, &oracle::pattern(255));
    every_demo_task_that_ends_by_itself:
        h().sends(1, Ask::Produce(600)).ok(1, &oracle::pattern(600)).sends(2, Ask::Panic).error(2, 254)
            .sends(3, Ask::Nothing(9)).ok(3, b"").sends(4, Ask::First(5)).ok(4, &[0]).sends(5, Ask::First(0)).ok(5, b"")
            .sends(6, Ask::Tasks).ok(6, &[0, 0, 0, 6]).sends(7, Ask::Tidy(0)).ok(7, b"done");
    a_message_shorter_than_its_layout: h().sends(1, Ask::Raw { code: 2, message: [0, 0].into() }).error(1, 1);
    a_task_that_fails_with_a_code_of_the_library: h().sends(1, Ask::Fail(255)).error(1, 255).sends(2, Ask::Fail(252)).error(2, 252);
    an_unknown_code_0: h().sends(1, Ask::Unknown { code: 0, bytes: 300 }).error(1, 251);
    a_reserved_code_of_a_newer_client: h().sends(1, Ask::Unknown { code: 255, bytes: 0 }).error(1, 251);
    a_cancel_of_nothing: h().cancels(9).calls(Call::Cancel { id: 8 }).calls(Call::CancelAll);
    a_cancel_with_a_message: h().sends(1, SLEEP).sends(1, Ask::Cancel(300)).error(1, 255);
    a_result_that_crosses_a_cancel_on_the_wire: h().sends(1, SLEEP).at(100).cancels(1).ok(1, &[0]);
    a_cancel_that_crosses_a_result: h().sends(1, SLEEP).at(100).cancels(1).error(1, 255);
    a_cancel_after_completion: h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Whole { bytes: 1 })
        .calls(Call::Cancel { id: 1 }).ok(1, &[0]);
    a_cancel_that_overtakes_a_completion_on_its_way: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 1 }).calls(Call::Cancel { id: 1 }).error(1, 255);
    a_cancel_during_the_completion: h().sends(1, SCRIPTED).starts(1, 1, 20).begins(Call::CancelAll)
        .ends(1, RunEnd::Whole { bytes: 1 }).returns(1, oracle::Returned::Nothing).ok(1, &[0]);
    a_cancel_before_the_first_poll: h().sends(1, SCRIPTED).cancels(1).error(1, 255);
    a_cancel_by_wire_and_by_handle: h().sends(1, SCRIPTED).starts(1, 1, 20).cancels(1)
        .calls(Call::Cancel { id: 1 }).ends(1, RunEnd::Dropped).error(1, 255);
    a_cancel_while_the_message_is_read: h().sends_part(1, SLEEP, 7).calls(Call::Cancel { id: 1 })
        .sends_bytes(&[0, 0, 100, 0, 0]).error(1, 255);
    a_run_that_is_dropped_at_once: h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Cancel { id: 1 })
        .ends(1, RunEnd::Dropped).observed(Observed::Cancelled { id: 1, cause: CancelCause::Requested }).error(1, 255);
    tidied_within_the_grace: h().sends(1, Ask::Tidy(5000)).cancels(1).ok(1, b"tidied");
    done_in_spite_of_the_cancel: h().sends(1, Ask::Tidy(50)).at(49).cancels(1).at(50).ok(1, b"done");
    a_cooperating_function_that_returns_something_else: h().sends(1, COOPERATE).starts(1, 1, 21)
        .calls(Call::Cancel { id: 1 }).at(200).ends(1, RunEnd::Coded { code: 9 }).error(1, 9);
    a_cooperating_function_that_is_dropped_after_its_grace: h().sends(1, COOPERATE).starts(1, 1, 21)
        .calls(Call::Cancel { id: 1 }).at(300).ends(1, RunEnd::Dropped).error(1, 255);
    a_stuck_thread_that_returns_late: h().sends(1, BLOCKING).starts(1, 1, 22).calls(Call::Cancel { id: 1 })
        .at(300).observed(Observed::Stuck { id: 1 }).error(1, 255).at(900).ends(1, RunEnd::Whole { bytes: 1 });
    the_id_of_a_stuck_task_used_again: h().sends(1, BLOCKING).starts(1, 1, 22).calls(Call::Cancel { id: 1 })
        .at(300).observed(Observed::Stuck { id: 1 }).error(1, 255).sends(1, SCRIPTED).starts(2, 1, 20)
        .ends(2, RunEnd::Whole { bytes: 0 }).ok(1, b"").at(900).ends(1, RunEnd::Whole { bytes: 1 });
    a_run_limit_that_is_reached: h().sends(1, Ask::Limited(1000)).at(200).error(1, 253);
    a_run_just_within_its_limit: h().sends(1, Ask::Limited(190)).at(190).ok(1, b"");
    a_cancel_just_before_the_run_limit: h().sends(1, Ask::Limited(1000)).at(199).cancels(1).error(1, 255);
    a_task_function_that_takes_too_long: h().sends(1, SCRIPTED).function(1, 20).at(5000)
        .function_ends(1, FunctionEnd::Dropped).error(1, 253);
    a_task_function_that_panics: h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Panicked).error(1, 254);
    a_scripted_task_without_run_function: h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Nothing).ok(1, b"");
    a_body_that_fails_before_its_response_began: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 99, then: BodyEnd::Coded { code: 4 } }).error(1, 4);
    a_body_that_stalls_and_goes_on: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 2, then: BodyEnd::Stalls }).at(9000)
        .event(oracle::What::BodyEnded { run: 1, how: BodyEnd::Whole }).ok(1, &[0, 1]);
    a_body_that_stalls_for_good: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 2, then: BodyEnd::Stalls }).at(30_000).error(1, 253);
    a_body_that_is_cancelled_before_its_response_began: h().sends(1, SCRIPTED).starts(1, 1, 20)
        .ends(1, RunEnd::Streamed { bytes: 2, then: BodyEnd::Stalls }).at(90).calls(Call::Cancel { id: 1 }).error(1, 255);
    the_limit_in_flight_reached_and_left: h().config(|c| c.limits.in_flight = 1)
        .sends(1, SCRIPTED).sends(2, SCRIPTED).starts(1, 1, 20).at(5000).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"")
        .starts(2, 2, 20).ends(2, RunEnd::Whole { bytes: 0 }).ok(2, b"");
    a_full_server: h().config(|c| c.limits.tasks = 1).sends(1, SCRIPTED).starts(1, 1, 20)
        .sends(2, SCRIPTED).error(2, 252).ends(1, RunEnd::Coded { code: 2 }).error(1, 2).sends(2, Ask::Echo(0)).ok(2, b"");
    a_broken_task_that_a_full_server_never_started: h().config(|c| c.limits.tasks = 0).sends(1, Ask::Break).error(1, 252)
        .at(90_000).sends(2, Ask::Reject(1)).error(2, 252).at(180_000).sends(3, Ask::KeepAlive(0)).ok(3, b"");
    a_server_full_of_others: h().config(|c| c.neighbours = Neighbours::Some).sends(1, SCRIPTED).error(1, 252);
    a_keep_alive_beside_a_full_server: h().config(|c| c.limits.tasks = 0).sends(1, Ask::KeepAlive(3)).ok(1, b"");
    a_message_of_just_the_limit: h().config(|c| c.limits.message_bytes = 10).sends(1, Ask::Echo(10)).ok(1, &oracle::pattern(10));
    lists_that_race_with_an_answer: h().sends(1, SCRIPTED).starts(1, 1, 20).lists(&[1])
        .ends(1, RunEnd::Whole { bytes: 0 }).lists(&[]).ok(1, b"").lists(&[]);
    a_list_with_a_request_that_is_still_read: h().sends_part(1, SLEEP, 7).lists(&[1]).sends_bytes(&[0, 0, 100, 0, 0]).at(100).ok(1, &[0]);
    an_observer_that_sees_a_task_of_an_id_used_again: h()
        .sends(1, SCRIPTED).observed(Observed::Started { id: 1, code: 20 }).starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 0 }).observed(Observed::Finished { id: 1, ending: Ending::Ok }).ok(1, b"")
        .sends(1, Ask::KeepAlive(0)).ok(1, b"").sends(1, SCRIPTED).observed(Observed::Started { id: 1, code: 20 })
        .starts(2, 1, 20).ends(2, RunEnd::Coded { code: 1 }).observed(Observed::Finished { id: 1, ending: Ending::Error(1) }).error(1, 1)
        .client_ends().server_ends().closed(Reason::ClientClosed).complete();
    a_duplicate_id_after_which_the_first_is_interrupted: h().sends(1, SCRIPTED).starts(1, 1, 20).sends(1, Ask::Echo(0))
        .ends(1, RunEnd::Dropped).server_ends().client_ends()
        .closed_after(1, Reason::DuplicateTaskId { id: 1 }, |r| r.interrupted_tasks[0].state = State::Cancelling);
    a_slow_client_gets_its_answers_late: h().stalls().sends(1, Ask::Echo(0)).sends(2, SCRIPTED).starts(1, 2, 20)
        .ends(1, RunEnd::Whole { bytes: 0 }).at(4000).flows().ok(1, b"").ok(2, b"");
}
