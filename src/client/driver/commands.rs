//! What the callers want.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{Driver, Phase, TURN_COMMANDS, Turn};
use crate::client::call::{CallHead, Command};
use crate::client::connection::Connection;
use crate::client::error::CallError;
use crate::proto::Started;
use crate::wire::TaskId;

impl Driver {
    pub(super) fn take_commands(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let mut taken = std::mem::take(&mut self.taken);
        // Polled until it is pending, or it would not wake the task again.
        while let Poll::Ready(count) = {
            let room = TURN_COMMANDS - taken.len();
            self.commands.poll_recv_many(cx, &mut taken, room)
        } {
            if count == 0 {
                // Neither a client nor a call's future is left.
                self.phase = Phase::Over;
                break;
            }
            if taken.len() == TURN_COMMANDS {
                turn.again();
                break;
            }
        }
        for command in taken.drain(..) {
            match command {
                Command::Submit(call) => self.queue.submit(call, now),
                Command::GiveUp(head) => self.give_up(&head, now),
                Command::Cancel(head) => self.cancel(&head, now),
                Command::Taken => {}
                Command::Close { within } => self.begin_closing(now.checked_add(within)),
            }
        }
        self.taken = taken;
    }

    fn give_up(&mut self, head: &Arc<CallHead>, now: Instant) {
        if let Some((connection, id)) = self.connection_of(head) {
            drop(connection.calls.give_up(id, now));
        } else {
            drop(self.queue.take(head));
        }
    }

    fn cancel(&mut self, head: &Arc<CallHead>, now: Instant) {
        let cancelled = match self.connection_of(head) {
            Some((connection, id)) => connection.calls.cancel(id, now),
            None => self.queue.take(head).map(|call| (call, Started::No)),
        };
        if let Some((call, started)) = cancelled {
            call.fail(CallError::Cancelled { started });
        }
    }

    fn connection_of(&mut self, head: &Arc<CallHead>) -> Option<(&mut Connection, TaskId)> {
        let id = head.sent_as()?;
        let is_there = |connection: &&mut Connection| {
            let call = connection.calls.context(id);
            call.is_some_and(|call| Arc::ptr_eq(&call.head, head))
        };
        let connection = self.connections.iter_mut().find(is_there)?;
        Some((connection, id))
    }

    fn begin_closing(&mut self, deadline: Option<Instant>) {
        let deadline = match self.phase {
            Phase::Closing { deadline: earlier } => [earlier, deadline].into_iter().flatten().min(),
            Phase::Open | Phase::Over => deadline,
        };
        self.phase = Phase::Closing { deadline };
    }
}
