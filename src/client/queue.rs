//! Calls that wait: for a connection, for a place on it (PROTOCOL C7), for the
//! first piece of their message, or for a pause to pass.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::call::{Call, CallHead, QueuePlace, source_failed};

#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<Call>,
    /// Their source's first piece has not come.
    preparing: Vec<Call>,
    /// Not to be sent again before.
    pausing: Vec<(Instant, Call)>,
    /// No call's wait ends before this: a lower bound.
    earliest: Option<Instant>,
    /// Places whose calls have left the queue since they were last asked for.
    places_freed: usize,
    /// Places of calls that came back when they had given theirs away: so many
    /// more must become free before a new call has one.
    places_owed: usize,
}

impl Queue {
    /// A call from its caller.
    pub(super) fn submit(&mut self, mut call: Call, now: Instant) {
        self.expect(&mut call, now);
        if call.source.is_some() {
            self.preparing.push(call);
        } else {
            self.ready.push_back(call);
        }
    }

    /// Calls that were not started, to go before all others, in their order.
    pub(super) fn put_back(&mut self, calls: Vec<Call>, now: Instant) {
        for mut call in calls.into_iter().rev() {
            self.expect(&mut call, now);
            self.ready.push_front(call);
        }
    }

    /// A call that is to be sent again at `at`. It takes a place once more: a
    /// server that is always busy must not make the queue grow (PROTOCOL C7).
    pub(super) fn pause(&mut self, mut call: Call, at: Instant, now: Instant) {
        if call.place == QueuePlace::Released {
            call.place = QueuePlace::Held;
            self.places_owed += 1;
        }
        self.expect(&mut call, now);
        self.pausing.push((at, call));
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.preparing.is_empty() && self.pausing.is_empty()
    }

    /// The next call to be sent.
    pub(super) fn pop(&mut self) -> Option<Call> {
        let call = self.ready.pop_front()?;
        Some(self.left(call))
    }

    /// Moves on the calls whose message or pause lets them. The calls whose
    /// source failed are told so.
    pub(super) fn poll(&mut self, now: Instant, cx: &mut Context<'_>) {
        for mut call in std::mem::take(&mut self.preparing) {
            let first = call.source.as_mut().map(|source| source.poll_first(cx));
            match first {
                Some(Poll::Pending) => self.preparing.push(call),
                Some(Poll::Ready(Err(error))) => {
                    self.left(call).fail(source_failed(error.into()));
                }
                Some(Poll::Ready(Ok(()))) | None => self.ready.push_back(call),
            }
        }
        let due = self.pausing.extract_if(.., |(at, _)| *at <= now);
        self.ready.extend(due.map(|(_, call)| call));
    }

    /// The calls whose wait has ended by `now`.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Call> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let expired = self.take_if(|call| call.deadline.is_some_and(|at| at <= now));
        self.earliest = self.calls().filter_map(|call| call.deadline).min();
        expired
    }

    /// The call with this head, if it waits here.
    pub(super) fn take(&mut self, head: &Arc<CallHead>) -> Option<Call> {
        self.take_if(|call| Arc::ptr_eq(&call.head, head)).pop()
    }

    /// The calls that have waited out as many failures as they may; the others
    /// have one less to go.
    pub(super) fn round_failed(&mut self, retries: u32) -> Vec<Call> {
        for call in &mut self.ready {
            call.retries = call.retries.saturating_add(1);
        }
        let mut failed = Vec::new();
        for call in std::mem::take(&mut self.ready) {
            if call.retries > retries {
                failed.push(self.left(call));
            } else {
                self.ready.push_back(call);
            }
        }
        failed
    }

    pub(super) fn take_all(&mut self) -> Vec<Call> {
        self.take_if(|_| true)
    }

    /// The queue's places that have become free.
    pub(super) fn take_places_freed(&mut self) -> usize {
        let settled = self.places_freed.min(self.places_owed);
        self.places_owed -= settled;
        std::mem::take(&mut self.places_freed) - settled
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let pauses = self.pausing.iter().map(|(at, _)| *at);
        pauses.chain(self.earliest).min()
    }

    fn expect(&mut self, call: &mut Call, now: Instant) {
        call.deadline = now.checked_add(call.head.response_timeout);
        let deadlines = self.earliest.into_iter().chain(call.deadline);
        self.earliest = deadlines.min();
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        let pausing = self.pausing.iter().map(|(_, call)| call);
        self.ready.iter().chain(&self.preparing).chain(pausing)
    }

    fn take_if(&mut self, wanted: impl Fn(&Call) -> bool) -> Vec<Call> {
        let mut taken = Vec::new();
        if self.ready.iter().any(&wanted) {
            let (out, stay) = std::mem::take(&mut self.ready)
                .into_iter()
                .partition::<Vec<_>, _>(&wanted);
            self.ready = stay.into();
            taken = out;
        }
        taken.extend(self.preparing.extract_if(.., |call| wanted(call)));
        let pausing = self.pausing.extract_if(.., |(_, call)| wanted(call));
        taken.extend(pausing.map(|(_, call)| call));
        taken.into_iter().map(|call| self.left(call)).collect()
    }

    fn left(&mut self, mut call: Call) -> Call {
        if call.place == QueuePlace::Held {
            call.place = QueuePlace::Released;
            self.places_freed += 1;
        }
        call
    }
}
