//! What comes in: bytes, their end, and what task functions make of them.

use asyncserver::proto::{self, Input};
use asyncserver::wire::{TaskCode, TaskId};
use oracle::model::connection::{Event, Returned};
use oracle::model::disconnect::{Phase, Reason};
use oracle::model::ledger::State;
use oracle::model::suite::{Compared, Run, same};

use crate::compare::*;
use crate::desk::*;

use crate::pair::Pair;

impl Pair {
    pub(crate) fn may_read(&self) -> bool {
        use proto::Reading::{Discard, Take};
        !self.has_ended && matches!(self.library.reading(), Take | Discard)
    }

    pub(crate) fn arrive(&mut self, most: usize, run: &mut Run) -> Compared {
        if !self.may_read() {
            return Ok(());
        }
        let bytes: Vec<u8> = self
            .on_the_way
            .drain(..most.min(self.on_the_way.len()))
            .collect();
        self.model.arrive(&bytes);
        self.library.handle_read(bytes.len());
        self.buffer.extend(bytes);
        self.look(run)
    }

    pub(crate) fn look(&mut self, run: &mut Run) -> Compared {
        let was_open = self.model.phase() == Phase::Open;
        self.model.look(self.now);
        let (mut at, now) = (0, self.clock.at(self.now));
        // A byte is at most one input, and what waited is one more, and its end.
        let mut at_most = self.buffer.len() + 2;
        while let Some(input) =
            self.library
                .handle_input(&self.buffer, &mut at, &mut self.desk, now)
        {
            same("inputs come to an end", &true, &(at_most > 0))?;
            at_most -= 1;
            self.take_retired()?;
            let event = match input {
                Input::Handled => continue,
                Input::Begin { key, .. } => (Some(key), Event::Begin(0)),
                Input::Payload { payload } => (None, Event::Payload(payload.to_vec())),
                Input::Whole { key, message, .. } => {
                    let payload = message.payload(&self.buffer).to_vec();
                    (Some(key), Event::Starts(0, payload))
                }
                Input::Message { key, payload, .. } => {
                    (Some(key), Event::Starts(0, payload.to_vec()))
                }
                Input::End { start: false } => continue,
                Input::End { start: true } => (None, Event::StartsReturned(0)),
            };
            self.events.push(event);
        }
        self.buffer.drain(..at);
        same(
            "L12: what is not looked at",
            &self.model.buffer,
            &self.buffer,
        )?;
        run.reach_if(
            was_open && !self.buffer.is_empty(),
            "input waits behind a pause",
        );
        self.compare_events()
    }

    /// Their places are free before the next request is looked at.
    pub(crate) fn take_retired(&mut self) -> Compared {
        let (has_retired, has_actions) = (self.library.has_retired(), self.library.has_actions());
        let gone = self.library.take_retired();
        same("there are retired", &!gone.is_empty(), &has_retired)?;
        same(
            "they are something to take",
            &true,
            &(has_actions || !has_retired),
        )?;
        for retired in gone {
            self.desk.free_places += 1;
            let gone = (retired.id.0, retired.code.0, ending(retired.ending));
            self.retired.push(gone);
        }
        Ok(())
    }

    /// What the program sees; a payload may be cut anywhere.
    pub(crate) fn compare_events(&mut self) -> Compared {
        let mut library = merge(std::mem::take(&mut self.events));
        let model = std::mem::take(&mut self.model.events);
        let model = merge(model.into_iter().map(|event| (None, event)).collect());
        for ((key, theirs), (_, ours)) in library.iter_mut().zip(&model) {
            match (theirs, ours) {
                (Event::Begin(number), Event::Begin(ours))
                | (Event::Starts(number, _), Event::Starts(ours, _)) => {
                    if let Some(key) = key {
                        self.keys.insert(*ours, *key);
                    }
                    *number = *ours;
                }
                (Event::StartsReturned(number), Event::StartsReturned(ours)) => *number = *ours,
                _ => {}
            }
        }
        let events = |list: Vec<(_, Event)>| list.into_iter().map(|(_, event)| event).collect();
        let (model, library): (Vec<Event>, Vec<Event>) = (events(model), events(library));
        same("T1, T2: what the program sees", &model, &library)
    }

    pub(crate) fn end_of_stream(&mut self, run: &mut Run) -> Compared {
        // L12: behind a pause it is not seen.
        if !self.may_read() || !self.buffer.is_empty() {
            return Ok(());
        }
        self.has_ended = true;
        let phase = self.model.phase();
        self.model.end_of_input(self.now);
        self.library.handle_end_of_input(self.clock.at(self.now));
        run.reach(
            match (phase, self.model.phase(), self.model.disconnect.reason) {
                (
                    Phase::Open,
                    _,
                    Some(Reason::UnexpectedEnd {
                        missing: "task id", ..
                    }),
                ) => "end of stream inside a header",
                (Phase::Open, _, Some(Reason::UnexpectedEnd { .. })) => {
                    "end of stream inside a message"
                }
                (Phase::Open, Phase::Draining, _) => "end of stream, half-close",
                (Phase::Open, ..) => "end of stream, client gone",
                (Phase::Draining, ..) => "end of stream in Draining",
                _ => "end of stream later",
            },
        );
        Ok(())
    }

    pub(crate) fn return_from_reading(&mut self, returned: Returned, run: &mut Run) -> Compared {
        let Some(number) = self.model.reading() else {
            return Ok(());
        };
        let Some((key, task)) = self.keys.get(&number).zip(self.model.ledger.task(number)) else {
            return Ok(());
        };
        let outcome = read_outcome(returned, (task.id, task.code));
        run.reach(match (returned, task.accepted, self.model.phase()) {
            (Returned::Error, true, Phase::Draining) if self.model.granted & 1 != 0 => {
                "task function failed behind a Goodbye"
            }
            (Returned::Error, true, _) => "task function failed behind the end",
            (Returned::Error, false, _) => "task function failed before the end",
            (Returned::Panicked, ..) => "task function panicked",
            (_, false, _) => "returned before the end",
            _ => "returned behind the end",
        });
        let at = self.clock.at(self.now);
        if self.library.read_returned(*key, outcome, at) {
            self.events.push((None, Event::StartsReturned(0)));
        }
        self.model.returned(returned, self.now);
        self.compare_events()
    }

    /// A task function that was dropped for a cancel, L14 or the end returns in
    /// the same moment: nothing comes of it.
    pub(crate) fn return_too_late(
        &mut self,
        back: usize,
        returned: Returned,
        run: &mut Run,
    ) -> Compared {
        let Some(number) = self.number(back) else {
            return Ok(());
        };
        let Some((key, task)) = self.keys.get(&number).zip(self.model.ledger.task(number)) else {
            return Ok(());
        };
        let reads = self.settings.registrations[usize::from(task.code)].is_streamed;
        if !reads || self.model.reading() == Some(number) {
            return Ok(());
        }
        run.reach_if(
            matches!(task.state, State::Receiving { cancelled: Some(_) }),
            "returned behind a cancel",
        );
        let outcome = read_outcome(returned, (task.id, task.code));
        let at = self.clock.at(self.now);
        let starts = self.library.read_returned(*key, outcome, at);
        same("T3, T10: it comes too late", &false, &starts)
    }
}

fn read_outcome(returned: Returned, (id, code): (u32, u8)) -> proto::ReadOutcome {
    match returned {
        Returned::Run(wanted) => proto::ReadOutcome::Run(kind(wanted)),
        Returned::Nothing => proto::ReadOutcome::Nothing,
        Returned::Panicked => proto::ReadOutcome::Panicked,
        Returned::Error => proto::ReadOutcome::Error(proto::EndReason::TaskFunction {
            id: TaskId(id),
            code: TaskCode(code),
            error: "no".into(),
        }),
    }
}
