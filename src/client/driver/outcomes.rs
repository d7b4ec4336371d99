//! What becomes of calls: sent, answered, sent again, or told why not.

use std::time::Instant;

use super::Driver;
use crate::canary::{Canary, planted};
use crate::client::call::{Call, Repeatable, told};
use crate::client::connection::Standing;
use crate::client::error::{CallError, ConnectionLoss, NotStarted, TooLongMessage};
use crate::proto::{CallOutcome, Finished, LostCall, NewCall, StartError, Started};
use crate::wire::ErrorCode;

impl Driver {
    pub(super) fn start_calls(&mut self, now: Instant) -> usize {
        let Some(at) = self.current() else {
            return 0;
        };
        let calls = &mut self.connections[at].calls;
        let mut started = 0;
        while calls.places() > 0 {
            let Some(call) = self.queue.pop() else {
                break;
            };
            if call.is_abandoned() {
                continue;
            }
            let new = NewCall {
                code: call.head.code,
                id: call.head.id,
                message: call.head.message.clone(),
                response: call.response_mode(),
                response_timeout: call.head.response_timeout,
                context: call,
            };
            match calls.start(new, now) {
                Ok(id) => {
                    started += 1;
                    if let Some(call) = calls.context(id) {
                        call.head.set_sent_as(id);
                    }
                }
                Err((error, new)) => new.context.fail(start_failed(error)),
            }
        }
        started
    }

    pub(super) fn settle_finished(&mut self, at: usize, now: Instant) {
        let mut put_back = Vec::new();
        let connection = &mut self.connections[at];
        for (call, error) in connection.failed.drain(..) {
            call.fail(error);
        }
        while let Some(Finished {
            mut context,
            outcome,
            ..
        }) = connection.calls.poll_finished()
        {
            if matches!(outcome, CallOutcome::Ok(_) | CallOutcome::Error(_)) {
                connection.answered += 1;
                // What one that is going away still answers makes no other easier to reach.
                if connection.standing == Standing::Current {
                    self.dialer.answered();
                }
            }
            let retries = self.retries;
            match outcome {
                // PROTOCOL C7: it was not started, as surely as its server is busy.
                CallOutcome::Error(ErrorCode::UNAVAILABLE) if may_go_again(&context, retries) => {
                    let pause = self.dialer.draw_pause(context.retries);
                    context.retries += 1;
                    let at = now.checked_add(pause).unwrap_or(now);
                    self.queue.pause(context, at, now);
                }
                CallOutcome::NotAccepted { .. } if may_go_again(&context, retries) => {
                    context.retries += 1;
                    put_back.push(context);
                }
                outcome => {
                    self.told += 1;
                    context.tell(told(outcome));
                }
            }
        }
        self.queue.put_back(put_back, now);
    }

    /// PROTOCOL C3.
    pub(super) fn settle_lost(
        &mut self,
        lost: Vec<LostCall<Call>>,
        loss: &ConnectionLoss,
        now: Instant,
    ) {
        tracing::debug!(%loss, calls = lost.len(), "connection lost");
        let mut put_back = Vec::new();
        for LostCall {
            mut context,
            started,
            ..
        } in lost
        {
            let repeatable = started == Started::No
                || context.head.repeatable == Repeatable::Always
                || planted(Canary::InterruptedSentAgain);
            if repeatable && may_go_again(&context, self.retries) {
                context.retries += 1;
                put_back.push(context);
                continue;
            }
            let loss = loss.clone();
            context.fail(match started {
                Started::No => CallError::NotStarted {
                    reason: NotStarted::ConnectionLost { loss },
                },
                Started::Perhaps => CallError::Interrupted { loss },
            });
        }
        self.queue.put_back(put_back, now);
    }

    /// What ends a call that waits, where there is no connection.
    pub(super) fn no_connection(&self, call: &Call) -> CallError {
        let failure = self.dialer.failure(call.head.response_timeout);
        failure.map_or_else(
            || timed_out(call),
            |(attempts, last)| CallError::NotStarted {
                reason: NotStarted::NoConnection { attempts, last },
            },
        )
    }
}

fn may_go_again(call: &Call, retries: u32) -> bool {
    call.retries < retries && call.can_be_sent_again() && !call.is_abandoned()
}

/// What ends a call that has waited for too long, for whatever but a connection.
pub(super) fn timed_out(call: &Call) -> CallError {
    CallError::TimedOut {
        after: call.head.response_timeout,
        started: Started::No,
    }
}

fn start_failed(error: StartError) -> CallError {
    match error {
        StartError::TooLong {
            length_bytes,
            limit_bytes,
        } => CallError::TooLong {
            message: TooLongMessage::Request,
            length_bytes,
            limit_bytes,
        },
        StartError::IdInUse { id } => CallError::NotStarted {
            reason: NotStarted::IdInUse { id },
        },
        StartError::NoPlace => CallError::Closed {
            started: Started::No,
        },
    }
}
