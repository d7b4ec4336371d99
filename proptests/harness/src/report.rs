//! The library's reports and settings, and the oracle's.

use std::time::Duration;

use asyncserver::server::{
    self, ConnectionReport, EndReason, OnHalfClose, ProtocolError, ServerBuilder, TaskState,
};
use oracle::{Config, Interrupted, Reason, Report, State};

/// The oracle's form of a report.
///
/// # Panics
/// When the library has a reason that the oracle does not know.
#[must_use]
pub fn report(report: &ConnectionReport) -> Report {
    let interrupted = report.interrupted.iter().map(|task| Interrupted {
        id: task.id.0,
        code: task.code.0,
        state: match task.state {
            TaskState::Receiving => State::Receiving,
            TaskState::Running => State::Running,
            TaskState::Cancelling => State::Cancelling,
            TaskState::Responding => State::Responding,
        },
    });
    Report {
        reason: reason(&report.reason),
        accepted: report.counts.accepted,
        ok: report.counts.ok,
        errors: report.counts.errors,
        cancelled: report.counts.cancelled,
        interrupted: report.counts.interrupted,
        cancels: report.counts.cancels,
        interrupted_tasks: interrupted.collect(),
        stuck: report.stuck.iter().map(|task| task.id.0).collect(),
        bytes_read: report.bytes_read,
        bytes_written: report.bytes_written,
        deadline_reached: report.deadline_reached,
    }
}

fn reason(reason: &EndReason) -> Reason {
    match reason {
        EndReason::GracefulDisconnect => Reason::GracefulDisconnect,
        EndReason::ClientClosed => Reason::ClientClosed,
        EndReason::TimeoutWaitingForTask => Reason::TimeoutWaitingForTask,
        EndReason::ReadTimeout => Reason::ReadTimeout,
        EndReason::ReadTooSlow => Reason::ReadTooSlow,
        EndReason::WriteTimeout => Reason::WriteTimeout,
        EndReason::WriteTooSlow => Reason::WriteTooSlow,
        EndReason::MessageTooLong { id, .. } => Reason::MessageTooLong { id: id.0 },
        EndReason::HandshakeTimeout => Reason::HandshakeTimeout,
        EndReason::HandshakeFailed(_) => Reason::HandshakeFailed,
        EndReason::Protocol(ProtocolError::UnexpectedEnd(end)) => {
            Reason::UnexpectedEnd { offset: end.offset }
        }
        EndReason::Protocol(ProtocolError::DuplicateTaskId { id, .. }) => {
            Reason::DuplicateTaskId { id: id.0 }
        }
        EndReason::TaskFunction { id, .. } => Reason::TaskFunction { id: id.0 },
        EndReason::RunFunction { id, .. } => Reason::RunFunction { id: id.0 },
        EndReason::Body { id, .. } => Reason::Body { id: id.0 },
        EndReason::Transport(_) => Reason::Transport,
        EndReason::Refused { .. } => Reason::Refused,
        EndReason::Aborted => Reason::Aborted,
        other => panic!("a reason that the oracle does not know: {other}"),
    }
}

/// A server with a scenario's limits, timeouts and half-close.
pub fn settings(builder: ServerBuilder, config: &Config) -> ServerBuilder {
    builder
        .limits(limits(config))
        .timeouts(timeouts(config))
        .on_half_close(match config.on_half_close {
            oracle::OnHalfClose::Leave => OnHalfClose::ClientIsGone,
            oracle::OnHalfClose::Drain => OnHalfClose::Finish,
        })
}

fn limits(config: &Config) -> server::Limits {
    let (mut limits, set) = (server::Limits::default(), &config.limits);
    limits.message_limit_bytes = set.message_bytes;
    limits.in_flight_limit = set.in_flight;
    limits.task_limit = set.tasks;
    limits.unsent_limit_bytes = set.unsent_bytes;
    limits.server_unsent_limit_bytes = set.server_unsent_bytes;
    limits.connection_limit = set.connections;
    limits.held_limit_bytes = set.held_bytes;
    limits.server_held_limit_bytes = set.server_held_bytes;
    limits
}

fn timeouts(config: &Config) -> server::Timeouts {
    let (mut timeouts, set) = (server::Timeouts::default(), &config.timeouts);
    // The longest time of a scenario is one that no clock can add.
    let ms = |ms| match ms {
        u64::MAX => Duration::MAX,
        ms => Duration::from_millis(ms),
    };
    timeouts.wait = ms(set.wait_ms);
    timeouts.read = ms(set.read_ms);
    timeouts.write = ms(set.write_ms);
    timeouts.handshake = ms(set.handshake_ms);
    timeouts.grace = ms(set.grace_ms);
    timeouts.linger = ms(set.linger_ms);
    timeouts.task_function = ms(set.task_function_ms);
    timeouts.body = ms(set.body_ms);
    timeouts.processing_interval = ms(set.processing_ms);
    timeouts
}
