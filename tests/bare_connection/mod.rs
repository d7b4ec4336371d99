//! A connection of the protocol's core, without driver and server.

use std::time::Instant;

use asyncserver::proto::{
    Admission, Connection, Delivery, ErrorAnswers, Found, FunctionKind, Input, Limits, OnCancel,
    OnHalfClose, Policy, Settings, Timeouts,
};
use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bytes::{Bytes, BytesMut};

pub(crate) const POLICY: Policy = Policy::new(OnCancel::Drop, FunctionKind::Async);

pub(crate) fn connection(now: Instant) -> Connection<()> {
    let settings = Settings {
        order: ByteOrder::Big,
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        on_half_close: OnHalfClose::default(),
        error_answers: ErrorAnswers::default(),
    };
    Connection::new(settings, now)
}

/// Request `id` of code 1.
pub(crate) fn request(id: u32, length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_request_header(TaskCode(1), TaskId(id), ByteOrder::Big, &mut bytes);
    encode_message(&vec![b'x'; length], &mut bytes);
    bytes
}

/// What comes of a request that is read `step` bytes at a time. Allocates nothing itself.
pub(crate) fn deliver(
    connection: &mut Connection<()>,
    request: &[u8],
    step: usize,
    now: Instant,
) -> Input {
    let (mut at, mut end) = (0, 0);
    for part in request.chunks(step) {
        end += part.len();
        connection.handle_read(part.len());
        let input = connection.handle_input(&request[..end], &mut at, &mut Anything, now);
        if let Some(input) = input {
            return input;
        }
    }
    panic!("the message has ended");
}

/// The message of a task that has come in parts.
pub(crate) fn message(input: Input) -> Bytes {
    match input {
        Input::Message { payload, .. } => payload,
        other => panic!("{other:?}"),
    }
}

/// Takes any task; its message is handed over whole.
pub(crate) struct Anything;

impl Admission<()> for Anything {
    fn find(&mut self, _: TaskCode) -> Option<Found> {
        Some(Found {
            policy: POLICY,
            run_limit: None,
            message_limit_bytes: 1 << 20,
            delivery: Delivery::Whole,
        })
    }

    fn take_places(&mut self, _: TaskCode, (): &()) -> Result<(), &'static str> {
        Ok(())
    }

    fn largest_message(&self) -> usize {
        1 << 20
    }
}
