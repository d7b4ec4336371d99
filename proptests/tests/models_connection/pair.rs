//! Model and library side by side: each step is done to both.

use std::collections::BTreeMap;

use asyncserver::proto::{self, TaskFinished, TaskKey};
use asyncserver::wire::{ErrorCode, TaskCode, TaskId};
use bytes::{Buf, BytesMut};
use oracle::model::connection::{
    BodyStep, Connection, Ending, Event, Finished, Outcome, Pause, Settings, pattern,
};
use oracle::model::disconnect::Phase;
use oracle::model::ledger::{Cause, Function, State};
use oracle::model::suite::{Compared, Run, same};
use oracle::model::time::{Clock, Nanos, duration};

use crate::cases::*;
use crate::compare::*;
use crate::desk::*;

pub(crate) struct Pair {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) now: Nanos,
    pub(crate) model: Connection,
    pub(crate) library: proto::Connection<()>,
    pub(crate) desk: Desk,
    /// The library's keys, by the model's numbers.
    pub(crate) keys: BTreeMap<usize, TaskKey>,
    /// Sent by the client, not arrived.
    pub(crate) on_the_way: Vec<u8>,
    pub(crate) has_ended: bool,
    /// What the library has not looked at, and has fetched.
    pub(crate) buffer: Vec<u8>,
    pub(crate) fetched: BytesMut,
    /// What the program sees, of the library; a task is unknown until its key is.
    pub(crate) events: Vec<(Option<TaskKey>, Event)>,
    pub(crate) retired: Vec<(u32, u8, Ending)>,
    pub(crate) paused: Option<Pause>,
}

pub(crate) fn check(case: &Case, run: &mut Run) -> Compared {
    let clock = Clock::default();
    let mut pair = Pair {
        clock,
        now: 0,
        model: Connection::new(case.settings.clone(), case.server_places),
        library: proto::Connection::new(library_settings(&case.settings), clock.at(0)),
        desk: Desk {
            registrations: case.settings.registrations.clone(),
            free_places: case.server_places,
        },
        settings: case.settings.clone(),
        keys: BTreeMap::new(),
        on_the_way: Vec::new(),
        has_ended: false,
        buffer: Vec::new(),
        fetched: BytesMut::new(),
        events: Vec::new(),
        retired: Vec::new(),
        paused: None,
    };
    run.note(|| format!("{:?}, {} places", case.settings, case.server_places));
    for op in &case.ops {
        run.note(|| format!("{:>12} ns  {op:?}", pair.now));
        pair.apply(op, run)?;
        pair.compare(run)?;
        run.note(|| pair.line());
    }
    pair.finish(run)
}

impl Pair {
    /// A line of the timeline.
    pub(crate) fn line(&self) -> String {
        let tasks: Vec<_> = self
            .model
            .ledger
            .tasks
            .iter()
            .map(|task| format!("{}:{:?}/{:?}", task.id, task.state, task.function))
            .collect();
        format!(
            "{:>18} {:?}, {} unsent {}",
            "->",
            self.model.phase(),
            self.model.outbox.unsent(),
            tasks.join(", ")
        )
    }

    pub(crate) fn number(&self, back: usize) -> Option<usize> {
        if back >= 100 {
            let known = self.keys.len().checked_sub(back - 99)?;
            return self.keys.keys().nth(known).copied();
        }
        let tasks = &self.model.ledger.tasks;
        let at = tasks.len().checked_sub(back % tasks.len().max(1) + 1)?;
        Some(tasks[at].number)
    }

    pub(crate) fn apply(&mut self, op: &Op, run: &mut Run) -> Compared {
        let at = self.clock.at(self.now);
        match op {
            Op::Pass(jump) => {
                self.end_turn(run)?;
                self.now = jump.from(self.now, self.model.next_deadline());
            }
            Op::EndTurn => self.end_turn(run)?,
            Op::Send(request) => {
                let bytes = request.bytes(&self.settings);
                self.on_the_way.extend(bytes);
            }
            Op::SendBytes(bytes) => self.on_the_way.extend(bytes),
            Op::Arrive(most) => self.arrive(*most, run)?,
            Op::Request(request) => {
                let bytes = request.bytes(&self.settings);
                self.on_the_way.extend(bytes);
                self.arrive(usize::MAX, run)?;
            }
            Op::Part(request, missing) => {
                let bytes = request.bytes(&self.settings);
                self.on_the_way.extend(bytes);
                let most = self.on_the_way.len().saturating_sub(*missing);
                self.arrive(most, run)?;
            }
            Op::Look => self.look(run)?,
            Op::EndOfStream => self.end_of_stream(run)?,
            Op::Reset => {
                self.model.transport_error(self.now);
                self.library.handle_transport_error("reset", at);
            }
            Op::Take(bytes) => {
                if self.model.reading().is_some() {
                    self.model.taken(*bytes);
                    self.library.bytes_taken(*bytes);
                }
            }
            Op::Progress { has_asked, waits } => {
                self.model.progress(*has_asked, *waits, self.now);
                self.library.reader_progress(*has_asked, *waits, at);
            }
            Op::Return(returned) => self.return_from_reading(*returned, run)?,
            Op::ReturnLate(back, returned) => self.return_too_late(*back, *returned, run)?,
            Op::Panicked => {
                self.model.panics += 1;
                self.library.count_panic();
            }
            Op::Watch(watched) => self.watch(*watched),
            Op::Flushed(done) => self.flushed(*done),
            Op::HalfClosed => self.half_closed(run),
            Op::Written(hundredths) => self.write(*hundredths)?,
            Op::ServerFull(full) => {
                self.model.server_full = *full;
                self.library.set_server_full(*full);
            }
            Op::ServerPlaces(free) => {
                self.model.free_places = *free;
                self.desk.free_places = *free;
            }
            _ => self.apply_of_program(op, run)?,
        }
        Ok(())
    }

    /// What tasks and handles do.
    fn apply_of_program(&mut self, op: &Op, run: &mut Run) -> Compared {
        let at = self.clock.at(self.now);
        match op {
            Op::StartBlocking(back) => {
                if let Some((number, key)) = self.running(*back) {
                    let starts = self.model.ledger.start_blocking(number);
                    same("T13", &starts, &self.library.start_blocking(key))?;
                }
            }
            Op::Finish(back, outcome) => self.finish_task(*back, outcome, run)?,
            Op::BeginBody(back) => self.begin_body(*back)?,
            Op::Answer(back) => {
                self.finish_task(*back, &Outcome::Body, run)?;
                self.begin_body(*back)?;
            }
            Op::Body(back, step) => self.step_body(*back, *step, run)?,
            Op::Cancel(back) => {
                if let Some(number) = self.number(*back) {
                    self.cancel(number, run);
                }
            }
            Op::CancelAll => {
                let all = self.model.ledger.tasks.iter();
                for number in all.map(|task| task.number).collect::<Vec<_>>() {
                    self.cancel(number, run);
                }
            }
            Op::Disconnect(after) => {
                self.reach_disconnect(run);
                self.model.disconnect(*after, self.now);
                self.library.disconnect(duration(*after), at);
            }
            Op::Close => {
                self.model.close(self.now);
                self.library.close(at);
            }
            _ => {}
        }
        Ok(())
    }

    /// A task whose run function has started, with its key.
    pub(crate) fn running(&self, back: usize) -> Option<(usize, TaskKey)> {
        let number = self.number(back)?;
        let key = *self.keys.get(&number)?;
        let receives = self
            .model
            .ledger
            .task(number)
            .is_some_and(|task| matches!(task.state, State::Receiving { .. }));
        (!receives).then_some((number, key))
    }

    /// L13: input, then deadlines. Twice, as the driver does when there is output.
    pub(crate) fn end_turn(&mut self, run: &mut Run) -> Compared {
        self.look(run)?;
        for _ in 0..2 {
            // As the driver says where no task function reads.
            if self.model.reading().is_none() {
                self.model.progress(false, false, self.now);
                let at = self.clock.at(self.now);
                self.library.reader_progress(false, false, at);
            }
            self.reach_alarms(run);
            self.model.end_turn(self.now);
            self.library.handle_timeout(self.clock.at(self.now));
        }
        let next = self.clock.deadline(self.library.next_deadline());
        same("next deadline", &self.model.next_deadline(), &next)?;
        let later = next.is_none_or(|next| next > self.now);
        same("a turn leaves nothing due", &true, &later)
    }

    fn watch(&mut self, is_watched: bool) {
        self.model.is_watched = is_watched;
        self.library.watch(if is_watched {
            proto::Watching::Requests
        } else {
            proto::Watching::Nothing
        });
    }

    /// While the driver writes, it learns whether the transport passes it on.
    fn flushed(&mut self, is_done: bool) {
        if matches!(
            self.model.phase(),
            Phase::Open | Phase::Draining | Phase::Failing
        ) {
            self.model.flush_pends = !is_done;
            self.library.set_flush(if is_done {
                proto::Flush::Done
            } else {
                proto::Flush::Pending
            });
        }
    }

    fn half_closed(&mut self, run: &mut Run) {
        if matches!(self.model.phase(), Phase::Lingering { .. }) {
            self.model.half_closed(self.now);
            self.library.handle_half_closed(self.clock.at(self.now));
            let left = self.model.phase() == Phase::Closed;
            run.reach_if(left, "half-closed behind the client's end");
        }
    }

    pub(crate) fn finish_task(
        &mut self,
        back: usize,
        outcome: &Outcome,
        run: &mut Run,
    ) -> Compared {
        let Some((number, key)) = self.running(back) else {
            return Ok(());
        };
        let task = self.model.ledger.task(number);
        match task.map(|task| task.function) {
            Some(Function::Ended) => return Ok(()),
            Some(Function::Queued) if *outcome != Outcome::Dropped => return Ok(()),
            _ => {}
        }
        match task.map(|task| task.state) {
            Some(State::Stuck) => run.reach("late result of a stuck task"),
            Some(State::Orphaned) => run.reach("late result of an orphan"),
            Some(State::Dropping(_)) => run.reach("completion after a cancel"),
            Some(State::Cooperating(_)) => run.reach("completion within the grace"),
            _ => {}
        }
        let (id, code) = task.map_or((0, 0), |task| (task.id, task.code));
        let waits_behind = self.model.under_way.is_some();
        let payload = match outcome {
            Outcome::Whole(length) => pattern(*length),
            _ => Vec::new(),
        };
        let theirs = match outcome {
            Outcome::Whole(_) => proto::Outcome::Whole(&payload),
            Outcome::Body => proto::Outcome::Body,
            Outcome::Error(code) => proto::Outcome::Error(ErrorCode(*code)),
            Outcome::Panicked => proto::Outcome::Panicked,
            Outcome::Dropped => proto::Outcome::Dropped,
            Outcome::Fatal => proto::Outcome::Fatal(proto::EndReason::RunFunction {
                id: TaskId(id),
                code: TaskCode(code),
                error: "no".into(),
            }),
        };
        let at = self.clock.at(self.now);
        let finished = match self.library.finished(key, theirs, at) {
            TaskFinished::Unknown => Finished::Unknown,
            TaskFinished::Pull => Finished::Pull,
            TaskFinished::Removed(retired) => {
                self.desk.free_places += 1;
                Finished::Removed(ending(retired.ending))
            }
        };
        let ours = self.model.finished(number, outcome, self.now);
        let is_whole = matches!(outcome, Outcome::Whole(_));
        run.reach_if(
            is_whole && ours == Finished::Pull,
            "whole result has to wait",
        );
        let queued = matches!(ours, Finished::Removed(Ending::Error(_)));
        run.reach_if(queued && waits_behind, "response waits behind a body");
        same("T5 to T10: what became of it", &ours, &finished)
    }

    pub(crate) fn begin_body(&mut self, back: usize) -> Compared {
        let Some((number, key)) = self.running(back) else {
            return Ok(());
        };
        let task = self.model.ledger.task(number);
        if task.is_some_and(|task| task.function != Function::Ended) {
            return Ok(());
        }
        let begins = self.model.begin_body(number);
        same("T7, N8", &begins, &self.library.begin_body(key))
    }

    pub(crate) fn step_body(&mut self, back: usize, step: BodyStep, run: &mut Run) -> Compared {
        // Bytes and ends are of the body that has the wire.
        let has_begun = matches!(step, BodyStep::Bytes(_) | BodyStep::End);
        let number = match self.model.under_way {
            Some(number) if has_begun || back.is_multiple_of(2) => Some(number),
            _ if has_begun => None,
            _ => self.number(back),
        };
        let Some((number, key)) =
            number.and_then(|number| Some((number, *self.keys.get(&number)?)))
        else {
            return Ok(());
        };
        let task = self.model.ledger.task(number);
        if task.is_some_and(|task| task.function != Function::Ended || !task.is_live()) {
            return Ok(());
        }
        if task.is_some() && matches!(step, BodyStep::Failed(_) | BodyStep::Panicked) {
            let answered = self.model.under_way != Some(number) && step != BodyStep::Failed(None);
            run.reach(if answered {
                "body fails with a code"
            } else {
                "body ends the connection"
            });
        }
        let payload = match step {
            BodyStep::Bytes(length) => pattern(length),
            _ => Vec::new(),
        };
        let theirs = match step {
            BodyStep::Bytes(_) => proto::BodyStep::Bytes(&payload),
            BodyStep::End => proto::BodyStep::End,
            BodyStep::Failed(code) => proto::BodyStep::Failed {
                code: code.map(ErrorCode),
                error: "no".into(),
            },
            BodyStep::Panicked => proto::BodyStep::Panicked,
            BodyStep::Waiting => proto::BodyStep::Waiting,
            BodyStep::NotWaiting => proto::BodyStep::NotWaiting,
            BodyStep::Late => proto::BodyStep::Late,
        };
        self.library.body(key, theirs, self.clock.at(self.now));
        self.model.body(number, step, self.now);
        Ok(())
    }

    pub(crate) fn cancel(&mut self, number: usize, run: &mut Run) {
        let Some(key) = self.keys.get(&number) else {
            return;
        };
        if let Some(task) = self.model.ledger.task(number) {
            run.reach(match task.shown() {
                "Receiving" => "cancel in Receiving",
                "Running" => "cancel in Running",
                "Cancelling" => "cancel in Cancelling",
                "Responding" => "cancel in Responding",
                _ => "cancel of one that is gone",
            });
            run.reach_if(
                self.model.phase() == Phase::Draining,
                "cancel when Draining",
            );
        }
        let at = self.clock.at(self.now);
        self.library.cancel(*key, proto::CancelCause::Requested, at);
        self.model.cancel(number, Cause::Requested, self.now);
    }

    pub(crate) fn write(&mut self, hundredths: usize) -> Compared {
        let before = self.fetched.len();
        // What was given up, the transport is not given.
        if before > self.library.unsent() {
            self.fetched.clear();
            return Ok(());
        }
        self.library.poll_output(&mut self.fetched);
        let fetched = self.fetched[before..].to_vec();
        same("the wire", &self.model.outbox.fetch(), &fetched)?;
        let most = self.model.outbox.fetched;
        let bytes = (most * hundredths / 100).max(1).min(most);
        self.fetched.advance(bytes);
        self.library.handle_written(bytes);
        self.model.written(bytes);
        Ok(())
    }
}
