//! Rejected: responses, functions and ids (T, N, section 11).

use oracle::{Ask, BodyEnd, Call, Does, FunctionEnd, Hex, Reason, RunEnd, Runs, What};

use crate::{h, rejected};

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };
const COOPERATE: Ask = Ask::Scripted { code: 21, bytes: 0 };
const SLEEP: Ask = Ask::Sleep { ms: 100, rest: 0 };

rejected! {
    a_result_of_a_thread_that_was_cancelled_under_drop: T10, h().sends(1, Ask::Scripted { code: 27, bytes: 0 }).starts(0, 1, 27)
        .calls(Call::Cancel { id: 1 }).at(300).ends(0, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    a_second_answer: T5, h().sends(1, Ask::Echo(0)).ok(1, b"").ok(1, b"");
    an_answer_to_an_id_that_nobody_sent: T5, h().sends(1, Ask::Echo(0)).ok(1, b"").ok(9, b"");
    an_error_to_an_id_that_nobody_sent: T5, h().error(9, 255);
    an_answer_before_the_end_of_the_request: T5,
        h().sends_part(1, Ask::Echo(5), 8).ok(1, &[0, 1]).sends_bytes(&[2, 3, 4, 0]);
    an_answer_to_a_request_that_never_ended: T5, h().sends_part(1, Ask::Unknown { code: 99, bytes: 5 }, 8).error(1, 251);
    an_answer_to_a_cancel: T5, h().cancels(4).ok(4, b"");
    two_answers_after_a_cancel: T5,
        h().sends(1, SLEEP).cancels(1).error(1, 255).at(100).ok(1, b"");
    a_result_that_never_comes: T5,
        h().sends(1, SCRIPTED).starts(1, 1, 20).at(10).ends(1, RunEnd::Whole { bytes: 1 }).until(500);
    a_result_that_waits_for_something_else_to_happen: T5,
        h().sends(1, SCRIPTED).starts(1, 1, 20).at(10).ends(1, RunEnd::Whole { bytes: 1 })
            .at(900).sends(2, Ask::KeepAlive(0)).ok(2, b"").ok(1, &[0]);
    an_unknown_code_that_is_never_answered: T5, h().sends(1, Ask::Unknown { code: 99, bytes: 3 }).until(500);
    a_keep_alive_that_is_never_answered: T5, h().sends(1, Ask::KeepAlive(0)).until(500);
    a_response_code_that_does_not_exist: N8, h().sends(1, Ask::Echo(0)).receives(&[4, 0, 0, 0, 1]);
    responses_that_interleave: N8,
        h().sends(1, Ask::Fail(7)).sends(0x0900_0000, Ask::Fail(8))
            .receives(&[1, 0, 0, 0, 1, 1, 9, 0, 0, 0, 8, 7]);
    blocks_that_are_not_filled: N4, h().sends(1, Ask::Echo(2)).receives(&[0, 0, 0, 0, 1, 1, 0, 1, 1, 0]);
    an_unavailable_task_that_has_run: N9,
        h().config(|c| c.limits.tasks = 1).sends(1, SCRIPTED).starts(1, 1, 20)
            .sends(2, SCRIPTED).starts(2, 2, 20).ends(1, RunEnd::Coded { code: 1 }).error(1, 1).error(2, 252);
    another_body_than_the_echo_s: T7, h().sends(1, Ask::Echo(2)).ok(1, &[0, 2]);
    a_body_that_lacks_its_end: T7, h().sends(1, Ask::Produce(300)).ok(1, &oracle::pattern(299));
    another_digest: T7, h().sends(1, Ask::Digest(2)).ok(1, &[0; 32]);
    a_scripted_result_of_another_length: T7,
        h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Whole { bytes: 3 }).ok(1, &[0, 1]);
    a_torn_body_that_is_answered_whole: T7, h().sends(1, Ask::Tear(4)).ok(1, &[0, 1, 2, 3]);
    a_torn_body_of_which_a_part_came: T7,
        h().sends(1, Ask::Tear(4)).receives(&[0, 0, 0, 0, 1, 4, 0, 1]);
    a_body_that_fails_with_a_code_and_is_answered_ok: T8,
        h().sends(1, SCRIPTED).starts(1, 1, 20)
            .ends(1, RunEnd::Streamed { bytes: 4, then: BodyEnd::Coded { code: 5 } }).ok(1, &[0, 1, 2, 3]);
    a_body_without_function_that_has_a_body: T6, h().sends(1, Ask::Nothing(3)).ok(1, b"x");
    a_task_function_that_returns_none_and_a_run: T6,
        h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Nothing).starts(1, 1, 20);
    another_error_code: T8, h().sends(1, Ask::Fail(7)).error(1, 8);
    a_failure_that_is_answered_ok: T8, h().sends(1, Ask::Fail(7)).ok(1, b"");
    a_broken_task_that_is_answered: T8, h().sends(1, Ask::Break).ok(1, b"");
    a_broken_task_behind_which_all_goes_on: D8,
        h().sends(1, Ask::Break).at(100).sends(2, Ask::Echo(0)).ok(2, b"");
    a_rejected_request_that_is_answered: T3, h().sends(1, Ask::Reject(2)).error(1, 254);
    a_panic_with_another_code: T9, h().sends(1, Ask::Panic).error(1, 1);
    an_echo_that_panicked: T9, h().sends(1, Ask::Echo(0)).error(1, 254);
    an_unknown_code_that_is_answered_ok: T4, h().sends(1, Ask::Unknown { code: 99, bytes: 0 }).ok(1, b"");
    a_known_code_that_is_unknown: T4, h().sends(1, Ask::Echo(0)).error(1, 251);
    a_task_function_for_an_unknown_code: T4, h().sends(1, Ask::Unknown { code: 99, bytes: 0 }).function(1, 99);
    a_reserved_code_that_is_answered_ok: E6, h().sends(1, Ask::Unknown { code: 254, bytes: 0 }).ok(1, b"");
    task_functions_that_overlap: T1,
        h().sends(1, SCRIPTED).sends(2, SCRIPTED).function(1, 20).function(2, 20);
    task_functions_out_of_order: T1,
        h().sends(1, SCRIPTED).sends(2, SCRIPTED).function(2, 20).function_ends(2, FunctionEnd::Task)
            .function(1, 20).function_ends(1, FunctionEnd::Task);
    a_task_function_called_twice: T1,
        h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Task).function(1, 20);
    a_task_function_that_sees_another_message: T2,
        h().sends(1, Ask::Scripted { code: 20, bytes: 3 }).function(1, 20).event(What::FunctionEnded {
            id: 1, how: FunctionEnd::Task, read: Some(Hex(vec![0, 2])),
        });
    a_task_function_for_a_request_that_was_not_sent_yet: T1,
        h().sends_part(1, Ask::Unknown { code: 99, bytes: 3 }, 7).function(2, 20)
            .sends_bytes(&[1, 2, 0]).sends(2, SCRIPTED);
    a_run_before_the_request_s_end: T3,
        h().sends_part(1, Ask::Scripted { code: 20, bytes: 2 }, 7).starts(1, 1, 20).sends_bytes(&[1, 0]);
    a_run_before_its_task_function_returned: T3,
        h().sends(1, SCRIPTED).function(1, 20).starts(1, 1, 20);
    a_run_after_its_task_function_failed: T3,
        h().sends(1, SCRIPTED).function(1, 20).function_ends(1, FunctionEnd::Failed).starts(1, 1, 20);
    a_second_run_of_one_request: T3, h().sends(1, SCRIPTED).starts(1, 1, 20).starts(2, 1, 20);
    two_runs_with_one_id: T11,
        h().sends(1, SCRIPTED).sends(1, SCRIPTED).starts(1, 1, 20).starts(2, 1, 20);
    a_list_with_an_id_that_is_gone: T11, h().sends(1, Ask::Echo(0)).ok(1, b"").lists(&[1]);
    a_list_without_an_id_that_is_live: T11, h().sends(1, SCRIPTED).starts(1, 1, 20).lists(&[]);
    a_list_with_a_keep_alive: T11, h().sends(1, Ask::KeepAlive(0)).lists(&[1]);
    the_task_tasks_without_itself: T7, h().sends(1, Ask::Tasks).ok(1, b"");
    the_task_tasks_with_an_id_that_is_gone: T11,
        h().sends(1, Ask::Echo(0)).ok(1, b"").sends(2, Ask::Tasks).ok(2, &[0, 0, 0, 1, 0, 0, 0, 2]);
    cancelled_though_nobody_cancelled: T10, h().sends(1, SLEEP).error(1, 255);
    cancelled_by_a_cancel_of_another: T10, h().sends(1, SLEEP).sends(2, SLEEP).cancels(2).error(1, 255);
    cancelled_by_a_cancel_that_came_before_the_request: T10, h().cancels(1).sends(1, SLEEP).error(1, 255);
    a_result_after_a_cancel_under_drop: T10,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Cancel { id: 1 })
            .ends(1, RunEnd::Whole { bytes: 1 }).ok(1, &[0]);
    a_panic_after_a_cancel_under_drop: T10,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::CancelAll).ends(1, RunEnd::Panicked).error(1, 254);
    a_grace_that_is_cut: T10,
        h().sends(1, COOPERATE).starts(1, 1, 21).calls(Call::Cancel { id: 1 }).at(10).error(1, 255);
    a_grace_that_a_close_cuts: T10,
        h().sends(1, COOPERATE).starts(1, 1, 21).calls(Call::Close).closed(Reason::Aborted).at(10).ends(1, RunEnd::Dropped);
    a_result_after_the_grace: T10,
        h().sends(1, COOPERATE).starts(1, 1, 21).calls(Call::Cancel { id: 1 })
            .at(900).ends(1, RunEnd::Whole { bytes: 0 }).ok(1, b"");
    tidied_though_nobody_cancelled: T10, h().sends(1, Ask::Tidy(50)).at(10).ok(1, b"tidied");
    a_run_that_goes_on_after_its_cancel: T10,
        h().sends(1, SCRIPTED).starts(1, 1, 20).calls(Call::Cancel { id: 1 }).error(1, 255).until(300);
    a_run_that_starts_though_it_was_cancelled_while_it_was_received: T10,
        h().sends(1, SCRIPTED).function(1, 20).calls(Call::Cancel { id: 1 })
            .function_ends(1, FunctionEnd::Task).starts(1, 1, 20);
    a_run_that_is_dropped_for_nothing: T10,
        h().sends(1, SCRIPTED).starts(1, 1, 20).ends(1, RunEnd::Dropped).until(500);
    a_deadline_too_early: T12, h().sends(1, Ask::Limited(1000)).at(100).error(1, 253);
    a_deadline_without_a_limit: L14, h().sends(1, Ask::Echo(0)).at(9000).error(1, 253);
    a_result_after_the_run_limit: T12, h().sends(1, Ask::Limited(1000)).at(1000).ok(1, b"");
    a_stuck_task_that_is_never_answered: T13,
        h().config(|c| c.tasks[13].does = Does::Scripted).sends(1, Ask::Block(9000)).starts(1, 1, 14)
            .calls(Call::Cancel { id: 1 }).until(4000);
    a_task_that_is_stuck_before_its_grace_is_over: T13,
        h().config(|c| c.tasks[13].runs = Runs::Blocking).sends(1, Ask::Block(9000)).cancels(1)
            .at(100).observed(oracle::Observed::Stuck { id: 1 });
    a_task_that_is_stuck_though_nobody_told_it_to_end: T13,
        h().sends(1, Ask::Block(9000)).at(5000).observed(oracle::Observed::Stuck { id: 1 });
    a_sleep_that_ends_too_early: S11, h().sends(1, SLEEP).at(50).ok(1, b"");
    a_run_that_starts_twice_under_one_number: Harness, h().sends(1, SCRIPTED).starts(1, 1, 20).starts(1, 1, 20);
    time_that_goes_back: Harness, h().at(5).sends(1, SCRIPTED).at(4).sends(2, SCRIPTED);
}
