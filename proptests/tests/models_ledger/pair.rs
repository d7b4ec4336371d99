//! Each step is done to model and library, and compared.

use asyncserver::proto;
use asyncserver::wire::{TaskCode, TaskId};
use oracle::model::ledger::{Cause, Function, Kind, OnAlarm, OnCancel, OnEnd, Policy, State};
use oracle::model::suite::{self, Compared, Run, same};

use crate::cases::Op;
use crate::*;

impl Pair {
    pub(crate) fn number(&self, back: usize) -> Option<usize> {
        self.keys.len().checked_sub(back + 1)
    }

    pub(crate) fn apply(&mut self, op: &Op, run: &mut Run) -> Compared {
        match *op {
            Op::Pass(jump) => {
                self.now = jump.from(self.now, self.model.next_alarm());
                return Ok(());
            }
            Op::Begin { id, policy } => return self.begin(id, policy, run),
            Op::Run {
                id,
                policy,
                has_thread,
            } => {
                let before = self.keys.len();
                self.begin(id, policy, run)?;
                if self.keys.len() > before {
                    self.apply_to(&Op::Accept(0), before, run)?;
                    self.apply_to(&Op::Start(0), before, run)?;
                    if has_thread {
                        self.apply_to(&Op::StartBlocking(0), before, run)?;
                    }
                }
                return Ok(());
            }
            Op::CancelAll => {
                for number in self.all() {
                    self.cancel(number, Cause::Requested, run)?;
                }
                return Ok(());
            }
            Op::Alarms => return self.alarms(run),
            Op::OrphanAll => {
                for number in self.all() {
                    self.orphan(number, run)?;
                }
                return Ok(());
            }
            Op::SayProcessing => {
                self.say_processing(run);
                return Ok(());
            }
            Op::SentProcessing => {
                self.sent_processing(run);
                return Ok(());
            }
            Op::Shrink => {
                self.library.shrink_to_fit();
                return Ok(());
            }
            _ => {}
        }
        let (Op::Accept(back)
        | Op::Hold(back, _)
        | Op::SetKind(back, _)
        | Op::Start(back)
        | Op::StartBlocking(back)
        | Op::Cancel(back, _)
        | Op::Complete(back)
        | Op::EndsAndIsAnswered(back)
        | Op::EndsWithBody(back)
        | Op::BeginResponse(back)
        | Op::EndBody(back)
        | Op::Orphan(back)) = *op
        else {
            return Ok(());
        };
        match self.number(back) {
            Some(number) => self.apply_to(op, number, run),
            None => Ok(()),
        }
    }

    fn all(&self) -> Vec<usize> {
        self.model.tasks.iter().map(|task| task.number).collect()
    }

    fn say_processing(&mut self, run: &mut Run) {
        let at = self.clock.at(self.now);
        let unsent = &self.unsent;
        let first = self.model.first_turn(|number| unsent.contains(&number));
        if let Some((number, _)) = first {
            run.reach("sign of life due");
            self.model.restart_turn(number, self.now);
            self.library.suspend_turn(self.keys[number], at);
            self.unsent.insert(number);
        }
    }

    fn sent_processing(&mut self, run: &mut Run) {
        if let Some(number) = self.unsent.pop_first() {
            let has_turn = self
                .model
                .task(number)
                .is_some_and(|task| task.counted_from.is_some());
            run.reach(if has_turn {
                "sign of life taken"
            } else {
                "sign of life taken too late"
            });
            self.model.requeue_turn(number);
            self.library.resume_turn(self.keys[number]);
        }
    }

    pub(crate) fn begin(&mut self, id: u32, asked: Policy, run: &mut Run) -> Compared {
        // T11 is judged before.
        if self.model.live(id).is_some() {
            return Ok(());
        }
        let is_stuck = self.model.tasks.iter().any(|task| task.id == id);
        run.reach_if(is_stuck, "stuck task's id used again");
        run.reach_if(self.keys.len() > 2, "id used again");
        let number = self.model.begin(id, 9, asked, self.now);
        let (id, code, at) = (TaskId(id), TaskCode(9), self.clock.at(self.now));
        let key = self.library.begin(id, code, policy(asked), number, at);
        let is_new = !self.keys.contains(&key);
        same("a key is never used again", &true, &is_new)?;
        self.keys.push(key);
        Ok(())
    }

    pub(crate) fn apply_to(&mut self, op: &Op, number: usize, run: &mut Run) -> Compared {
        let (key, at) = (self.keys[number], self.clock.at(self.now));
        let task = self.model.task(number).cloned();
        let receives = matches!(
            task.as_ref().map(|task| task.state),
            Some(State::Receiving { .. })
        );
        let accepted = task.as_ref().is_some_and(|task| task.accepted);
        let function = task.as_ref().map(|task| task.function);
        match *op {
            Op::Accept(_) if receives && !accepted => {
                self.model.accept(number, self.now);
                self.library.accept(key, at);
            }
            Op::Hold(_, bytes) if accepted => {
                self.model.hold(number, bytes);
                self.library.hold(key, bytes);
            }
            Op::SetKind(_, wanted) if receives => {
                self.model.set_kind(number, wanted);
                self.library.set_kind(key, kind(wanted));
            }
            Op::Start(_) if accepted => {
                let cancelled = self.model.start(number, self.now);
                let policy = self.model.task(number).map(|task| task.policy);
                let run_limit = policy.and_then(|policy| policy.run_limit);
                let theirs = self.library.start(key, run_limit.map(duration), at);
                same("T10 in Receiving", &cancelled.map(cause), &theirs)?;
                if cancelled.is_some() {
                    self.remove(number)?;
                }
            }
            Op::StartBlocking(_) if !receives => {
                let starts = self.model.start_blocking(number);
                same("T13", &starts, &self.library.start_blocking(key))?;
            }
            Op::Cancel(_, why) => self.cancel(number, why, run)?,
            Op::Complete(_) if !receives && function == Some(Function::Active) => {
                self.complete(number, run)?;
            }
            Op::EndsAndIsAnswered(_) if !receives && function != Some(Function::Ended) => {
                self.function_ended(number, run)?;
                self.remove(number)?;
            }
            Op::EndsWithBody(_) if !receives && function == Some(Function::Active) => {
                let is_owed_nothing = self.function_ended(number, run)?;
                is_owed_nothing.then(|| self.remove(number)).transpose()?;
            }
            Op::BeginResponse(_) if function == Some(Function::Ended) => {
                let begins = self.model.begin_response(number);
                same("T7", &begins, &self.library.begin_response(key))?;
            }
            Op::EndBody(_) if task.is_some_and(|task| task.state == State::Responding) => {
                self.remove(number)?;
            }
            Op::Orphan(_) => self.orphan(number, run)?,
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn cancel(&mut self, number: usize, why: Cause, run: &mut Run) -> Compared {
        let key = self.keys[number];
        if let Some(task) = self.model.task(number) {
            let (cooperates, ended) = (
                task.policy.grace.is_some(),
                task.function == Function::Ended,
            );
            run.reach(match (task.state, task.function) {
                (State::Receiving { cancelled: None }, _) => "cancel in Receiving",
                (State::Running, Function::Queued) => "cancel before a thread is there",
                (State::Running, _) if ended && cooperates => {
                    "cancel while a body is produced, Cooperate"
                }
                (State::Running, _) if ended => "cancel while a body is produced, Drop",
                (State::Running, _) if cooperates => "cancel in Running, Cooperate",
                (State::Running, _) => "cancel in Running, Drop",
                (State::Responding, _) => "cancel in Responding",
                _ => "second cancel",
            });
        } else {
            run.reach("cancel of a task that is gone");
        }
        let step = self.model.cancel(number, why, self.now);
        let at = self.clock.at(self.now);
        let theirs = self.library.cancel(key, cause(why), at);
        same("T10", &on_cancel(step), &theirs)?;
        self.settle(number, step)
    }

    /// Whoever answers removes.
    pub(crate) fn settle(&mut self, number: usize, step: OnCancel) -> Compared {
        match step {
            OnCancel::Answer(_) => self.remove(number),
            _ => Ok(()),
        }
    }

    pub(crate) fn alarms(&mut self, run: &mut Run) -> Compared {
        let next = self.model.next_alarm();
        run.reach_if(next == Some(self.now), "alarm at the very nanosecond");
        run.reach_if(next == Some(self.now + 1), "alarm one nanosecond early");
        run.reach_if(self.model.due(self.now).len() > 1, "two alarms at once");
        while let Some((key, theirs)) = self.library.take_alarm(self.clock.at(self.now)) {
            let Some(number) = self.keys.iter().position(|known| *known == key) else {
                return same("a known key", &None, &Some(key));
            };
            let first = self.model.due(self.now).contains(&number);
            same("the earliest alarm first", &true, &first)?;
            let blocking = self
                .model
                .task(number)
                .is_some_and(|task| task.policy.kind == Kind::Blocking);
            let step = self.model.take_alarm(self.now, number);
            same("T10, T12, T13", &step.map(on_alarm), &Some(theirs))?;
            run.reach(match step {
                Some(OnAlarm::Cancel(_)) => "run limit reached",
                Some(OnAlarm::Drop) => "grace over, dropped",
                Some(OnAlarm::Answer(_)) => "grace over, nothing runs",
                Some(OnAlarm::Stuck(_)) if blocking => "blocking task stuck",
                _ => "async task stuck",
            });
            match step {
                Some(OnAlarm::Cancel(step)) => self.settle(number, step)?,
                Some(OnAlarm::Answer(_)) => self.remove(number)?,
                _ => {}
            }
            self.compare()?;
        }
        same("no alarm is left", &Vec::new(), &self.model.due(self.now))
    }

    pub(crate) fn complete(&mut self, number: usize, run: &mut Run) -> Compared {
        let state = self.model.task(number).map(|task| task.state);
        let removed = self.library.complete(self.keys[number]);
        // T10: after a cancel under Drop a completion does nothing.
        let counts = matches!(state, Some(State::Running | State::Cooperating(_)));
        same("T10: completion", &counts, &removed.is_some())?;
        if counts {
            let within = matches!(state, Some(State::Cooperating(_)));
            run.reach_if(within, "completion within the grace");
            self.model.remove(number);
        }
        Ok(())
    }

    /// Whether the entry is to be removed.
    pub(crate) fn function_ended(
        &mut self,
        number: usize,
        run: &mut Run,
    ) -> Result<bool, suite::Difference> {
        match self.model.task(number).map(|task| task.state) {
            Some(State::Dropping(_)) => run.reach("completion after a cancel under Drop"),
            Some(State::Stuck) => run.reach("stuck task returns"),
            Some(State::Orphaned) => run.reach("orphan returns"),
            _ => {}
        }
        let owed = self.model.function_ended(number);
        let theirs = self.library.function_ended(self.keys[number]);
        same("T10", &owed.map(|owed| owed.map(cause)), &theirs)?;
        Ok(owed != Some(None))
    }

    pub(crate) fn orphan(&mut self, number: usize, run: &mut Run) -> Compared {
        let state = self.model.task(number).map(|task| task.state);
        let step = self.model.orphan(number, self.now);
        let at = self.clock.at(self.now);
        let theirs = self.library.orphan(self.keys[number], at);
        let theirs = match theirs {
            proto::OrphanStep::Remove => OnEnd::Remove,
            proto::OrphanStep::Nothing => OnEnd::Nothing,
            proto::OrphanStep::Drop => OnEnd::Drop,
            proto::OrphanStep::Tell { drop_at } => OnEnd::Tell(self.clock.deadline(drop_at)),
        };
        same("D4, D8", &step, &theirs)?;
        match step {
            OnEnd::Remove => {
                run.reach("orphan had not started");
                self.remove(number)?;
            }
            OnEnd::Drop => run.reach("orphan is dropped"),
            OnEnd::Tell(None) => run.reach("orphan on a thread"),
            OnEnd::Tell(_) if state == Some(State::Running) => run.reach("orphan keeps its grace"),
            OnEnd::Tell(_) => run.reach("orphan keeps what is left of its grace"),
            OnEnd::Nothing => {}
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, number: usize) -> Compared {
        let ours = self.model.remove(number);
        let theirs = self.library.remove(self.keys[number]);
        let ours = ours.map(|task| (task.id, task.code, task.number));
        let theirs = theirs.map(|task| (task.id.0, task.code.0, task.task));
        same("removed", &ours, &theirs)
    }

    pub(crate) fn compare(&self) -> Compared {
        let (model, library) = (&self.model, &self.library);
        library.check_invariants();
        same("live", &model.live_count(), &library.live())?;
        same("L5: places", &model.tasks.len(), &library.places())?;
        same("L16: held", &model.held(), &library.held_bytes())?;
        let next = self.clock.deadline(library.next_alarm());
        same("next alarm", &model.next_alarm(), &next)?;
        let turn = library.first_turn();
        let turn = turn.map(|(key, since)| (key, self.clock.nanos(since)));
        let ours = model.first_turn(|number| self.unsent.contains(&number));
        let ours = ours.map(|(number, since)| (self.keys[number], since));
        same("E5: first turn", &ours, &turn)?;
        let ours: Vec<_> = model
            .tasks
            .iter()
            .filter(|task| task.is_live())
            .map(|task| (task.number, task.id, task.shown().to_owned(), task.began))
            .collect();
        let theirs: Vec<_> = library
            .list()
            .into_iter()
            .map(|(key, task)| {
                let number = library.task(key).copied().unwrap_or(usize::MAX);
                let began = self.clock.nanos(task.began);
                (number, task.id.0, format!("{:?}", task.state), began)
            })
            .collect();
        same("the list", &ours, &theirs)?;
        let stuck = model.tasks.iter().filter(|task| task.state == State::Stuck);
        let stuck: Vec<_> = stuck.map(|task| (task.id, task.code)).collect();
        let theirs = library.stuck().into_iter();
        let theirs: Vec<_> = theirs.map(|(id, code)| (id.0, code.0)).collect();
        same("T13: stuck", &stuck, &theirs)?;
        for (number, key) in self.keys.iter().enumerate() {
            self.compare_task(number, *key)?;
        }
        for id in 0..3 {
            let ours = model.live(id).map(|task| self.keys[task.number]);
            same("T11", &ours, &library.find(TaskId(id)))?;
        }
        Ok(())
    }

    pub(crate) fn compare_task(&self, number: usize, key: proto::TaskKey) -> Compared {
        let (task, library) = (self.model.task(number), &self.library);
        let identity = task.map(|task| (TaskId(task.id), TaskCode(task.code)));
        same("identity", &identity, &library.identity(key))?;
        let accepted = task.is_some_and(|task| task.accepted);
        same("T3: accepted", &accepted, &library.is_accepted(key))?;
        let held = task.map_or(0, |task| task.held);
        same("L16: held", &held, &library.held_by(key))?;
        let unread =
            task.is_some_and(|task| matches!(task.state, State::Receiving { cancelled: Some(_) }));
        same("T10", &unread, &library.is_cancelled_unread(key))?;
        let limit = task.filter(|task| task.state == State::Running);
        let limit = limit.and_then(|task| task.alarm);
        let theirs = self.clock.deadline(library.run_deadline(key));
        same("T12: deadline", &limit, &theirs)?;
        let live = task.is_some_and(|task| task.is_live());
        same("T11", &live, &library.metadata(key).is_some())
    }
}
