//! Which request a function was called for: ids are used again, and what was
//! refused has none, though its answer may not have been read yet.

use asyncserver::wire::ErrorCode;

use super::facts::{Facts, Moment};
use super::received::Reply;
use super::sent::Sent;
use crate::history::{Ending, Event, Observed, RunEnd, What};
use crate::tasks::{Natural, natural};

/// What a request is answered that finds no place; a task may fail with it by itself, too.
const UNAVAILABLE: u8 = ErrorCode::UNAVAILABLE.0;

impl Facts<'_> {
    /// The request of a run function that starts at `moment`: its number, its task's id
    /// and code.
    pub(super) fn request_of_run(
        &self,
        moment: Moment,
        (run, id, code): (u32, u32, u8),
    ) -> Option<usize> {
        // Of requests with one id the earlier ones are over, though their answers
        // may not have been read yet.
        let finished = self.finished_before(moment, id);
        let of_id = |index: usize| {
            let before = self.requests[..index].iter();
            before.filter(|r| r.id == id && self.is_task(r)).count()
        };
        let may_run = |index: &usize| {
            let request = &self.requests[*index];
            request.run.is_none()
                && self.may_be_live(request, (id, code), moment)
                && of_id(*index) >= finished
        };
        let candidates = || (0..self.requests.len()).filter(may_run);
        // Whose task function was called was not refused.
        candidates()
            .find(|index| self.requests[*index].function.is_some())
            .or_else(|| {
                let fails_so = self.fails_as_unavailable(run);
                candidates().find(|index| fails_so || !self.was_refused(*index))
            })
            .or_else(|| candidates().next())
    }

    /// Whether a run function ends with that error by itself.
    fn fails_as_unavailable(&self, run: u32) -> bool {
        let how = RunEnd::Coded { code: UNAVAILABLE };
        let is_it = |event: &Event| event.what == What::RunEnded { run, how };
        self.history.events.iter().any(is_it)
    }

    /// The request of a task function that starts at `moment`.
    pub(super) fn request_of_function(&self, moment: Moment, id: u32, code: u8) -> Option<usize> {
        let may_read = |index: &usize| {
            let request = &self.requests[*index];
            request.function.is_none() && self.may_be_live(request, (id, code), moment)
        };
        let candidates = || (0..self.requests.len()).filter(may_read);
        // T1: they are called in the order of the requests.
        let before = self.functions.iter().rev().find_map(|f| f.request);
        let is_next = |index: &usize| before.is_none_or(|before| *index > before);
        candidates()
            .filter(is_next)
            .find(|index| !self.was_refused(*index))
            .or_else(|| candidates().find(is_next))
            .or_else(|| candidates().next())
    }

    fn may_be_live(&self, request: &Sent, named: (u32, u8), moment: Moment) -> bool {
        let answer = request.answer.map(|answer| &self.responses[answer]);
        let over = answer.is_some_and(|answer| answer.last < moment);
        (request.id, request.code) == named && request.header < moment && !over
    }

    /// L6, L16, as far as the client was told. A task may fail with this code by itself.
    fn was_refused(&self, index: usize) -> bool {
        let request = &self.requests[index];
        let reply = request.answer.map(|answer| &self.responses[answer].reply);
        let is_own = self.task(request).is_some_and(|task| {
            let order = self.config.byte_order.into();
            natural(task.does, &request.message, order).0 == Natural::Error(UNAVAILABLE)
        });
        matches!(
            reply,
            Some(Reply::Error {
                code: UNAVAILABLE,
                ..
            })
        ) && !is_own
    }

    fn is_task(&self, request: &Sent) -> bool {
        self.config.task(request.code).is_some()
    }

    /// How many tasks with this id the observer saw finish. One that the end of
    /// the connection interrupts may start all the same, in its grace (T10).
    fn finished_before(&self, moment: Moment, id: u32) -> usize {
        let is_it = |what: &What| {
            matches!(what, What::Observed(Observed::Finished { id: of, ending })
                if *of == id && *ending != Ending::Interrupted)
        };
        let events = self.history.events[..moment].iter();
        events.filter(|event| is_it(&event.what)).count()
    }
}
