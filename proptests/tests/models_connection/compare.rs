//! What is compared after each step, and which states were reached by it.

use std::collections::BTreeSet;

use asyncserver::proto::{self, Action, TaskKey};
use asyncserver::wire::TaskId;
use oracle::model::connection::{Act, Connection, Ending, Event, Pause};
use oracle::model::disconnect::{Phase, Reason};
use oracle::model::ledger::{Function, Kind, State};
use oracle::model::suite::{Compared, Difference, Run, same};
use oracle::model::time::Clock;

use crate::pair::Pair;

/// What was told: what is to be done, in any order, and what happened, in its own.
#[derive(Default)]
struct Told {
    orders: Vec<String>,
    story: Vec<String>,
}

impl Told {
    fn story(&mut self, id: u32, code: u8, what: String) {
        self.story.push(format!("{id} {code} {what}"));
    }
}

impl Pair {
    /// What the model's state says was reached.
    pub(crate) fn reach_disconnect(&self, run: &mut Run) {
        run.reach(match self.model.phase() {
            Phase::Open if self.model.pause() == Some(Pause::Places) => {
                "disconnect with a header held"
            }
            Phase::Open if self.model.is_in_message() => "disconnect inside a message",
            Phase::Open if self.model.is_in_header() => "disconnect inside a header",
            Phase::Open => "disconnect between requests",
            Phase::Draining => "disconnect while Draining",
            Phase::Failing => "disconnect while Failing",
            Phase::Lingering { .. } => "disconnect while Lingering",
            Phase::Closed => "disconnect when closed",
        });
    }

    pub(crate) fn reach_alarms(&self, run: &mut Run) {
        for number in self.model.ledger.due(self.now) {
            let Some(task) = self.model.ledger.task(number) else {
                continue;
            };
            match (task.state, task.policy.kind) {
                (State::Running, _) => run.reach("run limit"),
                (State::Cooperating(_) | State::Dropping(_), Kind::Blocking)
                    if task.function == Function::Active =>
                {
                    run.reach("blocking task stuck");
                }
                _ => {}
            }
        }
    }

    pub(crate) fn compare(&mut self, run: &mut Run) -> Compared {
        self.library.check_invariants();
        self.compare_actions(run)?;
        self.learn_keys();
        let (model, library) = (&self.model, &self.library);
        let phase = phase(self.clock, library.phase());
        same("phase", &model.phase(), &phase)?;
        let reason = library.reason().map(Into::into);
        same("D9: reason", &model.disconnect.reason, &reason)?;
        same("L12: reading", &reading(model), &library.reading())?;
        same("L7: unsent", &model.outbox.unsent(), &library.unsent())?;
        same(
            "has output",
            &model.outbox.has_output(),
            &library.has_output(),
        )?;
        same("N8, L7", &model.may_begin(), &library.may_begin())?;
        same("L7: room", &model.body_room(), &library.body_room())?;
        let ahead = library.wants_bodies_ahead();
        same("L7: bodies ahead", &model.wants_bodies_ahead(), &ahead)?;
        let ledger = library.ledger();
        same("L5: places", &model.ledger.tasks.len(), &ledger.places())?;
        same("L16: held", &model.ledger.held(), &ledger.held_bytes())?;
        same("L6: places", &model.free_places, &self.desk.free_places)?;
        let ours: Vec<_> = model
            .ledger
            .tasks
            .iter()
            .filter(|task| task.is_live())
            .collect();
        let ours: Vec<_> = ours
            .into_iter()
            .map(|task| (task.id, task.code, task.shown().to_owned(), task.began))
            .collect();
        let theirs = ledger.list().into_iter();
        let theirs: Vec<_> = theirs
            .map(|(_, task)| {
                let (state, began) = (format!("{:?}", task.state), self.clock.nanos(task.began));
                (task.id.0, task.code.0, state, began)
            })
            .collect();
        same("the list", &ours, &theirs)?;
        let nothing = model.ledger.tasks.is_empty() && model.outbox.unsent() == 0;
        same("nothing to do", &nothing, &library.is_idle())?;
        self.compare_kept()?;
        self.compare_report()?;
        self.reach_states(run);
        Ok(())
    }

    /// What the server keeps for a task is there as long as the task is.
    fn compare_kept(&mut self) -> Compared {
        for (number, key) in &self.keys {
            let is_kept = self.model.ledger.task(*number).is_some();
            let theirs = self.library.task_mut(*key).is_some();
            same("what is kept for a task", &is_kept, &theirs)?;
        }
        Ok(())
    }

    /// Keys of tasks that the program has not seen, and the order of all.
    pub(crate) fn learn_keys(&mut self) {
        for number in 0..self.model.ledger.tasks.len() {
            let task = &mut self.model.ledger.tasks[number];
            let key = match self.keys.get(&task.number) {
                Some(key) => Some(*key),
                None => self.library.ledger().find(TaskId(task.id)),
            };
            if let Some(key) = key {
                self.keys.insert(task.number, key);
                task.rank = rank(key);
            }
        }
    }

    pub(crate) fn compare_actions(&mut self, run: &mut Run) -> Compared {
        self.compare_retired()?;
        let (mut theirs, mut dropped) = self.told_by_library()?;
        let mut ours = Told::default();
        for act in std::mem::take(&mut self.model.acts) {
            let key = |number: &usize| self.keys.get(number);
            match &act {
                Act::Tell(number) => ours.orders.push(format!("Tell {:?}", key(number).unwrap())),
                Act::Drop(number) => ours.orders.push(format!("Drop {:?}", key(number).unwrap())),
                Act::Orphan(number, at) => {
                    let key = key(number).unwrap();
                    ours.orders.push(format!("Orphan {key:?} {at:?}"));
                }
                Act::DropReading(number) => {
                    let is_dropped = key(number).is_some_and(|key| dropped.remove(key));
                    same("the task function is dropped", &true, &is_dropped)?;
                }
                Act::Cancelled(id, code, cause) => {
                    ours.story(*id, *code, format!("Cancelled {cause:?}"));
                }
                Act::Stuck(id, code) => ours.story(*id, *code, "Stuck".into()),
                Act::Finished(id, code, how) => {
                    ours.story(*id, *code, format!("Finished {how:?}"));
                }
                Act::Accepted(id, code) => ours.story(*id, *code, "Accepted".into()),
                Act::Started(id, code) => ours.story(*id, *code, "Started".into()),
                Act::Limit(limit) => ours.orders.push(format!("Limit {limit}")),
            }
            reach_act(&act, &self.model, run);
        }
        // Of a task whose function is gone, or never was, it may be said once more.
        let reading = self
            .model
            .reading()
            .and_then(|number| self.keys.get(&number));
        let goes_on = reading.is_none_or(|key| !dropped.contains(key));
        same("another task function goes on", &true, &goes_on)?;
        ours.orders.sort();
        theirs.orders.sort();
        same("what is to be done outside", &ours.orders, &theirs.orders)?;
        same("what happened to whom", &ours.story, &theirs.story)
    }

    fn compare_retired(&mut self) -> Compared {
        self.take_retired()?;
        for gone in std::mem::take(&mut self.retired) {
            let at = self.model.retired.iter().position(|ours| *ours == gone);
            match at {
                Some(at) => drop(self.model.retired.remove(at)),
                None => return same("retired", &self.model.retired, &vec![gone]),
            }
        }
        same("retired", &Vec::new(), &self.model.retired)
    }

    /// What the library says, and whose task functions are dropped.
    fn told_by_library(&mut self) -> Result<(Told, BTreeSet<TaskKey>), Difference> {
        let mut theirs = Told::default();
        let mut dropped = BTreeSet::new();
        let has_actions = self.library.has_actions();
        let actions = self.library.take_actions();
        same("there are actions", &!actions.is_empty(), &has_actions)?;
        for action in actions {
            match action {
                Action::Tell(key) => theirs.orders.push(format!("Tell {key:?}")),
                Action::Drop(key) => theirs.orders.push(format!("Drop {key:?}")),
                Action::Orphan(key, at) => {
                    let at = self.clock.deadline(at);
                    theirs.orders.push(format!("Orphan {key:?} {at:?}"));
                }
                Action::DropReading(key) => drop(dropped.insert(key)),
                Action::DropBody(key) => self.compare_dropped_body(key)?,
                Action::Cancelled(id, code, cause) => {
                    theirs.story(id.0, code.0, format!("Cancelled {cause:?}"));
                }
                Action::Stuck(id, code) => theirs.story(id.0, code.0, "Stuck".into()),
                Action::Finished(id, code, how) => {
                    let how = ending(Some(how));
                    theirs.story(id.0, code.0, format!("Finished {how:?}"));
                }
                Action::Accepted(id, code) => theirs.story(id.0, code.0, "Accepted".into()),
                Action::Started(id, code) => theirs.story(id.0, code.0, "Started".into()),
                Action::LimitReached(limit) => theirs.orders.push(format!("Limit {limit}")),
            }
        }
        Ok((theirs, dropped))
    }

    /// T7: a body is dropped once nobody wants it any more.
    fn compare_dropped_body(&self, key: TaskKey) -> Compared {
        let under_way = self
            .model
            .under_way
            .and_then(|number| self.keys.get(&number));
        same(
            "T7: no other body is dropped",
            &true,
            &(under_way != Some(&key)),
        )
    }

    pub(crate) fn compare_report(&self) -> Compared {
        let (model, report) = (&self.model, self.library.report());
        let counts = (
            report.counts.accepted,
            report.counts.ok,
            report.counts.errors,
            report.counts.cancelled,
            report.counts.cancels,
        );
        let ours = model.counts;
        let ours = (
            ours.accepted,
            ours.ok,
            ours.errors,
            ours.cancelled,
            ours.cancels,
        );
        same(
            "D9: accepted, ok, errors, cancelled, cancels",
            &ours,
            &counts,
        )?;
        let mut interrupted: Vec<_> = report
            .interrupted
            .iter()
            .map(|task| (task.id.0, task.code.0, format!("{:?}", task.state)))
            .collect();
        interrupted.sort();
        let ours = model.all_interrupted().into_iter();
        let mut ours: Vec<_> = ours
            .map(|(id, code, state)| (id, code, state.to_owned()))
            .collect();
        ours.sort();
        same("D9: interrupted", &ours, &interrupted)?;
        let count = report.counts.interrupted;
        same("D9: interrupted", &(ours.len() as u64), &count)?;
        let stuck = model
            .ledger
            .tasks
            .iter()
            .filter(|task| task.state == State::Stuck);
        let stuck: Vec<_> = stuck.map(|task| (task.id, task.code)).collect();
        let theirs: Vec<_> = report
            .stuck
            .iter()
            .map(|task| (task.id.0, task.code.0))
            .collect();
        same("D9: stuck", &stuck, &theirs)?;
        same("D9: panics", &model.panics, &report.panics)?;
        same("D9: bytes read", &model.bytes_read, &report.bytes_read)?;
        same(
            "D9: bytes written",
            &model.bytes_written,
            &report.bytes_written,
        )?;
        let reached = report.deadline_reached;
        same("D9: deadline", &model.disconnect.deadline_reached, &reached)?;
        let lasted = u64::try_from(report.lasted.as_nanos()).unwrap_or(u64::MAX);
        same("D9: lasted", &model.ended.unwrap_or(0), &lasted)?;
        if model.phase() == Phase::Closed {
            same("D9: adds up", &true, &report.counts.add_up())?;
            same("T5: nobody is left", &0, &model.ledger.live_count())?;
        }
        Ok(())
    }

    pub(crate) fn reach_states(&mut self, run: &mut Run) {
        let model = &self.model;
        let paused = model.pause().filter(|_| model.phase() == Phase::Open);
        if paused != self.paused {
            match paused {
                Some(Pause::Places) => run.reach("paused: Places"),
                Some(Pause::Unsent) => run.reach("paused: Unsent"),
                Some(Pause::TaskFunction) => run.reach("paused: TaskFunction"),
                None if model.phase() != Phase::Open => {}
                None => run.reach(match self.paused {
                    Some(Pause::Places) => "left: Places",
                    Some(Pause::Unsent) => "left: Unsent",
                    _ => "left: TaskFunction",
                }),
            }
        }
        self.paused = paused;
        run.reach_if(model.is_in_header(), "header in parts");
        run.reach_if(model.is_in_message(), "message in parts");
        for name in std::mem::take(&mut self.model.reached) {
            run.reach(name);
        }
        for name in self.model.outbox.kinds() {
            run.reach(name);
        }
    }

    /// What the end was, if there was one.
    pub(crate) fn finish(&mut self, run: &mut Run) -> Compared {
        if self.model.phase() != Phase::Closed {
            return Ok(());
        }
        let lost = self.model.outbox.unanswered().len();
        run.reach_if(lost > 0, "answers lost with the driver");
        self.model.settle();
        self.library.settle();
        self.compare_report()?;
        let model = &self.model;
        run.reach(match model.disconnect.reason {
            Some(Reason::Graceful) => "ended: Graceful",
            Some(Reason::ClientClosed) => "ended: ClientClosed",
            Some(Reason::WaitedTooLong) => "ended: WaitedTooLong",
            Some(Reason::ReadTimeout) => "ended: ReadTimeout",
            Some(Reason::ReadTooSlow) => "ended: ReadTooSlow",
            Some(Reason::WriteTimeout) => "ended: WriteTimeout",
            Some(Reason::WriteTooSlow) => "ended: WriteTooSlow",
            Some(Reason::TooLong { .. }) => "ended: TooLong",
            Some(Reason::Duplicate { .. }) => "ended: Duplicate",
            Some(Reason::UnexpectedEnd { .. }) => "ended: UnexpectedEnd",
            Some(Reason::TaskFunction { .. }) => "ended: TaskFunction",
            Some(Reason::RunFunction { .. }) => "ended: RunFunction",
            Some(Reason::Unanswered { .. }) => "ended: Unanswered",
            Some(Reason::Body { .. }) => "ended: Body",
            Some(Reason::Transport) => "ended: Transport",
            Some(Reason::Aborted) => "ended: Aborted",
            Some(Reason::Other) | None => "ended otherwise",
        });
        run.reach_if(model.disconnect.deadline_reached, "deadline reached");
        for (_, _, state) in &model.interrupted {
            run.reach(match *state {
                "Responding" => "interrupted in Responding",
                "Running" => "interrupted in Running",
                _ => "interrupted in Cancelling",
            });
        }
        let stuck = model
            .ledger
            .tasks
            .iter()
            .any(|task| task.state == State::Stuck);
        run.reach_if(stuck, "stuck at the end");
        let answered = model.interrupted.is_empty() && model.counts.ok > 0;
        run.reach_if(answered, "closed with everything answered");
        Ok(())
    }
}

pub(crate) fn reach_act(act: &Act, model: &Connection, run: &mut Run) {
    match act {
        Act::Limit("L4") => run.reach("L4 in a task's message"),
        Act::Limit("L6") => run.reach("over the server's places"),
        Act::Limit("L7") => run.reach("L7 is told"),
        Act::Started(..) => run.reach("a start is told"),
        Act::Finished(_, _, Ending::Ok | Ending::Error(_)) => run.reach("an end is told"),
        Act::Limit("L14") => run.reach("L14"),
        Act::Limit("L15") if matches!(model.phase(), Phase::Open | Phase::Draining) => {
            run.reach("L15 before the response");
        }
        Act::Limit("L15") => run.reach("L15 in the response"),
        _ => {}
    }
}

pub(crate) fn ending(ending: Option<proto::TaskEnding>) -> Ending {
    match ending {
        None => Ending::Silent,
        Some(proto::TaskEnding::Error(code)) => Ending::Error(code.0),
        Some(proto::TaskEnding::Ok) => Ending::Ok,
        Some(_) => Ending::Interrupted,
    }
}

/// Where a key stands among those that are due at one instant.
pub(crate) fn rank(key: TaskKey) -> u64 {
    let words = format!("{key:?}");
    let numbers = words.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.filter_map(|digits| digits.parse::<u64>().ok());
    numbers.fold(0, |rank, number| rank << 32 | number)
}

pub(crate) fn merge(events: Vec<(Option<TaskKey>, Event)>) -> Vec<(Option<TaskKey>, Event)> {
    let mut merged: Vec<(Option<TaskKey>, Event)> = Vec::new();
    for (key, event) in events {
        match (merged.last_mut(), event) {
            (Some((_, Event::Payload(last))), Event::Payload(more)) => last.extend(more),
            (_, event) => merged.push((key, event)),
        }
    }
    merged
}

/// What the driver does with the transport's input (L12, D1).
fn reading(model: &Connection) -> proto::Reading {
    match model.phase() {
        Phase::Open => match model.pause() {
            Some(Pause::Places) => proto::Reading::Paused(proto::PauseReason::Places),
            Some(Pause::Unsent) => proto::Reading::Paused(proto::PauseReason::Unsent),
            Some(Pause::TaskFunction) => proto::Reading::Paused(proto::PauseReason::TaskFunction),
            None => proto::Reading::Take,
        },
        Phase::Closed => proto::Reading::Ended,
        _ => proto::Reading::Discard,
    }
}

pub(crate) fn phase(clock: Clock, phase: proto::Phase) -> Phase {
    match phase {
        proto::Phase::Open => Phase::Open,
        proto::Phase::Draining => Phase::Draining,
        proto::Phase::Failing => Phase::Failing,
        proto::Phase::Lingering { until } => Phase::Lingering {
            until: clock.deadline(until),
        },
        proto::Phase::Closed => Phase::Closed,
    }
}
