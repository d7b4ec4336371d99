//! A turn's input: bytes to inputs, a batch under one lock (PROTOCOL L12, L13).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::ReadBuf;

use super::{Budget, Driver, ITEMS, Side, may_take};
use crate::proto::Input;
use crate::runtime::Transport;
use crate::server::session::Ended;

impl<S: Transport> Driver<S> {
    pub(super) fn input(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut Budget) {
        while budget.items < ITEMS {
            let mut read = 0;
            if self.buffer.is_empty() {
                if !budget.is_used_up() {
                    read = self.read(cx, now);
                }
                if read == 0 {
                    break;
                }
                budget.bytes += read;
            }
            self.take_batch(read, now);
            let taken = self.lists.get().batch.inputs.len();
            budget.items += taken;
            self.act_on_inputs(now);
            if taken == 0 {
                break;
            }
            // What was begun is polled before more is delivered to it.
            if self.reading.is_some() {
                self.poll_reading(cx, now);
            }
        }
    }

    /// One read; how many bytes it brought, which go into the next batch.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> usize {
        if self.has_ended || self.read_side == Side::Waits {
            return 0;
        }
        // What was last seen holds, unless a task function has gone on since.
        if self.reading.is_some() {
            self.may_read = self.session.drive(|state| state.connection.reading());
        }
        if !may_take(self.may_read) {
            return 0;
        }
        let mut into = ReadBuf::new(self.buffer.room());
        let read = Pin::new(&mut self.transport).poll_read(cx, &mut into);
        let length = into.filled().len();
        match read {
            Poll::Pending => self.read_side = Side::Waits,
            Poll::Ready(Ok(())) if length == 0 => {
                self.has_ended = true;
                self.session
                    .drive(|state| state.connection.handle_end_of_input(now));
            }
            Poll::Ready(Ok(())) => {
                self.buffer.filled(length);
                return length;
            }
            Poll::Ready(Err(error)) => self.transport_failed(&error, now),
        }
        0
    }

    pub(super) fn transport_failed(&mut self, error: &io::Error, now: Instant) {
        self.has_ended = true;
        self.unwritten.clear();
        let words = error.to_string();
        self.session
            .drive(|state| state.connection.handle_transport_error(&words, now));
    }

    /// Commits what ran in place, and takes the next inputs, under one lock.
    fn take_batch(&mut self, newly_read: usize, now: Instant) {
        self.may_read = self.session.take_inputs(
            &mut self.lists.get().batch,
            newly_read,
            self.buffer.unread(),
            &mut self.desk,
            now,
        );
    }

    fn act_on_inputs(&mut self, now: Instant) {
        let mut inputs = std::mem::take(&mut self.lists.get().batch.inputs);
        let buffer = std::mem::take(&mut self.buffer);
        let registrations = self.desk.registrations();
        // What was cancelled in the batch that brought it need not start (T10).
        let orders = self.session.orders();
        let was_cancelled = std::mem::replace(&mut self.seen_orders, orders) != orders;
        for input in inputs.filled() {
            match input {
                Input::Whole { key, .. } | Input::Message { key, .. }
                    if was_cancelled && !self.session.may_start(*key) =>
                {
                    self.lists.get().end(*key, Ended::Dropped);
                    *input = Input::Handled;
                }
                Input::End { .. } if was_cancelled && self.drop_unwanted_reading() => {}
                Input::Whole {
                    key,
                    header,
                    message,
                } => {
                    let message = message.payload(buffer.bytes());
                    self.start_whole(&registrations, *key, *header, message);
                }
                Input::Message {
                    key,
                    header,
                    payload,
                } => {
                    let message = std::mem::take(payload);
                    self.start_whole(&registrations, *key, *header, message);
                }
                Input::Begin { key, header } => self.begin_reading(*key, *header, now),
                Input::End { start } => self.end_reading(*start),
                Input::Payload { .. } | Input::Handled => {}
            }
        }
        self.lists.get().batch.inputs = inputs;
        self.buffer = buffer;
    }
}
