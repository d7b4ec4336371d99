//! How the connection ends (PROTOCOL section 8).

use std::time::{Duration, Instant};

use super::current::Current;
use super::{Action, Connection, Flush, OnHalfClose, answer_lost};
use crate::canary::{Canary, planted};
use crate::proto::disconnect::Phase;
use crate::proto::ledger::OrphanStep;
use crate::proto::report::{EndReason, InterruptedTask, ProtocolError, TaskEnding};
use crate::wire::{Features, TaskCode, TaskId};

impl<T> Connection<T> {
    /// The client's end of stream (D7, section 9).
    pub fn handle_end_of_input(&mut self, now: Instant) {
        if self.phase() != Phase::Open {
            self.disconnect.handle_end_of_input();
            self.finish_if_closed(now);
            return;
        }
        // A header that is held has been read wholly, and its message has not ended.
        if let Some(end) = self.decoder.unexpected_end() {
            self.fail(ProtocolError::from(end).into(), now);
        } else {
            match self.settings.on_half_close {
                OnHalfClose::ClientIsGone => self.fail(EndReason::ClientClosed, now),
                OnHalfClose::Finish => {
                    if self.disconnect.start_draining(EndReason::ClientClosed) {
                        self.left_open(now);
                    }
                }
            }
        }
        self.disconnect.handle_end_of_input();
        self.finish_if_closed(now);
    }

    /// Ends the connection gracefully within `after` (D1, D2).
    pub fn disconnect(&mut self, after: Duration, now: Instant) {
        self.end_within(EndReason::GracefulDisconnect, after, now);
    }

    /// L1 ends as `disconnect(linger)` does, for a reason of its own.
    pub(super) fn end_idle(&mut self, now: Instant) {
        let linger = self.settings.timeouts.linger;
        self.end_within(EndReason::TimeoutWaitingForTask, linger, now);
    }

    fn end_within(&mut self, reason: EndReason, after: Duration, now: Instant) {
        if self.disconnect.disconnect(reason, after, now) {
            self.left_open(now);
        }
        self.check_invariants();
    }

    /// Draining has begun: a request that is not wholly read is not accepted (D1).
    pub(super) fn left_open(&mut self, now: Instant) {
        self.pace.stop_reading();
        self.pace.set_idle(false, false, now);
        match std::mem::replace(&mut self.current, Current::Between) {
            Current::Task(task) if task.ended => self.current = Current::Task(task),
            Current::Task(task) => {
                self.forget_reading(task.key);
                self.retire(task.key, None);
            }
            // Its places have not been taken: nothing to give back.
            Current::Held(..) | Current::Discarding(_) | Current::Between => {}
        }
        self.say_goodbye();
    }

    /// PROTOCOL E4: once, where granted, behind what is queued.
    fn say_goodbye(&mut self) {
        let granted = self.granted.contains(Features::GOODBYE);
        if (granted || planted(Canary::GoodbyeUnasked)) && !self.said_goodbye {
            let too_many = u32::from(planted(Canary::GoodbyeOffByOne));
            self.outbox
                .push_goodbye(self.counts.accepted as u32 + too_many);
        }
        // What was counted up to now stays accepted, told or not.
        self.said_goodbye = self.granted.contains(Features::GOODBYE);
    }

    /// A connection error, or the client is gone (D7, D8).
    pub(super) fn fail(&mut self, reason: EndReason, now: Instant) {
        let was_open = self.phase() == Phase::Open;
        if !self.disconnect.fail(reason) {
            return;
        }
        if was_open {
            self.left_open(now);
        }
        self.end_tasks(now);
        let lost = self.outbox.break_under_way();
        self.interrupt_answers(lost);
    }

    /// Closes at once (D5).
    pub fn close(&mut self, now: Instant) {
        self.disconnect.close(EndReason::Aborted);
        self.finish_if_closed(now);
    }

    /// The byte stream failed: closes at once (D8).
    pub fn handle_transport_error(&mut self, error: &str, now: Instant) {
        self.disconnect.close(EndReason::Transport(error.into()));
        self.finish_if_closed(now);
    }

    /// Cancels what still runs once the connection is closed, and accounts for
    /// what was not sent (D4).
    pub(super) fn finish_if_closed(&mut self, now: Instant) {
        if self.phase() != Phase::Closed || self.ended.is_some() {
            return;
        }
        self.ended = Some(now);
        self.pace.stop();
        self.end_tasks(now);
        let lost = self.outbox.close();
        self.interrupt_answers(lost);
        self.check_invariants();
    }

    /// The driver writes no more: what the transport has not taken by now is lost.
    pub fn settle(&mut self) {
        self.parts.forget_last();
        let lost = self.outbox.abandon();
        self.interrupt_answers(lost);
        self.check_invariants();
    }

    /// Every live task is cancelled and gets no answer (T5).
    fn end_tasks(&mut self, now: Instant) {
        if let Current::Task(task) = std::mem::replace(&mut self.current, Current::Between) {
            self.forget_reading(task.key);
        }
        self.body_deadlines.clear();
        for (key, task) in self.ledger.list() {
            if self.ledger.is_accepted(key) {
                self.interrupted.push(InterruptedTask {
                    id: task.id,
                    code: task.code,
                    state: task.state,
                });
                let ending = TaskEnding::Interrupted;
                self.actions
                    .push(Action::Finished(task.id, task.code, ending));
            }
            self.actions.push(Action::DropBody(key));
            match self.ledger.orphan(key, now) {
                OrphanStep::Nothing => {}
                OrphanStep::Remove => self.retire(key, None),
                OrphanStep::Drop => self.actions.push(Action::Drop(key)),
                OrphanStep::Tell { drop_at } => self.actions.push(Action::Orphan(key, drop_at)),
            }
        }
    }

    /// Responses that were queued and will not be sent (D9).
    fn interrupt_answers(&mut self, lost: Vec<(TaskId, TaskCode)>) {
        self.interrupted.extend(lost.into_iter().map(answer_lost));
    }

    /// What cannot be written within L3 is given up, and the end follows (D8).
    pub(super) fn give_up_output(&mut self, reason: EndReason, now: Instant) {
        self.fail(reason, now);
        // Nor is it waited for what the transport took and does not pass on.
        self.flush = Flush::Done;
        let lost = self.outbox.abandon();
        self.interrupt_answers(lost);
    }

    /// Goes on to Lingering once nothing is left to be done (D3).
    pub(super) fn linger_if_done(&mut self, now: Instant) {
        let done = match self.phase() {
            Phase::Draining if planted(Canary::ResponseDroppedAtDrain) => self.ledger.live() == 0,
            Phase::Draining => self.ledger.live() == 0 && self.all_is_written(),
            Phase::Failing => self.all_is_written(),
            _ => false,
        };
        if done {
            self.pace.stop();
            let linger = self.settings.timeouts.linger;
            self.disconnect.start_lingering(linger, now);
            self.finish_if_closed(now);
        }
    }

    /// The transport has taken everything, and passed it on.
    fn all_is_written(&self) -> bool {
        self.outbox.is_empty() && self.flush == Flush::Done
    }

    /// The transport has passed on what it took, or has not yet.
    pub const fn set_flush(&mut self, flush: Flush) {
        self.flush = flush;
    }

    /// This side's half-close is done: from now on the client's end of stream
    /// ends Lingering (D3).
    pub fn handle_half_closed(&mut self, now: Instant) {
        self.disconnect.handle_half_closed();
        self.finish_if_closed(now);
    }
}
