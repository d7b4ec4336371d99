//! Which terminal response each request may have: T3–T12, N9, E1, E3, section 11.

use asyncserver::wire::{ErrorCode, TaskCode};

use super::extensions;
use super::facts::{Facts, Moment, Run, ms};
use super::outcome::{Outcome, outcome};
use super::places;
use super::received::{Filled, Received, Reply, Tail};
use super::rule::{Found, Rule};
use super::sent::Sent;
use crate::history::RunEnd;
use crate::tasks::{Does, OnCancel, TaskSpec};

/// Judges every response by the request that it answers.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (number, request) in facts.requests.iter().enumerate() {
        if let Some(answer) = facts.answer(request) {
            let case = Case {
                facts,
                number,
                request,
                answer,
            };
            case.check(found);
        }
    }
    check_cut(facts, found);
}

/// T7: of a response that must never begin, nothing may have been sent.
fn check_cut(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Tail::Cut {
        request: Some(request),
        ok: Some((id, bytes)),
        first,
        last,
    } = facts.tail
    else {
        return;
    };
    let request = &facts.requests[request];
    let Some(task) = facts.task(request) else {
        return;
    };
    if let Outcome::ConnectionError { body_bytes, .. } = outcome(facts, request, task)
        && body_bytes < task.begin_after_bytes
    {
        let what =
            format!("{bytes} bytes of the body of {id} came, whose body failed after {body_bytes}");
        let allowed = format!(
            "nothing of a response before {} bytes of it were produced",
            task.begin_after_bytes
        );
        found.broken(Rule::T7, what, allowed, [request.end, first, last]);
    }
}

/// A request and its answer.
struct Case<'f, 'h> {
    facts: &'f Facts<'h>,
    number: usize,
    request: &'f Sent,
    answer: &'f Received,
}

impl Case<'_, '_> {
    fn check(&self, found: &mut Found<'_>) {
        if let Reply::Ok {
            blocks: Filled::Short,
            ..
        } = self.answer.reply
        {
            let allowed = "blocks of 255 bytes, the last one aside";
            self.broken(found, Rule::N4, allowed);
        }
        match TaskCode(self.request.code) {
            TaskCode::KEEP_ALIVE => self.expect(found, Rule::E1, &Outcome::Ok(Vec::new())),
            TaskCode::NEGOTIATE => {
                let expected = extensions::negotiated(self.facts, self.request);
                self.expect(found, Rule::E3, &expected);
            }
            _ => match self.facts.task(self.request) {
                None => {
                    let rule = if self.request.code >= 250 {
                        Rule::E6
                    } else {
                        Rule::T4
                    };
                    self.expect(found, rule, &Outcome::Error(ErrorCode::UNKNOWN_TASK.0));
                }
                Some(task) => self.check_task(task, found),
            },
        }
    }

    fn check_task(&self, task: &TaskSpec, found: &mut Found<'_>) {
        let natural = outcome(self.facts, self.request, task);
        let code = match self.answer.reply {
            Reply::Error { code, .. } => Some(ErrorCode(code)),
            _ => None,
        };
        // A task may fail with one of the library's codes by itself.
        let is_own = code.is_some_and(|code| natural == Outcome::Error(code.0));
        match code {
            Some(ErrorCode::CANCELLED) if !is_own => self.check_cancelled(task, found),
            Some(ErrorCode::DEADLINE) if !is_own => self.check_deadline(task, found),
            Some(ErrorCode::UNAVAILABLE) if !is_own => self.check_unavailable(found),
            _ => self.check_natural(task, &natural, found),
        }
    }

    /// T10: `CANCELLED` needs a cancel, and under Cooperate the grace.
    fn check_cancelled(&self, task: &TaskSpec, found: &mut Found<'_>) {
        let earliest = self.cancels().map(|cancel| cancel.called).min();
        let Some(earliest) = earliest else {
            return self.broken(
                found,
                Rule::T10,
                "CANCELLED only for a task that was cancelled",
            );
        };
        let Some(run) = self.run().filter(|run| run.started < earliest) else {
            return;
        };
        let too_early = self.facts.us(self.answer.first) + ms(self.facts.config.tolerance.early_ms)
            < self.facts.us(earliest) + ms(task.grace_ms());
        let by_itself = run
            .ended
            .is_some_and(|(at, how)| at < self.answer.first && how == RunEnd::Dropped);
        if matches!(task.on_cancel, OnCancel::Cooperate { .. }) && too_early && !by_itself {
            let allowed = format!("CANCELLED only after the grace of {} ms", task.grace_ms());
            found.broken(
                Rule::T10,
                self.what(),
                allowed,
                self.moments([earliest, run.started]),
            );
        }
    }

    /// T12, L14, L15: `DEADLINE` needs a limit that may have been overrun.
    fn check_deadline(&self, task: &TaskSpec, found: &mut Found<'_>) {
        let grace = match task.on_cancel {
            OnCancel::Cooperate { grace_ms } => grace_ms,
            OnCancel::Drop => 0,
        };
        let timeouts = &self.facts.config.timeouts;
        let answered = self.facts.us(self.answer.first) + ms(self.facts.config.tolerance.early_ms);
        let since = |moment: Moment, limit: u64| {
            answered >= self.facts.us(moment).saturating_add(ms(limit))
        };
        // The run function starts when the request's end has been looked at.
        let run = task
            .run_limit_ms
            .is_some_and(|limit| since(self.request.end, limit.saturating_add(grace)));
        let own = task.does == Does::Scripted;
        let function = own && since(self.request.header, timeouts.task_function_ms);
        let body = own && since(self.request.end, timeouts.body_ms);
        if !(run || function || body) {
            let rule = if task.run_limit_ms.is_some() {
                Rule::T12
            } else {
                Rule::L14
            };
            self.broken(found, rule, "DEADLINE only for a task that overran a limit");
        }
    }

    /// N9, L6, L16: `UNAVAILABLE` needs a full server, and nothing has run.
    fn check_unavailable(&self, found: &mut Found<'_>) {
        if let Some(run) = self.run() {
            let moments = self.moments([run.started]);
            found.broken(
                Rule::N9,
                self.what(),
                "UNAVAILABLE only for what never started",
                moments,
            );
        }
        if !places::may_be_full(self.facts, self.number) {
            self.broken(
                found,
                Rule::L6,
                "UNAVAILABLE only where a limit of L6 or L16 may have been reached",
            );
        }
    }

    /// The task's own end: what it is, not too early, not after a cancel or limit.
    fn check_natural(&self, task: &TaskSpec, natural: &Outcome, found: &mut Found<'_>) {
        if natural.matches(&self.answer.reply, self.facts.config.byte_order.into()) {
            self.check_time(task, found);
            self.check_not_limited(task, found);
            self.check_not_cancelled(task, found);
        } else if self.is_tidied(task) {
            let limited = task.run_limit_ms.is_some();
            if self.cancels().next().is_none() && !limited {
                self.broken(found, Rule::T10, "`tidied` only when told to cancel");
            }
        } else {
            self.expect(found, self.rule_of(task, natural), natural);
        }
    }

    /// Section 11: it takes as long as its message says.
    fn check_time(&self, task: &TaskSpec, found: &mut Found<'_>) {
        let order = self.facts.config.byte_order.into();
        let (_, takes) = crate::tasks::natural(task.does, &self.request.message, order);
        let earliest = self.facts.us(self.request.end) + ms(takes);
        let early = ms(self.facts.config.tolerance.early_ms);
        if self.facts.us(self.answer.first) + early < earliest {
            self.broken(
                found,
                Rule::S11,
                &format!("its result not before {takes} ms have passed"),
            );
        }
    }

    /// T12: what overran its limit is not answered with its result.
    fn check_not_limited(&self, task: &TaskSpec, found: &mut Found<'_>) {
        let Some(limit) = task.run_limit_ms else {
            return;
        };
        let order = self.facts.config.byte_order.into();
        let (_, takes) = crate::tasks::natural(task.does, &self.request.message, order);
        let late = self.facts.config.tolerance.late_ms;
        let ran = self
            .run()
            .and_then(|run| Some((self.facts.us(run.started), self.facts.us(run.ended?.0))));
        let ran_ms = ran.map_or(takes, |(from, to)| (to - from) / 1000);
        if ran_ms > limit + task.grace_ms() + late {
            let allowed =
                format!("Error DEADLINE, for it ran {ran_ms} ms under a limit of {limit} ms");
            self.broken(found, Rule::T12, &allowed);
        }
    }

    /// T10: after a cancel under Drop the answer is `CANCELLED`; under Cooperate
    /// it is what came within the grace.
    fn check_not_cancelled(&self, task: &TaskSpec, found: &mut Found<'_>) {
        // A task may fail with CANCELLED's own code: the two look the same.
        if matches!(self.answer.reply, Reply::Error { code: 255, .. }) {
            return;
        }
        let Some((cancelled, run)) = certain_cancel(self.facts, self.number) else {
            return;
        };
        let late = ms(self.facts.config.tolerance.late_ms);
        let ended = run.ended.map(|(moment, _)| self.facts.us(moment));
        let within = ended
            .is_none_or(|ended| ended <= self.facts.us(cancelled) + ms(task.grace_ms()) + late);
        let allowed = match task.on_cancel {
            OnCancel::Drop => "CANCELLED, for it was cancelled while it ran",
            _ if !within => "CANCELLED, for its grace was over when it returned",
            _ => return,
        };
        found.broken(
            Rule::T10,
            self.what(),
            allowed,
            self.moments([cancelled, run.started]),
        );
    }

    fn rule_of(&self, task: &TaskSpec, natural: &Outcome) -> Rule {
        match (&self.answer.reply, natural) {
            (_, Outcome::ConnectionError { rule, .. }) => *rule,
            (_, Outcome::Error(253)) => Rule::L15,
            (Reply::Error { code: 251, .. }, _) => Rule::T4,
            (Reply::Error { code: 250, .. }, _) => Rule::E3,
            (Reply::Error { code: 254, .. }, _) | (_, Outcome::Error(254)) => Rule::T9,
            (_, Outcome::Error(_)) => Rule::T8,
            (_, Outcome::Nothing) => Rule::T5,
            _ if task.does == Does::Nothing => Rule::T6,
            (Reply::Error { .. }, _) => Rule::T8,
            _ => Rule::T7,
        }
    }

    fn is_tidied(&self, task: &TaskSpec) -> bool {
        task.does == Does::Tidy
            && matches!(&self.answer.reply, Reply::Ok { body, .. } if body == b"tidied")
    }

    fn run(&self) -> Option<&Run> {
        self.facts.run_of(self.request)
    }

    fn cancels(&self) -> impl Iterator<Item = &super::facts::Cancel> {
        self.facts.cancels_of(self.number, self.answer.first)
    }

    fn expect(&self, found: &mut Found<'_>, rule: Rule, expected: &Outcome) {
        if !expected.matches(&self.answer.reply, self.facts.config.byte_order.into()) {
            self.broken(found, rule, &expected.to_string());
        }
    }

    fn what(&self) -> String {
        format!(
            "request {} (code {}) was answered {}",
            self.request.id,
            self.request.code,
            self.answer.reply.name()
        )
    }

    fn moments<const N: usize>(&self, more: [Moment; N]) -> Vec<Moment> {
        let own = [
            self.request.first,
            self.request.end,
            self.answer.first,
            self.answer.last,
        ];
        own.into_iter().chain(more).collect()
    }

    fn broken(&self, found: &mut Found<'_>, rule: Rule, allowed: &str) {
        found.broken(rule, self.what(), allowed, self.moments([]));
    }
}

/// The first moment at which a task had certainly been cancelled, or certainly
/// none: its run function had started before and ended only later (T10).
pub(crate) fn certain_cancel<'f>(facts: &'f Facts<'_>, number: usize) -> Option<(Moment, &'f Run)> {
    let request = &facts.requests[number];
    let run = facts.run_of(request)?;
    let ended = run.ended.map_or(Moment::MAX, |(moment, _)| moment);
    let called = facts.cancels_of(number, ended);
    let called = called.filter(|cancel| cancel.called > run.started);
    let called = called.filter_map(|cancel| cancel.certain);
    let observed = facts.observed().filter_map(|(moment, what)| {
        let is_it = matches!(what, crate::Observed::Cancelled { id, cause: crate::CancelCause::Requested } if *id == request.id);
        (is_it && moment > run.started).then_some(moment)
    });
    let certain = called
        .chain(observed)
        .filter(|moment| *moment < ended)
        .min()?;
    Some((certain, run))
}
