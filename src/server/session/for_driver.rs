//! The driver's side of a session: turns, inputs, task functions, output.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::effects::{AfterUnlock, Unwanted};
use super::reader::ReaderState;
use super::record::Finished;
use super::slots::Slots;
use super::{Driver, Noticed, Session, State};
use crate::proto::{Input, Phase, ReadOutcome, Reading, TaskKey, Watching};
use crate::server::admission::Desk;
use crate::server::response::Body;
use crate::server::run::{Spares, drop_results};
use crate::server::task::RunData;

/// So many events may wait for an observer that is slow; then its connection
/// pauses as it does at L7, or they would grow without a bound.
pub(super) const EVENTS_AHEAD: usize = 4096;

/// Inputs that are looked at under one lock.
const BATCH: usize = 64;

/// Bytes after which a batch ends: what it brings is still in the processor's
/// nearest cache when it is answered.
const BATCH_BYTES: usize = 8192;

/// What the driver finds in the state at the start of a turn.
#[derive(Default)]
pub(crate) struct ForDriver {
    pub(crate) new_bodies: Vec<(TaskKey, Box<dyn Body>)>,
    pub(crate) dropped_bodies: Vec<TaskKey>,
    /// Tasks whose task function must not go on.
    pub(crate) dropped_readings: Vec<TaskKey>,
}

/// On the heap: most turns of most connections find nothing.
pub(crate) type News = Option<Box<ForDriver>>;

/// What one batch of a turn leaves to the next step.
#[derive(Default)]
pub(crate) struct Batch {
    /// What has to be acted upon.
    pub(crate) inputs: Slots<Input>,
    /// Results of what ran in place.
    pub(crate) ended: Slots<Finished>,
    /// Results of what ran elsewhere. What is left of them goes back to the thread that
    /// allocated it.
    pub(crate) left: Vec<Finished>,
    pub(crate) spares: Spares,
    /// Memory for output, empty: connections by the thousand write from the same, which
    /// stays in the processor's cache.
    pub(crate) output: BytesMut,
}

impl Batch {
    /// Outside of the lock.
    fn drop_committed(&mut self) {
        drop_results(self.ended.filled(), &mut self.spares);
        self.ended.forget();
    }
}

/// What a write does while single runners are under way, which may soon have
/// more to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhileMoreComes {
    Waits,
    GoesOn,
}

/// What was fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    Nothing,
    /// Nothing: single runners are under way.
    MoreComes,
    /// All that there is.
    All,
}

/// What there is behind a turn's last result.
pub(crate) struct Committed {
    pub(crate) news: News,
    pub(crate) fetched: Fetched,
}

/// What the driver looks at before it decides whether to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnEnd {
    pub(crate) phase: Phase,
    pub(crate) next_deadline: Option<Instant>,
    pub(crate) reading: Reading,
    pub(crate) has_output: bool,
    /// Whether there are tasks that have not been answered, or are stuck.
    pub(crate) has_tasks: bool,
}

impl Session {
    /// The start of a turn: what has come for the driver; `None`: the
    /// connection is over.
    pub(crate) fn begin_turn(&self, batch: &mut Batch, now: Instant) -> Option<(News, Reading)> {
        let Batch {
            left,
            spares,
            output,
            ..
        } = batch;
        let observer = self.with(|state, after| {
            let before = std::mem::replace(&mut state.driver, Driver::Busy(Noticed::Nothing));
            // Who leaves something in the inbox notices the driver (invariant 5).
            if matches!(before, Driver::Busy(Noticed::Something)) {
                self.look_into_inbox(state, (left, output), now, after);
            }
            // Behind the lines above: who ends this state notices the driver.
            let server_full = self.client().server.places.unsent_bytes.is_full();
            let observer_is_late = state.events.len() > EVENTS_AHEAD;
            state
                .connection
                .set_server_full(server_full || observer_is_late);
            if state.observer_is_silent {
                return Err(state.take_news());
            }
            Ok(Arc::clone(&state.observer))
        });
        if !left.is_empty() {
            drop_results(left, spares);
            left.clear();
        }
        let observer = match observer {
            Ok(observer) => observer,
            Err(news) => return news,
        };
        // Asked once a turn, and outside the lock.
        let watching = match self.ask_observer(move || observer.wants_task_events()) {
            Some(true) => Watching::Requests,
            Some(false) | None => Watching::Nothing,
        };
        self.drive(|state| {
            state.connection.watch(watching);
            state.take_news()
        })
    }

    /// Commits the results of what ran in place, counts what has been read, and
    /// looks at a batch of it. Returns what to do with the transport's input from
    /// now on.
    pub(crate) fn take_inputs(
        &self,
        batch: &mut Batch,
        newly_read: usize,
        unread: (&[u8], &mut usize),
        desk: &mut Desk,
        now: Instant,
    ) -> Reading {
        let Batch {
            inputs,
            ended,
            output,
            ..
        } = batch;
        inputs.forget();
        let reading = self.with(|state, after| {
            self.finish_in_place(state, (ended, output), now, after);
            state.connection.handle_read(newly_read);
            let (buffer, at) = unread;
            desk.spare_places = std::mem::take(&mut state.spare_places);
            let looked_at = *at;
            while inputs.len() < BATCH && *at - looked_at < BATCH_BYTES {
                let held = state.connection.ledger().held_bytes();
                desk.uncounted_held_bytes = held as isize - state.counted_held as isize;
                let input = inputs.next();
                if !state.connection.look_at_input(buffer, at, desk, now, input) {
                    inputs.take_back();
                    break;
                }
                self.sort_input(state, input, after);
                // The next request finds the places that this one freed, a Cancel that is.
                if state.connection.has_retired() {
                    self.carry_out(state, after);
                    desk.spare_places += std::mem::take(&mut state.spare_places);
                }
            }
            state.spare_places += std::mem::take(&mut desk.spare_places);
            state.connection.reading()
        });
        batch.drop_committed();
        reading
    }

    /// Commits the rest of a turn's results, and under the same lock moves out
    /// what there is to write, unless a new body has to be looked at before.
    pub(crate) fn commit(
        &self,
        batch: &mut Batch,
        output: Option<&mut BytesMut>,
        write: WhileMoreComes,
        now: Instant,
    ) -> Committed {
        let Batch {
            ended,
            output: memory,
            ..
        } = batch;
        let committed = self.with(|state, after| {
            self.finish_in_place(state, (ended, memory), now, after);
            if state.connection.has_actions() {
                self.carry_out(state, after);
            }
            let news = state.for_driver.take();
            let has_new_bodies = news
                .as_ref()
                .is_some_and(|news| !news.new_bodies.is_empty());
            let more_comes = state.single_runners > 0 && state.connection.has_output();
            let fetched = match output {
                _ if more_comes && write == WhileMoreComes::Waits => Fetched::MoreComes,
                Some(output) if !has_new_bodies => {
                    self.release_spare_places(state);
                    state.connection.poll_output(output);
                    Fetched::All
                }
                _ => Fetched::Nothing,
            };
            Committed { news, fetched }
        });
        batch.drop_committed();
        committed
    }

    fn finish_in_place(
        &self,
        state: &mut State,
        (ended, output): (&mut Slots<Finished>, &mut BytesMut),
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        if !ended.is_empty() {
            state.connection.lend_output(output);
        }
        self.finish_each(state, ended.filled(), now, after);
    }

    fn sort_input(&self, state: &mut State, input: &mut Input, after: &mut AfterUnlock) {
        match input {
            Input::Begin { key, .. } => state.reader = Some(Box::new(ReaderState::new(*key))),
            Input::Payload { payload } => {
                let ended = state.connection.message_has_ended();
                if let Some(reader) = &mut state.reader {
                    after
                        .wakers
                        .extend(reader.push(std::mem::take(payload), ended));
                }
                *input = Input::Handled;
            }
            Input::End { .. } => {
                if let Some(reader) = &mut state.reader {
                    after.wakers.extend(reader.end());
                }
            }
            Input::Whole { .. } | Input::Message { .. } | Input::Handled => {}
        }
    }

    /// The task function has returned: whether its run function starts now.
    pub(crate) fn read_returned(
        &self,
        key: TaskKey,
        outcome: ReadOutcome,
        run_data: Option<RunData>,
        now: Instant,
    ) -> bool {
        self.with(|state, after| {
            let reader = state.reader.take_if(|reader| reader.is_for(key));
            after.drop_later(reader.map(Unwanted::Reader));
            match state.connection.task_mut(key) {
                Some(task) if run_data.is_some() => task.attach().run_data = run_data,
                _ => after.drop_later(run_data.map(Unwanted::RunData)),
            }
            state.connection.read_returned(key, outcome, now)
        })
    }

    /// The end of a turn, in which the transport took so many bytes that were not
    /// counted yet. Returns what the driver looks at before it decides.
    pub(crate) fn end_turn(&self, newly_written: usize, now: Instant) -> TurnEnd {
        self.drive(|state| {
            if newly_written > 0 {
                state.connection.handle_written(newly_written);
            }
            let (asked, waiting) = match &mut state.reader {
                Some(reader) => reader.take_progress(),
                None => (false, false),
            };
            state.connection.reader_progress(asked, waiting, now);
            let next_deadline = state.connection.handle_timeout(now);
            self.release_spare_places(state);
            TurnEnd {
                phase: state.connection.phase(),
                next_deadline,
                reading: state.connection.reading(),
                has_output: state.connection.has_output(),
                has_tasks: state.connection.ledger().places() > 0,
            }
        })
    }

    /// Moves output out. The places of those whom it answers are free from now on.
    pub(crate) fn fetch_output(&self, into: &mut BytesMut) {
        let mut state = self.lock();
        self.release_spare_places(&mut state);
        state.connection.poll_output(into);
    }

    /// Gives back what a quiet connection does not need.
    pub(crate) fn shrink(&self) {
        self.drive(|state| {
            state.connection.shrink();
            state.pended.take_if(|pended| pended.is_empty());
            if let Some(pended) = &mut state.pended {
                pended.shrink();
            }
        });
        self.shrink_inbox();
    }
}

impl State {
    pub(super) fn for_driver(&mut self) -> &mut ForDriver {
        self.for_driver.get_or_insert_default()
    }

    /// What has come for the driver, and what it does with input; `None`: the
    /// connection is over.
    fn take_news(&mut self) -> Option<(News, Reading)> {
        let is_over = self.connection.phase() == Phase::Closed;
        let reading = self.connection.reading();
        (!is_over).then(|| (self.for_driver.take(), reading))
    }
}
