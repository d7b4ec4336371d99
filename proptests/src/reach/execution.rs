//! States of tasks by the place where they run.

use super::{Reached, Seen};
use crate::history::RunEnd;
use crate::oracle::facts::{Facts, Run};
use crate::oracle::received::Reply;
use crate::oracle::sent::Sent;
use crate::tasks::{OnCancel, Runs, TaskSpec};

/// The states of one place.
struct Place {
    cancelled: Reached,
    cooperated: Reached,
    panicked: Reached,
    body: Reached,
    run_limit: Reached,
    outlives: Reached,
}

const LOCAL: Place = Place {
    cancelled: Reached::LocalCancelled,
    cooperated: Reached::LocalCooperated,
    panicked: Reached::LocalPanic,
    body: Reached::LocalBody,
    run_limit: Reached::LocalRunLimit,
    outlives: Reached::LocalOutlives,
};

const SPAWN: Place = Place {
    cancelled: Reached::SpawnCancelled,
    cooperated: Reached::SpawnCooperated,
    panicked: Reached::SpawnPanic,
    body: Reached::SpawnBody,
    run_limit: Reached::SpawnRunLimit,
    outlives: Reached::SpawnOutlives,
};

pub(super) fn detect(facts: &Facts<'_>, seen: &mut Seen) {
    for (number, request) in facts.requests.iter().enumerate() {
        let Some(task) = facts.task(request) else {
            continue;
        };
        let place = match task.runs {
            Runs::Local => &LOCAL,
            Runs::Spawn => &SPAWN,
            Runs::Async | Runs::Blocking => continue,
        };
        match facts.run_of(request) {
            Some(run) => of_run(facts, (number, request), (task, run), place, seen),
            None if task.runs == Runs::Spawn => {
                let complete = facts.history.views.tasks == crate::View::Complete;
                let cancel = facts.cancels_of(number, usize::MAX);
                let first = cancel.map(|cancel| cancel.called).min();
                let behind = first.is_some_and(|first| first > request.end);
                let is_so = complete && behind && answered(facts, request, 255);
                seen.note(Reached::SpawnCancelledFirst, is_so);
            }
            None => {}
        }
    }
}

fn answered(facts: &Facts<'_>, request: &Sent, with: u8) -> bool {
    let reply = facts.answer(request).map(|answer| &answer.reply);
    matches!(reply, Some(Reply::Error { code, .. }) if *code == with)
}

fn of_run(
    facts: &Facts<'_>,
    (number, request): (usize, &Sent),
    (task, run): (&TaskSpec, &Run),
    place: &Place,
    seen: &mut Seen,
) {
    let Some((ended, how)) = run.ended else {
        return;
    };
    let while_running = facts
        .cancels_of(number, ended)
        .any(|cancel| cancel.called > run.started);
    let by_itself = how != RunEnd::Dropped;
    let cooperates = matches!(task.on_cancel, OnCancel::Cooperate { .. });
    let limited = task.run_limit_ms.is_some();
    let whole = matches!(
        facts.answer(request).map(|answer| &answer.reply),
        Some(Reply::Ok { .. })
    );
    let streamed = matches!(how, RunEnd::Streamed { .. });
    let closed = facts.closed.is_some_and(|closed| closed < ended);
    seen.note(
        place.cancelled,
        while_running && !by_itself && answered(facts, request, 255),
    );
    seen.note(
        place.cooperated,
        while_running && cooperates && by_itself && whole,
    );
    seen.note(place.panicked, how == RunEnd::Panicked);
    seen.note(place.body, streamed && whole);
    seen.note(
        place.run_limit,
        limited && !by_itself && answered(facts, request, 253),
    );
    seen.note(place.outlives, closed && by_itself);
}
