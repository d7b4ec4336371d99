//! What several connections of one server share: the limits L6, L7, L8, L16 and
//! N9. Each connection is judged by itself first.

use super::facts::{Facts, Moment, Run};
use super::places::{Alive, Full};
use super::received::Reply;
use super::rule::{Rule, Violation};
use super::sent::Sent;
use super::{Oracle, Until};
use crate::history::Observed;
use crate::report::Reason;
use crate::server::ServerHistory;
use crate::timeline;

impl ServerHistory {
    /// Judges every connection as far as its history goes, and all together.
    ///
    /// # Errors
    /// The first violation.
    pub fn judge(&self) -> Result<(), Violation> {
        super::first(self.found(Until::Now))
    }

    /// Judges a server whose connections are all over.
    ///
    /// # Errors
    /// The first violation.
    pub fn finish(&self) -> Result<(), Violation> {
        super::first(self.found(Until::End))
    }

    /// Every violation of a server whose connections are all over.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.found(Until::End)
    }

    fn found(&self, until: Until) -> Vec<Violation> {
        if let [only] = &self.connections[..] {
            return Oracle::new(only).found(until);
        }
        let mut found = Vec::new();
        for number in 0..self.connections.len() {
            let alone = self.judged_alone(number);
            let mut of_it = Oracle::new(&alone).found(until);
            for violation in &mut of_it {
                violation.what = format!("of connection {number}: {}", violation.what);
            }
            found.extend(of_it);
        }
        if found.is_empty() {
            found = self.found_shared();
        }
        found
    }

    /// Judges what connections share that have each been accepted by themselves.
    ///
    /// # Errors
    /// The first violation.
    pub fn judge_shared(&self) -> Result<(), Violation> {
        super::first(self.found_shared())
    }

    fn found_shared(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let together = Together::of(self);
        together.check_running(&mut found);
        together.check_unavailable(&mut found);
        together.check_places_of_connections(&mut found);
        found
    }
}

/// The facts of all connections, and the order of their moments.
pub(crate) struct Together<'h> {
    pub(crate) connections: Vec<Facts<'h>>,
    /// Of each connection: where its moments stand in the order of all.
    ranks: Vec<Vec<Moment>>,
}

/// A moment of a connection, by its number.
pub(crate) type At = (usize, Moment);

impl<'h> Together<'h> {
    pub(crate) fn of(server: &'h ServerHistory) -> Self {
        let mut ranks = vec![Vec::new(); server.connections.len()];
        for (rank, number) in server.order.iter().enumerate() {
            ranks[*number].push(rank);
        }
        Self {
            connections: server.connections.iter().map(Facts::of).collect(),
            ranks,
        }
    }

    /// Where a moment of a connection stands in the order of all.
    pub(crate) fn rank(&self, (number, moment): At) -> Moment {
        self.ranks[number]
            .get(moment)
            .copied()
            .unwrap_or(Moment::MAX)
    }

    /// All run functions, each with its connection, start and end.
    fn runs(&self) -> Vec<(usize, &Run, Moment, Moment)> {
        let mut runs = Vec::new();
        for (number, facts) in self.connections.iter().enumerate() {
            let rank = |moment| self.rank((number, moment));
            for run in &facts.runs {
                let ended = run.ended.map_or(Moment::MAX, |(ended, _)| rank(ended));
                runs.push((number, run, rank(run.started), ended));
            }
        }
        runs
    }

    /// L6, N9: how many run functions run beside each other.
    fn check_running(&self, found: &mut Vec<Violation>) {
        let runs = self.runs();
        let Some(config) = self.connections.first().map(|facts| facts.config) else {
            return;
        };
        for (number, run, started, _) in &runs {
            let beside: Vec<_> = runs
                .iter()
                .filter(|(_, _, from, to)| from <= started && to > started)
                .collect();
            let alike = beside
                .iter()
                .filter(|(_, other, ..)| other.code == run.code);
            let own_limit = config.task(run.code).and_then(|task| task.max_in_flight);
            let shown = || beside.iter().map(|(of, other, ..)| (*of, other.started));
            let alike = alike.count();
            if beside.len() > config.limits.tasks {
                let what = format!("{} run functions of the server run", beside.len());
                let allowed = format!("at most {}", config.limits.tasks);
                found.push(self.broken(Rule::L6, what, allowed, shown()));
            } else if own_limit.is_some_and(|limit| alike > limit) {
                let what = format!("{alike} run functions of code {} run", run.code);
                let allowed = format!("at most {}", own_limit.unwrap_or_default());
                found.push(self.broken(Rule::N9, what, allowed, [(*number, run.started)]));
            }
        }
    }

    /// N9, L6, L16: `UNAVAILABLE` needs tasks, of whatever connections, that have the places.
    fn check_unavailable(&self, found: &mut Vec<Violation>) {
        for (number, facts) in self.connections.iter().enumerate() {
            for (index, request) in facts.requests.iter().enumerate() {
                let Some(answered) = refused_at(facts, request) else {
                    continue;
                };
                if !self.full_for((number, index), answered).is_any() {
                    let what = format!("request {} was answered UNAVAILABLE", request.id);
                    let allowed = "that only where the tasks of all connections reach a limit";
                    let shown = [(number, request.header), (number, answered)];
                    found.push(self.broken(Rule::L6, what, allowed, shown));
                }
            }
        }
    }

    /// Which limits all connections together may have reached for a request.
    pub(crate) fn full_for(&self, (number, index): (usize, usize), answered: Moment) -> Full {
        let facts = &self.connections[number];
        let request = &facts.requests[index];
        let mut alive = Alive::before(facts, index);
        for (of, others) in self.connections.iter().enumerate() {
            if of != number {
                let window = [
                    self.rank((number, request.header)),
                    self.rank((number, answered)),
                ];
                let window = (window, facts.us(request.header));
                self.add_others((of, others), window, request.code, &mut alive);
            }
        }
        alive.full_for(facts, request)
    }

    /// Adds what of another connection may have had places in that time.
    fn add_others(
        &self,
        (of, facts): (usize, &Facts<'_>),
        ([from, to], from_us): ([Moment; 2], u64),
        code: u8,
        alive: &mut Alive,
    ) {
        let rank = |moment| self.rank((of, moment));
        let before = |moment: Moment| rank(moment) < from;
        for request in facts.requests.iter().filter(|r| rank(r.header) < to) {
            let runs_on = match facts.run_of(request) {
                Some(run) => run.ended.is_none_or(|(ended, _)| {
                    !before(ended) || facts.outlives(request, ended, from_us)
                }),
                // A thread that never got to it may still have its place (T13).
                None => facts
                    .task(request)
                    .is_some_and(|task| !task.runs.is_future()),
            };
            let answered = facts
                .answer(request)
                .is_some_and(|answer| before(answer.last));
            let closed = facts.closed.is_some_and(before);
            if facts.task(request).is_some() && (runs_on || !(answered || closed)) {
                alive.add(request.code == code, request.message.len());
            }
        }
        let partial = facts.partial.as_ref().and_then(|partial| {
            let (of_code, _, header) = partial.header?;
            let is_task = facts.config.task(of_code).is_some();
            let closed = facts.closed.is_some_and(before);
            (is_task && rank(header) < to && !closed).then_some((of_code, partial.payload))
        });
        if let Some((of_code, bytes)) = partial {
            alive.add(of_code == code, bytes);
        }
    }

    /// L8: so many connections at a time, and none refused while there is a place.
    fn check_places_of_connections(&self, found: &mut Vec<Violation>) {
        let limit = self
            .connections
            .first()
            .map(|facts| facts.config.limits.connections);
        let limit = limit.unwrap_or(usize::MAX);
        let opened = |facts: &Facts<'_>| {
            let mut observed = facts.observed();
            observed.find_map(|(moment, what)| (*what == Observed::Opened).then_some(moment))
        };
        for (number, facts) in self.connections.iter().enumerate() {
            let refused = facts
                .report
                .is_some_and(|report| report.reason == Reason::Refused);
            let came = if refused { facts.closed } else { opened(facts) };
            let Some(came) = came else {
                continue;
            };
            let at = self.rank((number, came));
            let is_open = |(of, other): (usize, &Facts<'_>)| {
                let from = opened(other).map(|moment| self.rank((of, moment)));
                let to = other.closed.map(|moment| self.rank((of, moment)));
                from.is_some_and(|from| from < at) && to.is_none_or(|to| to > at)
            };
            let open = self
                .connections
                .iter()
                .enumerate()
                .filter(|one| is_open(*one));
            let open = open.count();
            if refused == (open < limit) {
                let done = if refused { "refused" } else { "taken" };
                let what = format!("connection {number} was {done} beside {open} others");
                let allowed = format!("{limit} connections at a time");
                found.push(self.broken(Rule::L8, what, allowed, [(number, came)]));
            }
        }
    }

    fn broken(
        &self,
        rule: Rule,
        what: String,
        allowed: impl Into<String>,
        moments: impl IntoIterator<Item = At>,
    ) -> Violation {
        let mut moments: Vec<_> = moments.into_iter().collect();
        moments.sort_by_key(|at| self.rank(*at));
        moments.dedup();
        let line = |(number, moment): At| {
            let history = self.connections[number].history;
            let lines = timeline::lines(history, &[moment]);
            lines
                .into_iter()
                .map(move |line| format!("{line}   (connection {number})"))
        };
        Violation {
            rule,
            what,
            allowed: allowed.into(),
            extract: moments.into_iter().flat_map(line).collect(),
        }
    }
}

/// When a task was answered `UNAVAILABLE`, if not by itself.
pub(crate) fn refused_at(facts: &Facts<'_>, request: &Sent) -> Option<Moment> {
    let task = facts.task(request)?;
    let answer = facts.answer(request)?;
    let is_refused = matches!(answer.reply, Reply::Error { code: 252, .. });
    let by_itself = task.does == crate::Does::Fail || request.run.is_some();
    (is_refused && !by_itself).then_some(answer.first)
}
