//! Several connections of one server: what they share is judged and seen.

use oracle::{
    Ask, Call, Direction, Handmade, Neighbours, Observed, Reached, Reason, Rule, RunEnd,
    ServerHistory, What, reached_together,
};

use crate::h;

const SCRIPTED: Ask = Ask::Scripted { code: 20, bytes: 0 };

/// Two connections of a server with places for one task, and the order of their events.
fn server(connections: [Handmade; 2], order: &[usize]) -> ServerHistory {
    let one = |one: Handmade| {
        let set = one.config(|c| (c.neighbours, c.limits.tasks) = (Neighbours::Some, 1));
        set.history()
    };
    ServerHistory {
        connections: connections.map(one).into(),
        order: order.to_vec(),
    }
}

fn assert_rejected(rule: Rule, server: &ServerHistory) {
    let violation = server.judge().expect_err("a violation");
    assert_eq!(violation.rule, rule, "{violation}");
    let shown = violation.extract.iter();
    assert!(shown.clone().count() > 0, "{violation}");
}

/// A task that runs from its third event to its fourth, and is answered.
fn runs() -> Handmade {
    h().sends(1, SCRIPTED)
        .starts(1, 1, 20)
        .ends(1, RunEnd::Whole { bytes: 0 })
        .ok(1, b"")
}

fn refused() -> Handmade {
    h().sends(1, SCRIPTED).error(1, 252)
}

#[test]
fn a_task_more_than_l6_allows_is_one_too_many_on_whichever_connection() {
    let one_after_another = server([runs(), runs()], &[0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(one_after_another.judge(), Ok(()));
    let beside = server([runs(), runs()], &[0, 0, 1, 1, 1, 1, 0, 0]);
    assert_rejected(Rule::L6, &beside);
}

#[test]
fn a_request_is_refused_only_while_the_tasks_of_all_have_the_places() {
    let beside = server([runs(), refused()], &[0, 0, 1, 1, 0, 0]);
    assert_eq!(beside.judge(), Ok(()));
    assert_eq!(reached_together(&beside), [Reached::ServerFullTogether]);
    let behind = server([runs(), refused()], &[0, 0, 0, 0, 1, 1]);
    assert_rejected(Rule::L6, &behind);
}

/// T13: the place is free a moment behind the end of a function that was stuck, and nobody
/// is told when.
#[test]
fn a_function_that_outlives_its_answer_may_have_its_place_in_the_instant_of_its_end() {
    let stuck = h().sends(1, SCRIPTED).starts(1, 1, 20).error(1, 255);
    let stuck = stuck.at(5).ends(1, RunEnd::Whole { bytes: 0 });
    let refused = |at| h().at(at).sends(1, SCRIPTED).error(1, 252);
    let at = |at| server([stuck.clone(), refused(at)], &[0, 0, 0, 0, 1, 1]);
    assert_eq!(at(5).judge_shared(), Ok(()));
    assert!(at(6).judge_shared().is_err_and(|v| v.rule == Rule::L6));
}

#[test]
fn a_connection_is_refused_only_while_others_have_the_places() {
    let first = h().observed(Observed::Opened).calls(Call::Close);
    let first = first.closed(Reason::Aborted);
    let second = || h().closed(Reason::Refused);
    let limited = |order: &[usize]| {
        let mut server = server([first.clone(), second()], order);
        for history in &mut server.connections {
            history.config.limits.connections = 1;
        }
        server
    };
    let beside = limited(&[0, 1, 0, 0, 0]);
    assert_eq!(beside.judge(), Ok(()));
    assert_eq!(reached_together(&beside), [Reached::ConnectionRefused]);
    assert_rejected(Rule::L8, &limited(&[0, 0, 0, 0, 1]));
}

#[test]
fn a_violation_of_one_connection_says_of_which() {
    let wrong = h().sends(1, Ask::Echo(0)).ok(1, b"!");
    let violation = server([runs(), wrong], &[0, 0, 0, 0, 1, 1]).judge();
    let violation = violation.expect_err("a wrong answer");
    assert_eq!(violation.rule, Rule::T7);
    assert!(violation.what.contains("connection 1"), "{violation}");
}

#[test]
fn responses_that_another_client_does_not_take_hold_up_all_where_l7_is_small() {
    let late = || {
        let sent = h().sends(1, SCRIPTED).starts(1, 1, 20);
        let ended = sent.ends(1, RunEnd::Whole { bytes: 0 });
        ended.at(900).ok(1, b"").until(2000)
    };
    let stalls = || h().stalls().at(900).flows().until(2000);
    let order = [1, 0, 0, 0, 1, 0];
    assert_rejected(Rule::T5, &server([late(), stalls()], &order));
    let mut small = server([late(), stalls()], &order);
    for history in &mut small.connections {
        history.config.limits.server_unsent_bytes = 10;
    }
    assert_eq!(small.judge(), Ok(()));
    let first = &small.connections[1].events[0];
    assert_eq!(first.what, What::Stalled(Direction::ToClient));
}

#[test]
fn a_part_of_a_server_s_history_ends_at_one_event_for_all() {
    let whole = server([runs(), refused()], &[0, 0, 1, 1, 0, 0]);
    let part = whole.part(3);
    let events = part.connections.iter().map(|history| history.events.len());
    assert_eq!(events.collect::<Vec<_>>(), [2, 1]);
    assert_eq!(part.judge(), Ok(()));
}
