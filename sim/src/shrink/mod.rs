//! Makes what fails smaller, until everything in it is needed.

mod values;

use oracle::Config;

use crate::{Interleaving, LinkFaults, LinkPlan, Plan, Trace, Verdict, play};

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
///
/// ```
/// use asyncserver_sim::{Plan, Profile, Trace, play, shrink};
/// let mut plan = Plan::generate(3, Profile::Calm);
/// // Nobody can come to an end without any time.
/// plan.phases.budget_ms = 0;
/// let verdict = play(&plan, Trace::off()).verdict.unwrap();
/// let small = shrink(&plan, &verdict, |smaller| println!("{} events", smaller.len()));
/// assert!(small.len() <= 1 && small.len() < plan.len());
/// ```
#[must_use]
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

/// A direction of a link.
type Direction = fn(&mut LinkPlan) -> &mut LinkFaults;

const DIRECTIONS: [Direction; 2] = [|link| &mut link.to_server, |link| &mut link.to_client];

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
        let faults = self.best.faults.clone();
        self.best.faults = smallest(faults, |faults| {
            self.attempt(|plan| plan.faults = faults.to_vec())
        });
        for client in 0..self.best.clients.len() {
            self.faults_at_bytes(client);
        }
        for client in self.best.clients.clone() {
            self.attempt(|plan| {
                plan.clients.retain(|other| *other != client);
                plan.events.retain(|event| event.client != client.name);
            });
        }
        let events = self.best.events.clone();
        self.best.events = smallest(events, |events| {
            self.attempt(|plan| plan.events = events.to_vec())
        });
        while self.best.servers > 1 && self.attempt(|plan| plan.servers -= 1) {}
    }

    fn faults_at_bytes(&mut self, client: usize) {
        for direction in DIRECTIONS {
            let faults = direction(&mut self.best.clients[client].link)
                .at_bytes
                .clone();
            let needed = smallest(faults, |faults| {
                self.attempt(|plan| {
                    direction(&mut plan.clients[client].link).at_bytes = faults.to_vec();
                })
            });
            direction(&mut self.best.clients[client].link).at_bytes = needed;
        }
    }

    fn settings(&mut self) {
        let plain = Config::default();
        self.attempt(|plan| {
            plan.interleaving = Interleaving {
                put_off_permille: 0,
                ..Interleaving::default()
            }
        });
        self.attempt(|plan| plan.config.limits = plain.limits);
        self.attempt(|plan| plan.config.timeouts = plain.timeouts);
        self.attempt(|plan| plan.config.on_half_close = plain.on_half_close);
        for limits in values::plainer(&self.best.config.limits, &plain.limits) {
            self.attempt(|plan| values::keep(&mut plan.config.limits, &limits));
        }
        for timeouts in values::plainer(&self.best.config.timeouts, &plain.timeouts) {
            self.attempt(|plan| values::keep(&mut plan.config.timeouts, &timeouts));
        }
        for number in 0..self.best.clients.len() {
            self.link(number);
        }
        // The demo tasks and the scripted ones fill a page.
        let tasks = self.best.config.tasks.clone();
        self.best.config.tasks = smallest(tasks, |tasks| {
            self.attempt(|plan| plan.config.tasks = tasks.to_vec())
        });
    }

    fn link(&mut self, client: usize) {
        let plain = LinkPlan::default();
        self.attempt(|plan| plan.clients[client].link = plain.clone());
        self.attempt(|plan| plan.clients[client].link.to_server = plain.to_server.clone());
        self.attempt(|plan| plan.clients[client].link.to_client = plain.to_client.clone());
        for faults in values::plainer(&self.best.clients[client].link.to_server, &plain.to_server) {
            self.attempt(|plan| values::keep(&mut plan.clients[client].link.to_server, &faults));
        }
        for faults in values::plainer(&self.best.clients[client].link.to_client, &plain.to_client) {
            self.attempt(|plan| values::keep(&mut plan.clients[client].link.to_client, &faults));
        }
    }

    fn times(&mut self) {
        let last = self.best.events.iter().map(|event| event.at_ms).max();
        let last = last.unwrap_or(0);
        let later = self.best.phases.calm_at_ms.saturating_sub(last);
        for after in [0, later / 2, later - later / 4] {
            if self.attempt(|plan| plan.phases.calm_at_ms = last + after.min(later)) {
                break;
            }
        }
        for number in 0..self.best.events.len() {
            // The event and all behind it move together.
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
        for number in 0..self.best.faults.len() {
            for at in [0, self.best.faults[number].at_ms / 2] {
                self.attempt(|plan| {
                    plan.faults[number].at_ms = at;
                    plan.faults.sort_by_key(|fault| fault.at_ms);
                });
            }
        }
    }

    fn sizes(&mut self) {
        for number in 0..self.best.events.len() {
            let mut action = values::smaller(&self.best.events[number].action);
            while let Some(smaller) = action.pop_front() {
                if self.attempt(|plan| values::keep(&mut plan.events[number].action, &smaller)) {
                    action = values::smaller(&self.best.events[number].action);
                }
            }
        }
        for client in 0..self.best.clients.len() {
            for direction in DIRECTIONS {
                self.sizes_at_bytes(client, direction);
            }
        }
        for number in 0..self.best.faults.len() {
            let mut trouble = values::smaller(&self.best.faults[number].trouble);
            while let Some(smaller) = trouble.pop_front() {
                if self.attempt(|plan| values::keep(&mut plan.faults[number].trouble, &smaller)) {
                    trouble = values::smaller(&self.best.faults[number].trouble);
                }
            }
        }
    }

    fn sizes_at_bytes(&mut self, client: usize, direction: Direction) {
        let of = |plan: &mut Plan| direction(&mut plan.clients[client].link).at_bytes.clone();
        let mut faults = values::smaller(&of(&mut self.best));
        while let Some(smaller) = faults.pop_front() {
            let takes = |plan: &mut Plan| {
                let place = &mut direction(&mut plan.clients[client].link).at_bytes;
                values::keep(place, &smaller);
                // Each strikes in its turn.
                place.sort_by_key(|fault| fault.byte);
            };
            if self.attempt(takes) {
                faults = values::smaller(&of(&mut self.best));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultAtByte, Profile};

    fn plan_with(at_bytes: &[(u64, Fault)]) -> Plan {
        let mut plan = Plan::generate(3, Profile::Calm);
        let fault = |(byte, fault): &(u64, Fault)| FaultAtByte {
            byte: *byte,
            fault: *fault,
        };
        plan.clients[0].link.to_server.at_bytes = at_bytes.iter().map(fault).collect();
        plan
    }

    #[test]
    fn faults_at_a_byte_that_are_not_needed_are_left_out() {
        let mut plan = plan_with(&[(3, Fault::Reset), (9, Fault::SpuriousWake)]);
        plan.phases.budget_ms = 0;
        let verdict = play(&plan, Trace::off()).verdict.unwrap();
        assert_eq!(shrink(&plan, &verdict, |_| ()).len(), 0);
    }

    #[test]
    fn a_fault_at_a_byte_is_tried_at_a_smaller_one() {
        let fault = Fault::Stall { ms: 40 };
        let smaller = values::smaller(&vec![FaultAtByte { byte: 300, fault }]);
        let smaller: Vec<_> = smaller.iter().map(ToString::to_string).collect();
        let earlier = r#"[{"byte":150,"fault":{"Stall":{"ms":40}}}]"#.to_owned();
        assert!(smaller.contains(&earlier), "{smaller:?}");
    }
}
