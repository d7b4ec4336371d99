//! A turn's input: bytes to inputs, a batch under one lock (PROTOCOL L12, L13).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::ReadBuf;

use super::{BATCH, Driver, ITEMS, Side, may_take};
use crate::proto::Input;
use crate::runtime::Transport;

impl<S: Transport> Driver<S> {
    pub(super) fn input(&mut self, cx: &mut Context<'_>, now: Instant, items: &mut usize) {
        while *items < ITEMS {
            if self.buffer.is_empty() && !self.read(cx, now) {
                break;
            }
            let before = *items;
            self.take_batch(now);
            *items += self.inputs.len();
            self.act_on_inputs(now);
            if *items == before {
                break;
            }
            // What was begun is polled before more is delivered to it.
            if self.reading.is_some() {
                self.poll_reading(cx, now);
            }
        }
    }

    /// One read; whether it brought bytes.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.has_ended || self.read_side == Side::Waits {
            return false;
        }
        if !may_take(self.session.drive(|state| state.connection.reading())) {
            return false;
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
                self.session
                    .drive(|state| state.connection.handle_read(length));
                return true;
            }
            Poll::Ready(Err(error)) => self.transport_failed(&error, now),
        }
        false
    }

    pub(super) fn transport_failed(&mut self, error: &io::Error, now: Instant) {
        self.has_ended = true;
        self.unwritten.clear();
        let words = error.to_string();
        self.session
            .drive(|state| state.connection.handle_transport_error(&words, now));
    }

    /// Commits what ran in place, and takes the next inputs, under one lock.
    fn take_batch(&mut self, now: Instant) {
        self.inputs.clear();
        self.session.take_inputs(
            &mut self.ended,
            self.buffer.unread(),
            &mut self.desk,
            &mut self.inputs,
            BATCH,
            now,
        );
    }

    pub(super) fn commit(&mut self, now: Instant) {
        if !self.ended.is_empty() {
            self.inputs.clear();
            let nothing = (&[][..], &mut 0);
            let (ended, desk, inputs) = (&mut self.ended, &mut self.desk, &mut self.inputs);
            self.session
                .take_inputs(ended, nothing, desk, inputs, 0, now);
        }
    }

    fn act_on_inputs(&mut self, now: Instant) {
        let mut inputs = std::mem::take(&mut self.inputs);
        for input in &mut inputs {
            match std::mem::replace(input, Input::Handled) {
                Input::Whole {
                    key,
                    header,
                    message,
                } => {
                    let payload = message.payload(self.buffer.bytes());
                    self.start_whole(key, header, payload);
                }
                Input::Message {
                    key,
                    header,
                    payload,
                } => self.start_whole(key, header, payload),
                Input::Begin { key, header } => self.begin_reading(key, header, now),
                Input::End { start } => self.end_reading(start),
                Input::Payload { .. } | Input::Handled => {}
            }
        }
        self.inputs = inputs;
    }
}
