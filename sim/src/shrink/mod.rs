//! Makes what fails smaller, until everything in it is needed.

use oracle::{Ask, Config, Op, RunEnd};

use crate::{Action, Interleaving, LinkPlan, Plan, Trace, Verdict, play};

/// The smallest list found, in its order, of which `fails` still says so: first
/// halves are left out, then smaller parts, then single items.
///
/// ```
/// let needed = asyncserver_sim::smallest((0..100).collect(), |list| list.contains(&7) && list.contains(&70));
/// assert_eq!(needed, [7, 70]);
/// ```
#[must_use]
pub fn smallest<T: Clone>(mut list: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut size = list.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut has_shrunk) = (0, false);
        while at < list.len() {
            let end = (at + size).min(list.len());
            let without: Vec<T> = [&list[..at], &list[end..]].concat();
            if fails(&without) {
                list = without;
                has_shrunk = true;
            } else {
                at = end;
            }
        }
        if size == 1 && !has_shrunk {
            return list;
        }
        size = if size > 1 { size.div_ceil(2) } else { 1 };
    }
}

/// Makes a plan smaller that still breaks in the same way: by faults, clients,
/// operations, settings, times and sizes, in this order, again and again.
/// `progress` is told of each smaller plan.
pub fn shrink(plan: &Plan, verdict: &Verdict, mut progress: impl FnMut(&Plan)) -> Plan {
    let mut shrinking = Shrinking {
        best: plan.clone(),
        signature: verdict.signature.clone(),
        progress: &mut progress,
    };
    loop {
        let before = shrinking.best.clone();
        shrinking.lists();
        shrinking.settings();
        shrinking.times();
        shrinking.sizes();
        if shrinking.best == before {
            return before;
        }
    }
}

struct Shrinking<'p> {
    best: Plan,
    signature: String,
    progress: &'p mut dyn FnMut(&Plan),
}

impl Shrinking<'_> {
    fn breaks(&self, plan: &Plan) -> bool {
        let verdict = play(plan, Trace::off()).verdict;
        verdict.is_some_and(|verdict| verdict.signature == self.signature)
    }

    /// Takes the plan with this change, if it still breaks.
    fn attempt(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        let takes = plan != self.best && self.breaks(&plan);
        if takes {
            (self.progress)(&plan);
            self.best = plan;
        }
        takes
    }

    fn lists(&mut self) {
        let base = self.best.clone();
        let faults = smallest(base.faults.clone(), |faults| {
            self.attempt(|plan| plan.faults = faults.to_vec())
        });
        self.best.faults = faults;
        for client in base.clients {
            self.attempt(|plan| {
                plan.clients.retain(|other| *other != client);
                plan.events.retain(|event| event.client != client.name);
            });
        }
        let events = self.best.events.clone();
        let events = smallest(events, |events| {
            self.attempt(|plan| plan.events = events.to_vec())
        });
        self.best.events = events;
        while self.best.servers > 1 && self.attempt(|plan| plan.servers -= 1) {}
    }

    fn settings(&mut self) {
        let plain = Config::default();
        self.attempt(|plan| {
            plan.interleaving = Interleaving {
                put_off_permille: 0,
                ..Interleaving::default()
            }
        });
        for number in 0..self.best.clients.len() {
            self.attempt(|plan| plan.clients[number].link = LinkPlan::default());
        }
        self.attempt(|plan| plan.config.limits = plain.limits);
        self.attempt(|plan| plan.config.timeouts = plain.timeouts);
        self.attempt(|plan| plan.config.on_half_close = plain.on_half_close);
        let (limits, timeouts) = (plain.limits, plain.timeouts);
        self.attempt(|plan| plan.config.limits.message_bytes = limits.message_bytes);
        self.attempt(|plan| plan.config.limits.in_flight = limits.in_flight);
        self.attempt(|plan| plan.config.limits.tasks = limits.tasks);
        self.attempt(|plan| plan.config.limits.unsent_bytes = limits.unsent_bytes);
        self.attempt(|plan| plan.config.limits.held_bytes = limits.held_bytes);
        self.attempt(|plan| plan.config.limits.server_held_bytes = limits.server_held_bytes);
        self.attempt(|plan| plan.config.timeouts.wait_ms = timeouts.wait_ms);
        self.attempt(|plan| plan.config.timeouts.read_ms = timeouts.read_ms);
        self.attempt(|plan| plan.config.timeouts.write_ms = timeouts.write_ms);
        self.attempt(|plan| plan.config.timeouts.grace_ms = timeouts.grace_ms);
        self.attempt(|plan| plan.config.timeouts.linger_ms = timeouts.linger_ms);
        self.attempt(|plan| plan.config.timeouts.body_ms = timeouts.body_ms);
        self.attempt(|plan| plan.config.timeouts.processing_ms = timeouts.processing_ms);
    }

    fn times(&mut self) {
        let last = self.best.events.iter().map(|event| event.at_ms).max();
        self.attempt(|plan| plan.phases.calm_at_ms = last.unwrap_or(0));
        for number in 0..self.best.events.len() {
            // The event and all behind it move together, then round numbers.
            let at = self.best.events[number].at_ms;
            let before = number
                .checked_sub(1)
                .map_or(0, |n| self.best.events[n].at_ms);
            let gap = at - before.min(at);
            let nearer = |by: u64| {
                move |plan: &mut Plan| {
                    let behind = plan.events[number..].iter_mut();
                    behind.for_each(|event| event.at_ms -= by.min(event.at_ms));
                    let faults = plan.faults.iter_mut().filter(|fault| fault.at_ms >= at);
                    faults.for_each(|fault| fault.at_ms -= by);
                    plan.phases.calm_at_ms = plan.phases.calm_at_ms.saturating_sub(by);
                }
            };
            if gap > 0 && !self.attempt(nearer(gap)) && gap > 10 {
                self.attempt(nearer(gap / 2));
            }
        }
    }

    fn sizes(&mut self) {
        for number in 0..self.best.events.len() {
            for smaller in smaller_actions(&self.best.events[number].action) {
                if self.attempt(|plan| plan.events[number].action = smaller) {
                    break;
                }
            }
        }
    }
}

/// Simpler actions that may do as well, the simplest first.
fn smaller_actions(action: &Action) -> Vec<Action> {
    let Action::Wire(op) = action else {
        return Vec::new();
    };
    let mut ops = Vec::new();
    match op {
        Op::SendTogether { requests } if requests.len() > 1 => {
            for left_out in 0..requests.len() {
                let mut requests = requests.clone();
                requests.remove(left_out);
                ops.push(Op::SendTogether { requests });
            }
        }
        Op::SendTogether { requests } => ops.extend(requests.first().map(|request| Op::Send {
            request: request.clone(),
            pieces: Vec::new(),
        })),
        Op::Send { request, pieces } => {
            if !pieces.is_empty() {
                ops.push(Op::Send {
                    request: request.clone(),
                    pieces: Vec::new(),
                });
                ops.push(Op::Send {
                    request: request.clone(),
                    pieces: pieces[1..].to_vec(),
                });
            }
            for ask in smaller_asks(&request.ask) {
                let request = oracle::Request::new(request.id, ask);
                let pieces = pieces.clone();
                ops.push(Op::Send { request, pieces });
            }
        }
        Op::Complete { id, how } => {
            let smaller = match *how {
                RunEnd::Whole { bytes } if bytes > 0 => Some(RunEnd::Whole { bytes: 0 }),
                RunEnd::Streamed { bytes, then } if bytes > 0 => Some(RunEnd::Streamed {
                    bytes: bytes / 2,
                    then,
                }),
                _ => None,
            };
            ops.extend(smaller.map(|how| Op::Complete { id: *id, how }));
        }
        _ => {}
    }
    ops.into_iter().map(Action::Wire).collect()
}

fn smaller_asks(ask: &Ask) -> Vec<Ask> {
    match *ask {
        Ask::Echo(n) if n > 0 => vec![Ask::Echo(0), Ask::Echo(n / 2)],
        Ask::Digest(n) if n > 0 => vec![Ask::Digest(0), Ask::Digest(n / 2)],
        Ask::First(n) if n > 0 => vec![Ask::First(n / 2)],
        Ask::Nothing(n) if n > 0 => vec![Ask::Nothing(0)],
        Ask::KeepAlive(n) if n > 0 => vec![Ask::KeepAlive(0)],
        Ask::Cancel(n) if n > 0 => vec![Ask::Cancel(0)],
        Ask::Produce(n) if n > 0 => vec![Ask::Produce(n / 2)],
        Ask::Sleep { ms, rest } if rest > 0 => vec![Ask::Sleep { ms, rest: 0 }],
        Ask::Scripted { code, bytes } if bytes > 0 => vec![Ask::Scripted { code, bytes: 0 }],
        _ => Vec::new(),
    }
}
