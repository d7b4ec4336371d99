//! Makes a case smaller, until everything in it is needed.

use super::run::Why;
use super::{Case, CaseClient, Check, Simulated};
use crate::{Interleaving, smallest};

/// A smaller case that breaks in the same way: by faults, clients, steps, times
/// and sizes, in this order, again and again.
pub(super) fn shrink<S: Simulated>(
    check: &Check<S>,
    case: &Case<S::Step>,
    why: &Why,
) -> Case<S::Step> {
    let mut shrinking = Shrinking {
        check,
        why,
        best: case.clone(),
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

struct Shrinking<'s, S: Simulated> {
    check: &'s Check<S>,
    why: &'s Why,
    best: Case<S::Step>,
}

impl<S: Simulated> Shrinking<'_, S> {
    /// Takes the case with this change, if it still breaks in the same way.
    fn attempt(&mut self, change: impl FnOnce(&mut Case<S::Step>)) -> bool {
        let mut case = self.best.clone();
        change(&mut case);
        let breaks = || {
            let why = self.check.play(&case).why;
            why.is_some_and(|why| why.is_like(self.why))
        };
        let takes = case != self.best && breaks();
        if takes {
            self.best = case;
        }
        takes
    }

    fn lists(&mut self) {
        let faults = self.best.faults.clone();
        self.best.faults = smallest(faults, |faults| {
            self.attempt(|case| case.faults = faults.to_vec())
        });
        for number in 0..self.best.clients.len() as u32 {
            self.attempt(|case| case.steps.retain(|step| step.client != number));
        }
        let steps = self.best.steps.clone();
        self.best.steps = smallest(steps, |steps| {
            self.attempt(|case| case.steps = steps.to_vec())
        });
        while self.best.clients.len() > 1
            && self.attempt(|case| {
                let last = case.clients.len() as u32 - 1;
                case.clients.pop();
                case.steps.retain(|step| step.client != last);
            })
        {}
        while self.best.servers > 1 && self.attempt(|case| case.servers -= 1) {}
    }

    fn settings(&mut self) {
        for number in 0..self.best.clients.len() {
            self.attempt(|case| case.clients[number] = CaseClient::default());
        }
        self.attempt(|case| {
            case.interleaving = Interleaving {
                put_off_permille: 0,
                ..Interleaving::default()
            };
        });
        // One client does as well as several, mostly.
        for number in 0..self.best.steps.len() {
            self.attempt(|case| case.steps[number].client = 0);
            self.attempt(|case| case.steps[number].gives_up_after_ms = None);
        }
    }

    fn times(&mut self) {
        let last = self.best.steps.iter().map(|step| step.at_ms).max();
        self.attempt(|case| case.calm_at_ms = last.unwrap_or(0));
        for number in 0..self.best.steps.len() {
            let at = self.best.steps[number].at_ms;
            let before = number.checked_sub(1);
            let before = before.map_or(0, |before| self.best.steps[before].at_ms);
            let gap = at.saturating_sub(before);
            // This step, and all that is behind it.
            let nearer = |by: u64| {
                move |case: &mut Case<S::Step>| {
                    let behind = case.steps[number..].iter_mut();
                    behind.for_each(|step| step.at_ms = step.at_ms.saturating_sub(by));
                    let faults = case.faults.iter_mut().filter(|fault| fault.at_ms >= at);
                    faults.for_each(|fault| fault.at_ms -= by);
                    case.calm_at_ms = case.calm_at_ms.saturating_sub(by);
                }
            };
            if gap > 0 && !self.attempt(nearer(gap)) {
                self.attempt(nearer(gap / 2));
            }
            let gives_up = self.best.steps[number].gives_up_after_ms;
            for less in gives_up.iter().flat_map(|ms| [0, 1, ms / 2]) {
                let is_less = gives_up.is_some_and(|ms| less < ms);
                if is_less && self.attempt(|case| case.steps[number].gives_up_after_ms = Some(less))
                {
                    break;
                }
            }
        }
    }

    fn sizes(&mut self) {
        let subject = (self.check.make)();
        for number in 0..self.best.steps.len() {
            let step = self.best.steps[number].step.clone();
            for simpler in subject.simpler(&step) {
                if self.attempt(|case| case.steps[number].step = simpler) {
                    break;
                }
            }
        }
    }
}
