//! The server around a connection: what is registered, and its places.

use asyncserver::proto::{self};
use asyncserver::wire::{ErrorCode, TaskCode};
use oracle::model::connection::{Instead, Registration, Settings};
use oracle::model::ledger::Kind;
use oracle::model::time::duration;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) registrations: Vec<Registration>,
    pub(crate) free_places: usize,
}

impl proto::Admission<()> for Desk {
    fn find(&mut self, code: TaskCode) -> Option<proto::Found> {
        let registration = self.registrations.get(usize::from(code.0))?;
        let on_cancel = match registration.policy.grace {
            Some(grace) => proto::OnCancel::Cooperate {
                grace: duration(grace),
            },
            None => proto::OnCancel::Drop,
        };
        Some(proto::Found {
            policy: proto::Policy::new(on_cancel, kind(registration.policy.kind)),
            run_limit: registration.policy.run_limit.map(duration),
            message_limit_bytes: registration.message_limit,
            delivery: if registration.is_streamed {
                proto::Delivery::Streamed
            } else {
                proto::Delivery::Whole
            },
        })
    }

    fn take_places(&mut self, _: TaskCode, (): &()) -> Result<(), &'static str> {
        self.free_places = self.free_places.checked_sub(1).ok_or("L6")?;
        Ok(())
    }

    fn largest_message(&self) -> usize {
        let limits = self.registrations.iter().map(|task| task.message_limit);
        limits.max().unwrap_or(0)
    }
}

pub(crate) const fn kind(kind: Kind) -> proto::FunctionKind {
    match kind {
        Kind::Async => proto::FunctionKind::Async,
        Kind::Blocking => proto::FunctionKind::Blocking,
    }
}

/// What the library is told, in its own types.
pub(crate) fn library_settings(settings: &Settings) -> proto::Settings {
    let mut limits = proto::Limits::default();
    limits.message_limit_bytes = settings.message_limit;
    limits.in_flight_limit = settings.in_flight;
    limits.unsent_limit_bytes = settings.unsent;
    limits.held_limit_bytes = settings.held;
    let mut timeouts = proto::Timeouts::default();
    timeouts.wait = duration(settings.wait);
    timeouts.read = duration(settings.read);
    timeouts.write = duration(settings.write);
    timeouts.linger = duration(settings.linger);
    timeouts.task_function = duration(settings.task_function);
    timeouts.body = duration(settings.body);
    timeouts.processing_interval = duration(settings.interval);
    let mut error_answers = proto::ErrorAnswers::default();
    for (error, instead) in &settings.answers {
        let answer = match instead {
            Instead::Code(sent) => proto::ErrorAnswer::Code(ErrorCode(*sent)),
            Instead::Close => proto::ErrorAnswer::CloseConnection,
        };
        error_answers.set(ErrorCode(*error), answer);
    }
    proto::Settings {
        order: settings.order(),
        limits,
        timeouts,
        on_half_close: if settings.finishes_after_half_close {
            proto::OnHalfClose::Finish
        } else {
            proto::OnHalfClose::ClientIsGone
        },
        error_answers,
    }
}
