//! What the rules ask of the facts.

use super::facts::{Called, Cancel, Facts, Moment, Run, ms};
use super::received::{Received, Reply};
use super::sent::Sent;
use crate::history::{BodyEnd, Call, Direction, Ending, Observed, RunEnd, What};
use crate::report::{Reason, Report};
use crate::tasks::{Does, TaskSpec};

impl<'h> Facts<'h> {
    /// When an event happened, in microseconds.
    pub(crate) fn us(&self, moment: Moment) -> u64 {
        self.history.events[moment].at_us
    }

    /// The registration of a request; `None`: reserved or unknown (T4).
    pub(crate) fn task(&self, request: &Sent) -> Option<&'h TaskSpec> {
        self.config.task(request.code)
    }

    /// The answer of a request.
    pub(crate) fn answer(&self, request: &Sent) -> Option<&Received> {
        request.answer.map(|answer| &self.responses[answer])
    }

    /// The run of a request.
    pub(crate) fn run_of(&self, request: &Sent) -> Option<&Run> {
        request.run.map(|run| &self.runs[run])
    }

    /// Whether a function that ended then, behind its answer (T13), may have had its place
    /// at `at_us` still. Its end is noted before the place is free, which nothing tells.
    pub(crate) fn outlives(&self, request: &Sent, ended: Moment, at_us: u64) -> bool {
        let is_behind = |answer: &Received| answer.last < ended;
        self.answer(request).is_some_and(is_behind) && self.us(ended) >= at_us
    }

    /// Whether a request may have been cancelled before `moment` (T10): the
    /// cancel came when its header may have been read.
    pub(crate) fn cancels_of(
        &self,
        number: usize,
        before: Moment,
    ) -> impl Iterator<Item = &Cancel> {
        let request = &self.requests[number];
        self.cancels.iter().filter(move |cancel| {
            let in_order = match cancel.request {
                Some(of_cancel) => of_cancel > number,
                None => cancel
                    .certain
                    .is_none_or(|certain| certain > request.header),
            };
            cancel.target.is_none_or(|id| id == request.id) && cancel.called < before && in_order
        })
    }

    /// The observer's events.
    pub(crate) fn observed(&self) -> impl Iterator<Item = (Moment, &'h Observed)> {
        let observed = |(moment, event): (Moment, &'h crate::Event)| match &event.what {
            What::Observed(observed) => Some((moment, observed)),
            _ => None,
        };
        self.history.events.iter().enumerate().filter_map(observed)
    }

    /// When a task was reported as stuck (T13).
    pub(crate) fn stuck(&self, id: u32) -> Option<Moment> {
        self.observed()
            .find(|(_, o)| matches!(o, Observed::Stuck { id: of } if *of == id))
            .map(|(moment, _)| moment)
    }

    /// Calls that begin the end of the connection (D1, D5, D6), with the
    /// duration after which it is closed at the latest, in milliseconds.
    pub(crate) fn endings(&self) -> impl Iterator<Item = (&Called, u64)> {
        self.calls.iter().filter_map(|call| match call.what {
            Call::Disconnect { after_ms }
            | Call::ServerDisconnect { after_ms }
            | Call::Shutdown { after_ms } => Some((call, after_ms)),
            Call::EndContext => Some((call, self.config.timeouts.grace_ms)),
            Call::Close => Some((call, 0)),
            Call::List | Call::Cancel { .. } | Call::CancelAll => None,
        })
    }

    /// From when on the server certainly reads no more requests.
    pub(crate) fn stopped_reading(&self) -> Option<Moment> {
        // A shutdown acts when called, and returns only later (D6).
        let acted = |(call, _): (&Called, u64)| match call.what {
            Call::Shutdown { .. } => Some(call.called),
            _ => call.returned.as_ref().map(|(moment, _)| *moment),
        };
        let goodbye = |r: &Received| matches!(r.reply, Reply::Goodbye(_)).then_some(r.first);
        let goodbye = self.responses.iter().find_map(goodbye);
        let ends = [self.closed, self.server_ended, goodbye];
        self.endings()
            .filter_map(acted)
            .chain(ends.into_iter().flatten())
            .min()
    }

    /// The end, as soon as anything of it was seen.
    pub(crate) fn over(&self) -> Option<Moment> {
        let ends = [
            self.closed,
            self.server_ended,
            self.server_reset,
            self.client_reset,
        ];
        ends.into_iter().flatten().min()
    }

    /// Whether a connection error had interrupted the task before that moment, as
    /// the observer saw it: a client whose responses stall sees it later.
    pub(crate) fn interrupted(&self, id: u32, before: Moment) -> bool {
        let is_error = |report: &Report| {
            !matches!(
                report.reason,
                Reason::GracefulDisconnect | Reason::TimeoutWaitingForTask
            )
        };
        let mut observed = self.observed();
        // A history that is cut off has no report: an error may have begun to end it.
        self.report.is_none_or(is_error)
            && observed.any(|(moment, what)| {
                let ending = Ending::Interrupted;
                moment < before && *what == Observed::Finished { id, ending }
            })
    }

    /// How many of the first requests were certainly accepted, of whatever code.
    pub(crate) fn accepted_at_least(&self) -> usize {
        let taken = |r: &Sent| r.answer.is_some() || r.run.is_some();
        self.requests
            .iter()
            .rposition(taken)
            .map_or(0, |last| last + 1)
    }

    /// Whether between two times nothing made the server pause its reading (L12):
    /// then what was sent has been looked at after the network's and the server's
    /// delays. What had waited for a direction that flows again has been moved then.
    pub(crate) fn reads_on(&self, from_us: u64, to_us: u64) -> bool {
        let limits = &self.config.limits;
        let unsent = limits.unsent_bytes.min(limits.server_unsent_bytes);
        self.flows(from_us, to_us)
            && self.received_bytes < unsent as u64
            && unsent >= 1000
            && !self.is_full_of_tasks()
    }

    /// Whether tasks may have paused reading: by their places, by their messages,
    /// or with their task functions or bodies (L5, L16, T2, N8).
    pub(crate) fn is_full_of_tasks(&self) -> bool {
        let limits = &self.config.limits;
        let tasks = self.requests.iter().filter(|r| self.task(r).is_some());
        let held: usize = self.requests.iter().map(|r| r.message.len()).sum();
        let own_function = |r: &Sent| {
            let spec = self.task(r);
            spec.is_some_and(|s| s.does == Does::Scripted) && r.function.is_some()
        };
        tasks.count() >= limits.in_flight
            || held >= limits.held_bytes.min(limits.server_held_bytes)
            || self.requests.iter().any(own_function)
            || self.stalls_a_body()
    }

    /// Whether a body stood still, and with it the wire (N8).
    fn stalls_a_body(&self) -> bool {
        let stalls = |run: &Run| {
            let then = match run.ended {
                Some((_, RunEnd::Streamed { then, .. })) => Some(then),
                _ => None,
            };
            then == Some(BodyEnd::Stalls)
        };
        self.runs.iter().any(stalls)
    }
}

impl Facts<'_> {
    /// Whether nothing stalled between two times, and no body held the wire.
    pub(crate) fn flows(&self, from_us: u64, to_us: u64) -> bool {
        let overlaps = |stall: &(Direction, Moment, Option<Moment>)| {
            let until = stall.2.map_or(u64::MAX, |moment| self.us(moment));
            self.us(stall.1) <= to_us && until >= from_us
        };
        !self.stalls.iter().any(overlaps) && !self.stalls_a_body()
    }

    /// Whether by that time the end of the connection may already keep answers
    /// back: it is over, its client is gone, its deadline is near, or an error
    /// has begun to end it (D4, D5, D7, D8).
    pub(crate) fn cannot_answer(&self, by_us: u64) -> bool {
        let slack = ms(self.config.tolerance.late_ms + self.config.tolerance.network_ms);
        let soon = |moment: Moment| self.us(moment) <= by_us.saturating_add(slack);
        let gone = [self.over(), self.client_reset]
            .into_iter()
            .flatten()
            .any(soon);
        let ended = self.client_ended.is_some_and(soon)
            && self.config.on_half_close == crate::OnHalfClose::Leave;
        let deadline = self
            .deadline_us()
            .is_some_and(|deadline| deadline <= by_us.saturating_add(slack));
        gone || ended || deadline || self.errors().any(|(moment, _)| soon(moment))
    }

    /// The earliest deadline that a call has set, in microseconds (D2).
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        self.endings()
            .map(|(call, after)| self.us(call.called).saturating_add(ms(after)))
            .min()
    }

    /// Moments from which on a connection error may have happened, with the
    /// request that caused it, if it is one (D8).
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Moment, Option<usize>)> {
        let by_task = self
            .requests
            .iter()
            .enumerate()
            .filter_map(|(number, request)| {
                let too_long = request.message.len() > self.config.message_limit(request.code);
                let fails = self.task(request).is_some_and(|task| {
                    let outcome = super::outcome::outcome(self, request, task);
                    matches!(outcome, super::outcome::Outcome::ConnectionError { .. })
                });
                let duplicate = self.requests[..number].iter().any(|other| {
                    let gone = self
                        .answer(other)
                        .is_some_and(|answer| answer.last < request.header);
                    other.id == request.id && !other.is_cancel() && !request.is_cancel() && !gone
                });
                // A long message fails before its end, a failing task at its own.
                let moment = if too_long {
                    request.first
                } else {
                    request.header
                };
                (too_long || fails || duplicate).then_some((moment, Some(number)))
            });
        let partial = self.partial.iter().map(|partial| (partial.first, None));
        by_task.chain(partial)
    }
}
