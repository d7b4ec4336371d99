//! The client's one task: commands, input, connecting, output and time, in
//! this order, a turn at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::call::{Call, CallHead, Command, Repeatable, outcome_for_caller};
use super::connection::{Connection, End, Progress, Standing};
use super::error::{CallError, ConnectionLoss, NotStarted, TooLongMessage};
use super::queue::Queue;
use super::reconnect::{Dialed, Dialer, Ended};
use crate::proto::{
    CallOutcome, CallSettings, Finished, LostCall, Negotiation, NewCall, StartError, Started,
};
use crate::runtime::{Clock, Timer};
use crate::wire::ErrorCode;

/// Commands taken in a turn.
const TURN_COMMANDS: usize = 256;
/// Bytes read from a connection at a time.
const READ_BYTES: usize = 64 << 10;
/// Connections at a time: the current one, and those that wait for responses
/// behind a Goodbye. Over it calls wait.
const CONNECTIONS_MOST: usize = 16;

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
        let closed = |started| Err(CallError::Closed { started });
        for connection in std::mem::take(&mut self.connections) {
            for lost in connection.close().into_lost() {
                lost.context.end(closed(lost.started));
            }
        }
        for call in self.queue.take_all() {
            call.end(closed(Started::No));
        }
        self.places.close();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Submit(call) = command {
                call.end(closed(Started::No));
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

// What the callers want.
impl Driver {
    fn take_commands(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
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
            call.end(Err(CallError::Cancelled { started }));
        }
    }

    fn connection_of(
        &mut self,
        head: &Arc<CallHead>,
    ) -> Option<(&mut Connection, crate::wire::TaskId)> {
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

// What the connections bring and take.
impl Driver {
    fn read(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.connections.len() {
            let connection = &mut self.connections[at];
            let progress = connection.poll_input(&mut self.read_buffer, now, cx);
            self.settle_finished(at, now);
            match progress {
                Ok(progress) => {
                    if progress == Progress::More {
                        turn.again();
                    }
                    self.retire_if_draining(at, now);
                    at += 1;
                }
                Err(end) => {
                    turn.again();
                    self.end_connection(at, end, now);
                }
            }
        }
    }

    fn write(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.connections.len() {
            match self.connections[at].poll_output(now, cx) {
                Ok(progress) => {
                    if progress == Progress::More {
                        turn.again();
                    }
                    at += 1;
                }
                Err(end) => {
                    turn.again();
                    self.settle_finished(at, now);
                    self.end_connection(at, end, now);
                }
            }
        }
    }

    /// With others in flight, more requests are likely to come in this very
    /// turn of the scheduler; a single one never waits.
    fn is_write_deferred(&mut self, started: usize) -> bool {
        let in_flight = self
            .current()
            .map_or(0, |at| self.connections[at].calls.pending());
        self.writing = match self.writing {
            Writing::AtOnce if started > 0 && in_flight > started => Writing::Deferred,
            Writing::AtOnce | Writing::Deferred => Writing::AtOnce,
        };
        self.writing == Writing::Deferred
    }

    fn current(&self) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.position(|connection| connection.standing == Standing::Current)
    }

    fn start_calls(&mut self, now: Instant) -> usize {
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
                Err((error, new)) => new.context.end(Err(start_failed(error))),
            }
        }
        started
    }

    /// PROTOCOL C2: calls go elsewhere from now on.
    fn retire_if_draining(&mut self, at: usize, now: Instant) {
        let connection = &mut self.connections[at];
        if connection.standing == Standing::Current && connection.calls.is_draining() {
            connection.standing = Standing::Former;
            let how = if connection.answered > 0 {
                Ended::Useful
            } else {
                Ended::Useless(None)
            };
            tracing::debug!("the server said goodbye");
            let dialed = self.dialer.ended(how, now);
            self.after_dialing(dialed);
        }
    }

    /// Former connections have a reason to be only while a response is awaited.
    fn close_former(&mut self, turn: &mut Turn) {
        let over =
            |open: &Connection| open.standing == Standing::Former && open.calls.pending() == 0;
        while let Some(at) = self.connections.iter().position(over) {
            drop(self.connections.remove(at).close());
            turn.again();
        }
    }

    fn end_connection(&mut self, at: usize, end: End, now: Instant) {
        let connection = self.connections.remove(at);
        let was_current = connection.standing == Standing::Current;
        let on_negotiate = connection.negotiation == Negotiation::Ask
            && connection.calls.is_negotiating()
            && !connection.calls.has_heard();
        let loss = match &end {
            End::Lost(loss) => Some(loss.clone()),
            End::Violation(_) | End::Unused => None,
        };
        if was_current {
            let how = match (&end, loss) {
                (End::Unused, _) => Ended::Unused,
                (End::Lost(ConnectionLoss::EndOfStream | ConnectionLoss::Transport { .. }), _)
                    if on_negotiate =>
                {
                    Ended::OnNegotiate
                }
                _ if connection.answered > 0 => Ended::Useful,
                (End::Violation(violation), _) => Ended::Violated(*violation),
                (_, loss) => Ended::Useless(loss),
            };
            let dialed = self.dialer.ended(how, now);
            self.after_dialing(dialed);
        }
        let lost = connection.close().into_lost();
        match end {
            End::Unused => {}
            End::Lost(loss) => self.settle_lost(lost, &loss, now),
            End::Violation(violation) => {
                tracing::debug!(%violation, "the server broke the protocol");
                // PROTOCOL C1: all pending calls fail with it.
                for lost in lost {
                    lost.context.end(Err(CallError::Protocol { violation }));
                }
            }
        }
    }
}

// What becomes of calls.
impl Driver {
    fn settle_finished(&mut self, at: usize, now: Instant) {
        let mut put_back = Vec::new();
        let connection = &mut self.connections[at];
        for (call, error) in connection.failed.drain(..) {
            call.end(Err(error));
        }
        while let Some(Finished {
            mut context,
            outcome,
            ..
        }) = connection.calls.poll_finished()
        {
            if matches!(outcome, CallOutcome::Ok(_) | CallOutcome::Error(_)) {
                connection.answered += 1;
                self.dialer.answered();
            }
            let again = may_go_again(&context, self.retries);
            match outcome {
                // PROTOCOL C7: it was not started, as surely as its server is busy.
                CallOutcome::Error(ErrorCode::UNAVAILABLE) if again => {
                    let pause = self.dialer.draw_pause(context.retries);
                    context.retries += 1;
                    let at = now.checked_add(pause).unwrap_or(now);
                    self.queue.pause(context, at, now);
                }
                CallOutcome::NotAccepted { .. } if again => {
                    context.retries += 1;
                    put_back.push(context);
                }
                outcome => context.end(outcome_for_caller(outcome)),
            }
        }
        self.queue.put_back(put_back, now);
    }

    /// PROTOCOL C3.
    fn settle_lost(&mut self, lost: Vec<LostCall<Call>>, loss: &ConnectionLoss, now: Instant) {
        tracing::debug!(%loss, calls = lost.len(), "connection lost");
        let mut put_back = Vec::new();
        for LostCall {
            mut context,
            started,
            ..
        } in lost
        {
            let repeatable =
                started == Started::No || context.head.repeatable == Repeatable::Always;
            if repeatable && may_go_again(&context, self.retries) {
                context.retries += 1;
                put_back.push(context);
                continue;
            }
            let loss = loss.clone();
            context.end(Err(match started {
                Started::No => CallError::NotStarted {
                    reason: NotStarted::ConnectionLost { loss },
                },
                Started::Perhaps => CallError::Interrupted { loss },
            }));
        }
        self.queue.put_back(put_back, now);
    }
}

fn may_go_again(call: &Call, retries: u32) -> bool {
    call.retries < retries && call.can_be_sent_again() && !call.is_abandoned()
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

// Connecting, and time.
impl Driver {
    fn wants_connection(&self) -> bool {
        let room = self.connections.len() < CONNECTIONS_MOST;
        self.queue.has_ready() && room && self.current().is_none()
    }

    fn dial(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        if self.current().is_some() {
            return;
        }
        let dialed = self.dialer.poll(self.wants_connection(), now, cx);
        if let Dialed::Connected {
            stream,
            negotiation,
        } = dialed
        {
            let mut settings = self.settings;
            if negotiation == Negotiation::Skip {
                settings.negotiation = Negotiation::Skip;
            }
            turn.again();
            self.connections
                .push(Connection::new(stream, settings, now));
            return;
        }
        if !matches!(dialed, Dialed::Waiting) {
            turn.again();
        }
        self.after_dialing(dialed);
    }

    fn after_dialing(&mut self, dialed: Dialed) {
        if !matches!(dialed, Dialed::RoundFailed) {
            return;
        }
        for call in self.queue.round_failed(self.retries) {
            let error = self.no_connection(&call);
            call.end(Err(error));
        }
    }

    fn no_connection(&self, call: &Call) -> CallError {
        let (attempts, last) = self.dialer.failure(call.head.response_timeout);
        let reason = NotStarted::NoConnection { attempts, last };
        CallError::NotStarted { reason }
    }

    /// Expired deadlines come last: what has come by now counts (PROTOCOL C4).
    fn judge_clocks(&mut self, turn: &mut Turn, now: Instant) {
        let mut at = 0;
        while at < self.connections.len() {
            let judged = self.connections[at].handle_timeout(now);
            self.settle_finished(at, now);
            if self.connections[at].calls.has_queued_output() {
                turn.again();
            }
            match judged {
                Ok(()) => at += 1,
                Err(end) => {
                    turn.again();
                    self.end_connection(at, end, now);
                }
            }
        }
        for call in self.queue.expire(now) {
            let error = match self.current() {
                Some(_) => CallError::TimedOut {
                    after: call.head.response_timeout,
                    started: Started::No,
                },
                None => self.no_connection(&call),
            };
            call.end(Err(error));
        }
        if let Phase::Closing {
            deadline: Some(deadline),
        } = self.phase
            && deadline <= now
        {
            self.phase = Phase::Over;
        }
    }

    /// Sets the timer to the next deadline. One that has moved on is left
    /// where it was: waking up once too often is cheaper than setting it.
    fn arm(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let closing = match self.phase {
            Phase::Closing { deadline } => deadline,
            Phase::Open | Phase::Over => None,
        };
        let connections = self.connections.iter();
        let deadline = connections
            .filter_map(Connection::next_deadline)
            .chain(self.queue.next_deadline())
            .chain(self.dialer.next_deadline(self.wants_connection()))
            .chain(closing)
            .min();
        let Some(deadline) = deadline else {
            return;
        };
        let at = match self.armed {
            Some(armed) if armed > now => armed.min(deadline),
            _ => deadline,
        };
        self.armed = Some(at);
        if self.timer.poll_until(at, cx).is_ready() {
            self.armed = None;
            turn.again();
        }
    }
}
