//! A connection of the protocol's core, without driver and server.

use std::time::Instant;

use asyncserver::proto::{
    Admission, Connection, Delivery, ErrorAnswers, Found, FunctionKind, Limits, OnCancel,
    OnHalfClose, Policy, Settings, Timeouts,
};
use asyncserver::wire::{ByteOrder, TaskCode};

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

/// Takes any task; its message is handed over whole.
pub(crate) struct Anything;

impl Admission<()> for Anything {
    fn find(&mut self, _: TaskCode) -> Option<Found<()>> {
        Some(Found {
            task: (),
            policy: POLICY,
            run_limit: None,
            message_limit_bytes: 1 << 20,
            delivery: Delivery::Whole,
        })
    }

    fn take_places(&mut self, (): &()) -> Result<(), &'static str> {
        Ok(())
    }

    fn largest_message(&self) -> usize {
        1 << 20
    }
}
