//! The tasks of one connection (PROTOCOL T5, T10–T13, E5, L5, L16).

mod task;

pub use task::{Cause, Function, Kind, Policy, State, Task};

use super::time::{NEVER, Nanos, SECOND, has_come, later};

/// What a cancel comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel {
    /// Nothing.
    Nothing,
    /// T10, Receiving: no run function; answered once the message is read.
    Unread,
    /// T10, Cooperate; T13, a thread.
    Tell,
    /// T10, Drop.
    Drop,
    /// Nothing runs: answered at once.
    Answer(Cause),
    /// Nothing runs, and its result may still begin within the grace.
    Wait,
}

/// What an alarm comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAlarm {
    /// T12.
    Cancel(OnCancel),
    /// T10: after the grace it is dropped.
    Drop,
    /// The same, where nothing runs.
    Answer(Cause),
    /// T13.
    Stuck(Cause),
}

/// What the connection's end comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEnd {
    /// Nothing runs: it is gone.
    Remove,
    /// It was stuck or orphaned before.
    Nothing,
    /// Told, and dropped then; never: a thread.
    Tell(Option<Nanos>),
    /// Dropped.
    Drop,
}

/// The model: tasks in the order of their headers.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// All of them.
    pub tasks: Vec<Task>,
    numbers: usize,
    turns: u64,
}

impl Ledger {
    /// The task with this number.
    #[must_use]
    pub fn task(&self, number: usize) -> Option<&Task> {
        self.tasks.iter().find(|task| task.number == number)
    }

    /// The task with this number, to change it.
    pub fn task_mut(&mut self, number: usize) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.number == number)
    }

    /// T11: the live task with this id.
    #[must_use]
    pub fn live(&self, id: u32) -> Option<&Task> {
        self.tasks
            .iter()
            .find(|task| task.is_live() && task.id == id)
    }

    /// How many are live.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.tasks.iter().filter(|task| task.is_live()).count()
    }

    /// L16.
    #[must_use]
    pub fn held(&self) -> usize {
        self.tasks.iter().map(|task| task.held).sum()
    }

    /// A header was read, and its place taken: the task's number.
    pub fn begin(&mut self, id: u32, code: u8, policy: Policy, now: Nanos) -> usize {
        let number = self.numbers;
        self.numbers += 1;
        self.tasks.push(Task {
            number,
            id,
            code,
            policy,
            state: State::Receiving { cancelled: None },
            function: not_started(policy.kind),
            began: now,
            accepted: false,
            held: 0,
            alarm: None,
            counted_from: None,
            rank: 0,
        });
        number
    }

    /// T3: the end of the message was looked at.
    pub fn accept(&mut self, number: usize, now: Nanos) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(task) = self.task_mut(number) {
            task.accepted = true;
            task.counted_from = Some((now, turn));
        }
    }

    /// L16.
    pub fn hold(&mut self, number: usize, bytes: usize) {
        if let Some(task) = self.task_mut(number) {
            task.held += bytes;
        }
    }

    /// What the task function returned runs on this.
    pub fn set_kind(&mut self, number: usize, kind: Kind) {
        if let Some(task) = self.task_mut(number) {
            task.policy.kind = kind;
            task.function = not_started(kind);
        }
    }

    /// T3: the run function starts; or the cause for which it does not.
    pub fn start(&mut self, number: usize, now: Nanos) -> Option<Cause> {
        let task = self.task_mut(number)?;
        match task.state {
            State::Receiving { cancelled: None } => {
                task.state = State::Running;
                // T12: from the start of the run function.
                task.alarm = task.policy.run_limit.and_then(|limit| later(now, limit));
                None
            }
            State::Receiving { cancelled } => cancelled,
            _ => None,
        }
    }

    /// A thread got to it: whether it runs.
    pub fn start_blocking(&mut self, number: usize) -> bool {
        match self.task_mut(number) {
            Some(task) if task.function == Function::Queued => {
                task.function = Function::Active;
                true
            }
            _ => false,
        }
    }

    /// T10.
    pub fn cancel(&mut self, number: usize, cause: Cause, now: Nanos) -> OnCancel {
        let Some(task) = self.task_mut(number) else {
            return OnCancel::Nothing;
        };
        match task.state {
            State::Receiving { cancelled: None } => {
                task.state = State::Receiving {
                    cancelled: Some(cause),
                };
                OnCancel::Unread
            }
            State::Running => cancel_running(task, cause, now),
            // The first cancel counts; in Responding: nothing.
            _ => OnCancel::Nothing,
        }
    }

    /// When the next alarm is due.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Nanos> {
        self.tasks.iter().filter_map(|task| task.alarm).min()
    }

    /// Takes one alarm that is due: the earliest. *Choice*: at one instant, any.
    pub fn take_alarm(&mut self, now: Nanos, number: usize) -> Option<OnAlarm> {
        let task = self.task_mut(number)?;
        if !has_come(task.alarm, now) {
            return None;
        }
        task.alarm = None;
        Some(match task.state {
            // T12: cancelled as in T10.
            State::Running => OnAlarm::Cancel(cancel_running(task, Cause::Limit, now)),
            State::Cooperating(cause) if task.function == Function::Ended => OnAlarm::Answer(cause),
            State::Cooperating(cause) if task.policy.kind == Kind::Async => {
                task.state = State::Dropping(cause);
                task.alarm = later(now, SECOND);
                OnAlarm::Drop
            }
            State::Cooperating(cause) | State::Dropping(cause) => {
                task.state = State::Stuck;
                task.counted_from = None;
                OnAlarm::Stuck(cause)
            }
            _ => return None,
        })
    }

    /// Takes one alarm that is due: the earliest; at one instant, by rank.
    pub fn take_next_alarm(&mut self, now: Nanos) -> Option<(usize, OnAlarm)> {
        let due = self.due(now);
        let first = self.tasks.iter().filter(|task| due.contains(&task.number));
        let number = first.min_by_key(|task| task.rank)?.number;
        Some((number, self.take_alarm(now, number)?))
    }

    /// Which tasks' alarms are due first.
    #[must_use]
    pub fn due(&self, now: Nanos) -> Vec<usize> {
        let first = self.next_alarm().filter(|at| *at <= now);
        let is_first = |task: &&Task| first.is_some() && task.alarm == first;
        let numbers = self.tasks.iter().filter(is_first);
        numbers.map(|task| task.number).collect()
    }

    /// The run function has ended: `None`, nothing is owed for it any more;
    /// otherwise the cause for which what it returned does not count.
    pub fn function_ended(&mut self, number: usize) -> Option<Option<Cause>> {
        let task = self.task_mut(number)?;
        task.function = Function::Ended;
        match task.state {
            State::Stuck | State::Orphaned => None,
            // T10: after a cancel under Drop the answer is CANCELLED, whatever
            // the function still returns.
            State::Dropping(cause) => Some(Some(cause)),
            _ => Some(None),
        }
    }

    /// T7: whether the response begins: after a cancel under Drop it does not.
    pub fn begin_response(&mut self, number: usize) -> bool {
        match self.task_mut(number) {
            Some(task) if matches!(task.state, State::Running | State::Cooperating(_)) => {
                task.state = State::Responding;
                // T12 ends with the beginning of the response; so does E5.
                task.alarm = None;
                task.counted_from = None;
                true
            }
            _ => false,
        }
    }

    /// D4, D8: the connection ends.
    pub fn orphan(&mut self, number: usize, now: Nanos) -> OnEnd {
        let Some(task) = self.task_mut(number) else {
            return OnEnd::Nothing;
        };
        if !task.is_live() {
            return OnEnd::Nothing;
        }
        let alarm = task.alarm.take();
        let runs = task.function == Function::Active
            && !matches!(task.state, State::Receiving { .. } | State::Responding);
        if !runs {
            return OnEnd::Remove;
        }
        let step = match (task.policy.kind, task.state, task.policy.grace) {
            (Kind::Blocking, ..) => OnEnd::Tell(None),
            // T10: a cooperating function keeps its grace.
            (_, State::Running, Some(grace)) => OnEnd::Tell(later(now, grace)),
            (_, State::Cooperating(_), _) => OnEnd::Tell(alarm),
            _ => OnEnd::Drop,
        };
        task.state = State::Orphaned;
        task.counted_from = None;
        step
    }

    /// It is gone.
    pub fn remove(&mut self, number: usize) -> Option<Task> {
        let at = self.tasks.iter().position(|task| task.number == number)?;
        Some(self.tasks.remove(at))
    }

    /// E5: the task whose sign of life is due first, of those that none is
    /// unsent of, and since when that counts.
    #[must_use]
    pub fn first_turn(&self, is_unsent: impl Fn(usize) -> bool) -> Option<(usize, Nanos)> {
        let turns = self.tasks.iter().filter_map(|task| {
            let (since, turn) = task.counted_from?;
            (!is_unsent(task.number)).then_some((since, turn, task.number))
        });
        turns.min().map(|(since, _, number)| (number, since))
    }

    /// *Choice*: of what is due at one instant, it comes last from now on.
    pub fn requeue_turn(&mut self, number: usize) {
        if let Some((since, _)) = self.task(number).and_then(|task| task.counted_from) {
            self.restart_turn(number, since);
        }
    }

    /// E5: then from the last one queued.
    pub fn restart_turn(&mut self, number: usize, now: Nanos) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(task) = self.task_mut(number)
            && task.counted_from.is_some()
        {
            task.counted_from = Some((now, turn));
        }
    }
}

const fn not_started(kind: Kind) -> Function {
    match kind {
        Kind::Async => Function::Active,
        Kind::Blocking => Function::Queued,
    }
}

/// T10, in Running.
fn cancel_running(task: &mut Task, cause: Cause, now: Nanos) -> OnCancel {
    // T13: what still waits for a thread never starts, and is answered at once.
    if task.function == Function::Queued {
        return OnCancel::Answer(cause);
    }
    let has_ended = task.function == Function::Ended;
    match task.policy.grace {
        None if has_ended => return OnCancel::Answer(cause),
        None => {
            task.state = State::Dropping(cause);
            // T13: one second, for both kinds.
            task.alarm = later(now, SECOND);
        }
        Some(grace) => {
            task.state = State::Cooperating(cause);
            task.alarm = if grace == NEVER {
                None
            } else {
                later(now, grace)
            };
        }
    }
    match (has_ended, task.policy.grace, task.policy.kind) {
        (true, ..) => OnCancel::Wait,
        (_, None, Kind::Async) => OnCancel::Drop,
        _ => OnCancel::Tell,
    }
}
