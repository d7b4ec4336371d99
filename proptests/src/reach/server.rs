//! States of several connections of one server.

use super::{Reached, Seen};
use crate::history::{Call, Direction, Observed, RunEnd};
use crate::oracle::facts::{Called, Facts, Moment};
use crate::oracle::places::Alive;
use crate::oracle::received::Reply;
use crate::oracle::sent::Sent;
use crate::oracle::server::{Together, refused_at};
use crate::report::Reason;

pub(super) fn detect(together: &Together<'_>, seen: &mut Seen) {
    for (number, facts) in together.connections.iter().enumerate() {
        let one = One {
            together,
            number,
            facts,
        };
        one.beside(seen);
        one.ends(seen);
        one.all_together(seen);
        one.full(seen);
        one.unsent(seen);
    }
}

/// One connection among the others.
struct One<'t, 'h> {
    together: &'t Together<'h>,
    number: usize,
    facts: &'t Facts<'h>,
}

impl One<'_, '_> {
    fn rank(&self, moment: Moment) -> Moment {
        self.together.rank((self.number, moment))
    }

    /// The requests of the other connections whose run functions ran at a moment
    /// of this one, each with its connection.
    fn running_beside(&self, at: Moment) -> impl Iterator<Item = (usize, &Sent)> {
        let at = self.rank(at);
        let others = self.together.connections.iter().enumerate();
        let others = others.filter(|(of, _)| *of != self.number);
        others.flat_map(move |(of, facts)| {
            let runs_then = move |request: &&Sent| {
                let run = facts.run_of(request);
                run.is_some_and(|run| {
                    let rank = |moment| self.together.rank((of, moment));
                    rank(run.started) < at && run.ended.is_none_or(|(end, _)| rank(end) > at)
                })
            };
            let running = facts.requests.iter().filter(runs_then);
            running.map(move |request| (of, request))
        })
    }

    /// Whether a task of another connection ran at that moment, ended by itself
    /// and was answered with its result.
    fn goes_on_beside(&self, at: Moment, id: Option<u32>) -> bool {
        self.running_beside(at).any(|(of, request)| {
            let facts = &self.together.connections[of];
            let how = facts.run_of(request).and_then(|run| run.ended);
            let by_itself = how.is_some_and(|(_, how)| how != RunEnd::Dropped);
            let reply = facts.answer(request).map(|answer| &answer.reply);
            let is_ok = matches!(reply, Some(Reply::Ok { .. }));
            by_itself && is_ok && id.is_none_or(|id| request.id == id)
        })
    }

    /// What meets beside each other.
    fn beside(&self, seen: &mut Seen) {
        let facts = self.facts;
        for run in &facts.runs {
            let mut beside = self.running_beside(run.started);
            seen.note(Reached::SameIdBeside, beside.any(|(_, r)| r.id == run.id));
        }
        let mut observed = facts.observed();
        let came = observed.find(|(_, what)| **what == Observed::Opened);
        let beside = came.is_some_and(|(moment, _)| self.running_beside(moment).next().is_some());
        seen.note(Reached::CameBeside, beside);
        for (number, request) in facts.requests.iter().enumerate() {
            let reply = facts.answer(request).map(|answer| &answer.reply);
            let cancelled = matches!(reply, Some(Reply::Error { code: 255, .. }));
            let cancels = facts.cancels_of(number, usize::MAX);
            let first = cancels.map(|cancel| cancel.called).min();
            let goes_on = first.is_some_and(|at| self.goes_on_beside(at, Some(request.id)));
            seen.note(Reached::CancelBeside, cancelled && goes_on);
        }
        let reason = facts.report.map(|report| report.reason);
        seen.note(Reached::ConnectionRefused, reason == Some(Reason::Refused));
    }

    /// What ends one connection and leaves the others alone.
    fn ends(&self, seen: &mut Seen) {
        let facts = self.facts;
        let goes_on = |at: Moment| self.goes_on_beside(at, None);
        let was_open = |call: &&Called| facts.over().is_none_or(|over| call.called < over);
        for call in facts.calls.iter().filter(was_open) {
            let state = match call.what {
                Call::Close => Reached::CloseBeside,
                Call::Disconnect { .. } => Reached::DisconnectBeside,
                _ => continue,
            };
            seen.note(state, goes_on(call.called));
        }
        let reset = facts.client_reset.is_some_and(goes_on);
        seen.note(Reached::ResetBeside, reset);
        let failed = matches!(
            facts.report.map(|report| report.reason),
            Some(
                Reason::RunFunction { .. }
                    | Reason::TaskFunction { .. }
                    | Reason::Body { .. }
                    | Reason::DuplicateTaskId { .. }
            )
        );
        let error = failed && facts.closed.is_some_and(goes_on);
        seen.note(Reached::ErrorBeside, error);
    }

    /// What ends all of them.
    fn all_together(&self, seen: &mut Seen) {
        for call in &self.facts.calls {
            let state = match call.what {
                Call::ServerDisconnect { .. } => Reached::ServerDisconnectOfSeveral,
                Call::Shutdown { .. } => Reached::ShutdownOfSeveral,
                _ => continue,
            };
            let runs = |run: &&crate::oracle::facts::Run| {
                let at = call.called;
                run.started < at && run.ended.is_none_or(|(ended, _)| ended > at)
            };
            let own = self.facts.runs.iter().any(|run| runs(&run));
            let others = self.running_beside(call.called).next().is_some();
            seen.note(state, own && others);
        }
    }

    /// What only the sum reaches: by itself this connection had its places.
    fn full(&self, seen: &mut Seen) {
        for (index, request) in self.facts.requests.iter().enumerate() {
            let Some(answered) = refused_at(self.facts, request) else {
                continue;
            };
            let alone = Alive::before(self.facts, index).full_for(self.facts, request);
            if alone.is_any() {
                continue;
            }
            let all = self.together.full_for((self.number, index), answered);
            let only = |this: bool, others: [bool; 2]| this && others == [false; 2];
            seen.note(
                Reached::ServerFullTogether,
                only(all.tasks, [all.held, all.alike]),
            );
            seen.note(
                Reached::ServerHeldTogether,
                only(all.held, [all.tasks, all.alike]),
            );
            seen.note(
                Reached::RegistrationFullTogether,
                only(all.alike, [all.tasks, all.held]),
            );
        }
    }

    /// L7: told of, while this client took all, and another one did not.
    fn unsent(&self, seen: &mut Seen) {
        let stalls_at = |of: usize, at: Moment| {
            let facts = &self.together.connections[of];
            let rank = |moment| self.together.rank((of, moment));
            facts.stalls.iter().any(|(direction, from, to)| {
                let until = to.map_or(Moment::MAX, rank);
                *direction == Direction::ToClient && rank(*from) < at && until > at
            })
        };
        let limits = &self.facts.config.limits;
        if limits.server_unsent_bytes >= limits.unsent_bytes {
            return;
        }
        for (moment, what) in self.facts.observed() {
            let is_limit = matches!(what, Observed::LimitReached { rule } if rule == "L7");
            let at = self.rank(moment);
            let mut others = (0..self.together.connections.len()).filter(|of| *of != self.number);
            let beside =
                is_limit && !stalls_at(self.number, at) && others.any(|of| stalls_at(of, at));
            seen.note(Reached::ServerUnsentBeside, beside);
        }
    }
}
