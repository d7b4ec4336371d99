//! The client's one task: commands, input, connecting, output and time, in
//! this order, a turn at a time.

mod commands;
mod connections;
mod outcomes;
mod time;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::call::Command;
use super::connection::Connection;
use super::error::CallError;
use super::queue::Queue;
use super::reconnect::Dialer;
use crate::proto::{CallSettings, Started};
use crate::runtime::{Clock, Timer};

/// Commands taken in a turn.
const TURN_COMMANDS: usize = 256;
/// Bytes read from a connection at a time.
const READ_BYTES: usize = 64 << 10;

pub(super) struct Driver {
    commands: mpsc::UnboundedReceiver<Command>,
    /// Taken in one turn; kept for its memory.
    taken: Vec<Command>,
    places: Arc<Semaphore>,
    ended: CancellationToken,
    queue: Queue,
    dialer: Dialer,
    connections: Vec<Connection>,
    read_buffer: Box<[u8]>,
    settings: CallSettings,
    retries: u32,
    phase: Phase,
    writing: Writing,
    /// Callers told an outcome since the last requests came: they may bring the next.
    told: usize,
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    /// What the timer is set to: it is set anew only for an earlier time.
    armed: Option<Instant>,
}

/// ```text
/// Open ── close ──► Closing ── nothing pending, or deadline ──► Over
///   └────────────── no handle is left ───────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing {
        deadline: Option<Instant>,
    },
    /// Nothing is waited for any more.
    Over,
}

/// Whether the requests of this turn go out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    AtOnce,
    /// They wait a turn of the scheduler, for other callers that the last
    /// input has woken: one write instead of many.
    Deferred,
}

/// Whether the task is to be polled again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Waiting,
    Again,
}

impl Turn {
    fn again(&mut self) {
        *self = Self::Again;
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turn(cx);
        if self.is_over() {
            self.finish();
            return Poll::Ready(());
        }
        if turn == Turn::Again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Driver {
    pub(super) fn new(
        commands: mpsc::UnboundedReceiver<Command>,
        (places, ended): (Arc<Semaphore>, CancellationToken),
        dialer: Dialer,
        clock: Arc<dyn Clock>,
        settings: CallSettings,
        retries: u32,
    ) -> Self {
        let timer = clock.timer();
        Self {
            commands,
            taken: Vec::new(),
            places,
            ended,
            queue: Queue::default(),
            dialer,
            connections: Vec::new(),
            read_buffer: vec![0; READ_BYTES].into(),
            settings,
            retries,
            phase: Phase::Open,
            writing: Writing::AtOnce,
            told: 0,
            clock,
            timer,
            armed: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let now = self.clock.now();
        let mut turn = Turn::Waiting;
        self.take_commands(&mut turn, now, cx);
        self.read(&mut turn, now, cx);
        self.queue.poll(now, cx);
        self.dial(&mut turn, now, cx);
        let started = self.start_calls(now);
        if self.is_write_deferred(started) {
            turn.again();
        } else {
            self.write(&mut turn, now, cx);
            self.judge_clocks(&mut turn, now);
        }
        self.close_former(&mut turn);
        self.places.add_permits(self.queue.take_places_freed());
        if turn == Turn::Waiting {
            self.arm(&mut turn, now, cx);
        }
        turn
    }

    fn is_over(&self) -> bool {
        let nothing_pending = || {
            let pending = self.connections.iter().map(|open| open.calls.pending());
            self.queue.is_empty() && pending.sum::<usize>() == 0
        };
        match self.phase {
            Phase::Open => false,
            Phase::Closing { .. } => nothing_pending(),
            Phase::Over => true,
        }
    }

    /// Everything that is still pending ends as closed.
    fn finish(&mut self) {
        let closed = |started| CallError::Closed { started };
        for connection in std::mem::take(&mut self.connections) {
            for lost in connection.close().into_lost() {
                lost.context.fail(closed(lost.started));
            }
        }
        for call in self.queue.take_all() {
            call.fail(closed(Started::No));
        }
        self.places.close();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Submit(call) = command {
                call.fail(closed(Started::No));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // An executor may drop the task unfinished: nobody may wait for it then.
        self.places.close();
        self.ended.cancel();
    }
}
