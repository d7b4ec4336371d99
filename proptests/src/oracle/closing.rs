//! What a close and a shutdown do, and when: D5, D6.

use super::disconnect::ended_us;
use super::facts::{Called, Facts, ms};
use super::rule::{Found, Rule};
use crate::history::{Call, Observed, RunEnd};

/// Judges closes and shutdowns.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    check_close(facts, found);
    check_shutdown(facts, found);
}

/// D5: close closes at once, and nothing more is written.
fn check_close(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Some(close) = facts.calls.iter().find(|call| call.what == Call::Close) else {
        return;
    };
    let late = ms(facts.config.tolerance.late_ms);
    let time = facts.us(close.called);
    let started = facts
        .runs
        .iter()
        .map(|run| run.started)
        .find(|at| facts.us(*at) > time + late);
    if let Some(started) = started {
        let what = "a run function started after a close";
        found.broken(
            Rule::D5,
            what,
            "nothing after a close",
            [close.called, started],
        );
    }
    // A response whose function ended only after the close cannot be written; a
    // stuck one is answered before it ends (T13).
    let stuck = |of: u32| {
        let mut observed = facts.observed();
        observed.any(|(moment, what)| {
            moment < close.called && matches!(what, Observed::Stuck { id } if *id == of)
        })
    };
    let answered = facts.requests.iter().find_map(|request| {
        let (ended, how) = facts.run_of(request)?.ended?;
        let answer = facts.answer(request)?;
        (how != RunEnd::Dropped
            && !stuck(request.id)
            && facts.us(ended) > time + late
            && answer.first > ended)
            .then_some((ended, answer.first))
    });
    if let Some((ended, answer)) = answered {
        let what = "a response was written after a close";
        found.broken(
            Rule::D5,
            what,
            "nothing more is written",
            [close.called, ended, answer],
        );
    }
}

/// D6: shutdown returns by its duration plus a moment, not before the end.
fn check_shutdown(facts: &Facts<'_>, found: &mut Found<'_>) {
    // A thread that holds its connection up costs at most this much more (D4).
    const MOMENT_MS: u64 = 1000;
    for call in &facts.calls {
        let Call::Shutdown { after_ms } = call.what else {
            continue;
        };
        let until = facts.us(call.called).saturating_add(ms(
            after_ms.saturating_add(MOMENT_MS + facts.config.tolerance.late_ms)
        ));
        let returned = call.returned.as_ref().map(|(moment, _)| *moment);
        let time = returned.map_or(facts.history.end_us, |moment| facts.us(moment));
        if time > until {
            let what = format!("shutdown had not returned at {} ms", time / 1000);
            let allowed = format!("a return by {} ms", until / 1000);
            found.broken(
                Rule::D6,
                what,
                allowed,
                [call.called].into_iter().chain(returned),
            );
        }
        check_return(facts, call, after_ms, found);
    }
}

fn check_return(facts: &Facts<'_>, call: &Called, after_ms: u64, found: &mut Found<'_>) {
    let Some((returned, _)) = call.returned else {
        return;
    };
    let early = ms(facts.config.tolerance.early_ms);
    // The report may be handed out a moment after the connection is gone.
    let late = ms(facts.config.tolerance.late_ms);
    let deadline = facts.us(call.called).saturating_add(ms(after_ms));
    let before_end = facts.us(returned) + late < ended_us(facts);
    let shorter = facts.deadline_us().unwrap_or(u64::MAX).min(deadline);
    if before_end && facts.us(returned) + early < shorter {
        let what = "shutdown returned while the connection went on";
        found.broken(
            Rule::D6,
            what,
            "a return when all is closed, or at its deadline",
            [call.called, returned],
        );
    }
}
