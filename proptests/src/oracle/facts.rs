//! What a history says, put together once, for all rules: requests with their
//! responses and functions, cancels, calls, stalls and the end.

use super::received::{self, Received, Reply, Tail};
use super::sent::{self, Partial, Sent, Stream};
use crate::config::Config;
use crate::history::{
    BodyEnd, Call, Direction, FunctionEnd, History, Observed, Returned, RunEnd, What,
};
use crate::report::Report;
use crate::tasks::{Does, TaskSpec};

/// An event, by its index: an earlier one happened before.
pub(crate) type Moment = usize;

/// A run function.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) number: u32,
    pub(crate) id: u32,
    pub(crate) code: u8,
    pub(crate) started: Moment,
    pub(crate) ended: Option<(Moment, RunEnd)>,
    /// The end of its streamed body.
    pub(crate) body: Option<(Moment, BodyEnd)>,
    pub(crate) body_dropped: Option<Moment>,
    /// The request that it was started for, by index.
    pub(crate) request: Option<usize>,
}

/// A task function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) id: u32,
    pub(crate) code: u8,
    pub(crate) started: Moment,
    pub(crate) ended: Option<(Moment, FunctionEnd)>,
    pub(crate) read: Option<Vec<u8>>,
    pub(crate) request: Option<usize>,
}

/// A cancel that somebody asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancel {
    /// The task's id; `None` stands for all.
    pub(crate) target: Option<u32>,
    /// Not before this can it have acted.
    pub(crate) called: Moment,
    /// Not after this: a call has returned, the observer was told.
    pub(crate) certain: Option<Moment>,
    /// The number of the Cancel among the requests, if it came by wire.
    pub(crate) request: Option<usize>,
}

/// A call of the server's program.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) what: Call,
    pub(crate) called: Moment,
    pub(crate) returned: Option<(Moment, Returned)>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Facts<'h> {
    pub(crate) history: &'h History,
    pub(crate) config: &'h Config,
    pub(crate) requests: Vec<Sent>,
    pub(crate) partial: Option<Partial>,
    pub(crate) sent_bytes: u64,
    /// For each event that sent bytes: the stream's length behind it.
    pub(crate) sent_steps: Vec<(u64, Moment)>,
    pub(crate) responses: Vec<Received>,
    pub(crate) received_bytes: u64,
    pub(crate) tail: Tail,
    pub(crate) runs: Vec<Run>,
    pub(crate) functions: Vec<Function>,
    pub(crate) cancels: Vec<Cancel>,
    pub(crate) calls: Vec<Called>,
    /// Where a direction began to stall, and where it went on.
    pub(crate) stalls: Vec<(Direction, Moment, Option<Moment>)>,
    pub(crate) client_ended: Option<Moment>,
    pub(crate) client_reset: Option<Moment>,
    pub(crate) server_ended: Option<Moment>,
    pub(crate) server_reset: Option<Moment>,
    pub(crate) closed: Option<Moment>,
    pub(crate) report: Option<&'h Report>,
}

impl<'h> Facts<'h> {
    pub(crate) fn of(history: &'h History) -> Self {
        let (to_server, to_client) = streams(history);
        let order = history.config.byte_order.into();
        let (requests, partial) = sent::parse(&to_server, order);
        let (responses, tail) = received::parse(&to_client, order);
        let mut facts = Self {
            history,
            config: &history.config,
            requests,
            partial,
            sent_bytes: to_server.bytes.len() as u64,
            sent_steps: to_server.ends,
            responses,
            received_bytes: to_client.bytes.len() as u64,
            tail,
            runs: Vec::new(),
            functions: Vec::new(),
            cancels: Vec::new(),
            calls: Vec::new(),
            stalls: Vec::new(),
            client_ended: None,
            client_reset: None,
            server_ended: None,
            server_reset: None,
            closed: None,
            report: None,
        };
        facts.pair_responses();
        for (moment, event) in history.events.iter().enumerate() {
            facts.take_ends(moment, &event.what);
            facts.take_functions(moment, &event.what);
            facts.take_calls(moment, &event.what);
        }
        facts.gather_cancels();
        facts
    }

    fn take_ends(&mut self, moment: Moment, what: &'h What) {
        let first = |place: &mut Option<Moment>| {
            place.get_or_insert(moment);
        };
        match what {
            What::ClientEnded => first(&mut self.client_ended),
            What::ClientReset => first(&mut self.client_reset),
            What::ServerEnded => first(&mut self.server_ended),
            What::ServerReset => first(&mut self.server_reset),
            What::Closed(report) => {
                first(&mut self.closed);
                self.report = report.as_ref();
            }
            What::Stalled(direction) => self.stalls.push((*direction, moment, None)),
            What::Flowing(direction) => {
                for stall in &mut self.stalls {
                    if stall.0 == *direction && stall.2.is_none() {
                        stall.2 = Some(moment);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_functions(&mut self, moment: Moment, what: &'h What) {
        match *what {
            What::FunctionStarted { id, code } => {
                let request = self.request_of_function(moment, id, code);
                if let Some(request) = request {
                    self.requests[request].function = Some(self.functions.len());
                }
                self.functions.push(Function {
                    id,
                    code,
                    started: moment,
                    ended: None,
                    read: None,
                    request,
                });
            }
            What::FunctionEnded { id, how, ref read } => {
                let is_open = |f: &&mut Function| f.id == id && f.ended.is_none();
                if let Some(function) = self.functions.iter_mut().find(is_open) {
                    function.ended = Some((moment, how));
                    function.read = read.as_ref().map(|read| read.0.clone());
                }
            }
            What::RunStarted { run, id, code } => {
                let request = self.request_of_run(moment, id, code);
                if let Some(request) = request {
                    self.requests[request].run = Some(self.runs.len());
                }
                self.runs.push(Run {
                    number: run,
                    id,
                    code,
                    started: moment,
                    ended: None,
                    body: None,
                    body_dropped: None,
                    request,
                });
            }
            What::RunEnded { run, how } => self.run(run).ended = Some((moment, how)),
            What::BodyEnded { run, how } => self.run(run).body = Some((moment, how)),
            What::BodyDropped { run } => self.run(run).body_dropped = Some(moment),
            _ => {}
        }
    }

    /// The run with the number that the harness gave it; `harness.rs` has seen
    /// to it that there is one.
    fn run(&mut self, number: u32) -> &mut Run {
        let of_number = |run: &&mut Run| run.number == number;
        self.runs
            .iter_mut()
            .rev()
            .find(of_number)
            .expect("a run that started")
    }

    fn take_calls(&mut self, moment: Moment, what: &'h What) {
        match what {
            What::Called { what, .. } => self.calls.push(Called {
                what: *what,
                called: moment,
                returned: None,
            }),
            What::Returned { call, what } => {
                let begun = |event: &crate::Event| matches!(event.what, What::Called { call: c, .. } if c == *call);
                let called = self.history.events[..moment].iter().rposition(begun);
                let find = |c: &&mut Called| Some(c.called) == called;
                if let Some(call) = self.calls.iter_mut().find(find) {
                    call.returned = Some((moment, what.clone()));
                }
            }
            _ => {}
        }
    }

    /// T5: an id's responses come in the order of its requests, for a request
    /// is accepted only when the one before it has been answered (T11).
    fn pair_responses(&mut self) {
        for index in 0..self.responses.len() {
            let response = &self.responses[index];
            let (first, terminal) = (response.first, response.reply.terminal_id());
            let id = match response.reply {
                Reply::Goodbye(_) => continue,
                Reply::Processing(id) => id,
                _ => terminal.unwrap_or_default(),
            };
            let request = self.owed(id, first);
            self.responses[index].request = request;
            if let (Some(request), Some(_)) = (request, terminal) {
                self.requests[request].answer = Some(index);
            }
        }
        if let Tail::Cut {
            ok: Some((id, _)),
            first,
            ..
        } = self.tail
        {
            let owed = self.owed(id, first);
            if let Tail::Cut { request, .. } = &mut self.tail {
                *request = owed;
            }
        }
    }

    /// The oldest request with this id that has no answer and was sent before `moment`.
    fn owed(&self, id: u32, moment: Moment) -> Option<usize> {
        let is_owed =
            |r: &Sent| r.id == id && !r.is_cancel() && r.answer.is_none() && r.end < moment;
        self.requests.iter().position(is_owed)
    }

    fn request_of_run(&self, moment: Moment, id: u32, code: u8) -> Option<usize> {
        let may_run = |r: &Sent| {
            let over = r.answer.is_some_and(|a| self.responses[a].last < moment);
            (r.id, r.code) == (id, code) && r.run.is_none() && r.header < moment && !over
        };
        let unavailable = |r: &Sent| {
            let reply = r.answer.map(|a| &self.responses[a].reply);
            matches!(reply, Some(Reply::Error { code: 252, .. }))
        };
        let candidates = || (0..self.requests.len()).filter(|i| may_run(&self.requests[*i]));
        candidates()
            .find(|i| !unavailable(&self.requests[*i]))
            .or_else(|| candidates().next())
    }

    fn request_of_function(&self, moment: Moment, id: u32, code: u8) -> Option<usize> {
        let may_read = |r: &Sent| {
            let over = r.answer.is_some_and(|a| self.responses[a].last < moment);
            (r.id, r.code) == (id, code) && r.function.is_none() && r.header < moment && !over
        };
        self.requests.iter().position(may_read)
    }

    fn gather_cancels(&mut self) {
        for call in &self.calls {
            let target = match call.what {
                Call::Cancel { id } => Some(id),
                Call::CancelAll => None,
                _ => continue,
            };
            self.cancels.push(Cancel {
                target,
                called: call.called,
                certain: call.returned.as_ref().map(|(moment, _)| *moment),
                request: None,
            });
        }
        let by_wire = |(number, request): (usize, &Sent)| {
            request.is_cancel().then_some(Cancel {
                target: Some(request.id),
                called: request.end,
                certain: None,
                request: Some(number),
            })
        };
        let by_wire: Vec<_> = self
            .requests
            .iter()
            .enumerate()
            .filter_map(by_wire)
            .collect();
        self.cancels.extend(by_wire);
    }

    // What the rules ask.

    /// When an event happened, in microseconds.
    pub(crate) fn us(&self, moment: Moment) -> u64 {
        self.history.events[moment].at_us
    }

    /// The registration of a request; `None`: reserved or unknown (T4).
    pub(crate) fn task(&self, request: &Sent) -> Option<&'h TaskSpec> {
        self.config.task(request.code)
    }

    /// The answer of a request.
    pub(crate) fn answer(&self, request: &Sent) -> Option<&Received> {
        request.answer.map(|answer| &self.responses[answer])
    }

    /// The run of a request.
    pub(crate) fn run_of(&self, request: &Sent) -> Option<&Run> {
        request.run.map(|run| &self.runs[run])
    }

    /// Whether a request may have been cancelled before `moment` (T10): the
    /// cancel came when its header may have been read.
    pub(crate) fn cancels_of(
        &self,
        number: usize,
        before: Moment,
    ) -> impl Iterator<Item = &Cancel> {
        let request = &self.requests[number];
        self.cancels.iter().filter(move |cancel| {
            let in_order = match cancel.request {
                Some(of_cancel) => of_cancel > number,
                None => cancel
                    .certain
                    .is_none_or(|certain| certain > request.header),
            };
            cancel.target.is_none_or(|id| id == request.id) && cancel.called < before && in_order
        })
    }

    /// The observer's events.
    pub(crate) fn observed(&self) -> impl Iterator<Item = (Moment, &'h Observed)> {
        let observed = |(moment, event): (Moment, &'h crate::Event)| match &event.what {
            What::Observed(observed) => Some((moment, observed)),
            _ => None,
        };
        self.history.events.iter().enumerate().filter_map(observed)
    }

    /// When a task was reported as stuck (T13).
    pub(crate) fn stuck(&self, id: u32) -> Option<Moment> {
        self.observed()
            .find(|(_, o)| matches!(o, Observed::Stuck { id: of } if *of == id))
            .map(|(moment, _)| moment)
    }

    /// Calls that begin the end of the connection (D1, D5, D6), with the
    /// duration after which it is closed at the latest, in milliseconds.
    pub(crate) fn endings(&self) -> impl Iterator<Item = (&Called, u64)> {
        self.calls.iter().filter_map(|call| match call.what {
            Call::Disconnect { after_ms }
            | Call::ServerDisconnect { after_ms }
            | Call::Shutdown { after_ms } => Some((call, after_ms)),
            Call::EndContext => Some((call, self.config.timeouts.grace_ms)),
            Call::Close => Some((call, 0)),
            Call::List | Call::Cancel { .. } | Call::CancelAll => None,
        })
    }

    /// From when on the server certainly reads no more requests.
    pub(crate) fn stopped_reading(&self) -> Option<Moment> {
        // A shutdown acts when called, and returns only later (D6).
        let acted = |(call, _): (&Called, u64)| match call.what {
            Call::Shutdown { .. } => Some(call.called),
            _ => call.returned.as_ref().map(|(moment, _)| *moment),
        };
        let goodbye = |r: &Received| matches!(r.reply, Reply::Goodbye(_)).then_some(r.first);
        let goodbye = self.responses.iter().find_map(goodbye);
        let ends = [self.closed, self.server_ended, goodbye];
        self.endings()
            .filter_map(acted)
            .chain(ends.into_iter().flatten())
            .min()
    }

    /// The end, as soon as anything of it was seen.
    pub(crate) fn over(&self) -> Option<Moment> {
        let ends = [
            self.closed,
            self.server_ended,
            self.server_reset,
            self.client_reset,
        ];
        ends.into_iter().flatten().min()
    }

    /// How many of the first requests were certainly accepted, of whatever code.
    pub(crate) fn accepted_at_least(&self) -> usize {
        let taken = |r: &Sent| r.answer.is_some() || r.run.is_some();
        self.requests
            .iter()
            .rposition(taken)
            .map_or(0, |last| last + 1)
    }

    /// Whether nothing ever made the server pause its reading (L12): then what
    /// was sent has been looked at after the network's and the server's delays.
    pub(crate) fn never_pauses(&self) -> bool {
        let limits = &self.config.limits;
        let tasks = self.requests.iter().filter(|r| self.task(r).is_some());
        let held: usize = self.requests.iter().map(|r| r.message.len()).sum();
        let own_function = |r: &Sent| {
            let spec = self.task(r);
            spec.is_some_and(|s| s.does == Does::Scripted) && r.function.is_some()
        };
        self.stalls.is_empty()
            && tasks.count() < limits.in_flight
            && held < limits.held_bytes.min(limits.server_held_bytes)
            && self.received_bytes < limits.unsent_bytes as u64
            && limits.unsent_bytes >= 1000
            && !self.requests.iter().any(own_function)
            && !self.stalls_a_body()
    }

    /// Whether a body stood still, and with it the wire (N8).
    fn stalls_a_body(&self) -> bool {
        let stalls = |run: &Run| {
            let then = match run.ended {
                Some((_, RunEnd::Streamed { then, .. })) => Some(then),
                _ => None,
            };
            then == Some(BodyEnd::Stalls)
        };
        self.runs.iter().any(stalls)
    }
}

/// Both directions of the byte stream.
fn streams(history: &History) -> (Stream, Stream) {
    let (mut to_server, mut to_client) = (Stream::default(), Stream::default());
    for (moment, event) in history.events.iter().enumerate() {
        match &event.what {
            What::Sent(bytes) => to_server.push(&bytes.0, moment),
            What::Unsent(bytes) => to_server.take_back(*bytes),
            What::Received(bytes) => to_client.push(&bytes.0, moment),
            _ => {}
        }
    }
    (to_server, to_client)
}

/// Milliseconds in microseconds, without end where there is none.
pub(crate) const fn ms(millis: u64) -> u64 {
    millis.saturating_mul(1000)
}

impl Facts<'_> {
    /// Whether nothing stalled between two times, and no body held the wire.
    pub(crate) fn flows(&self, from_us: u64, to_us: u64) -> bool {
        let overlaps = |stall: &(Direction, Moment, Option<Moment>)| {
            let until = stall.2.map_or(u64::MAX, |moment| self.us(moment));
            self.us(stall.1) <= to_us && until >= from_us
        };
        !self.stalls.iter().any(overlaps) && !self.stalls_a_body()
    }

    /// Whether by that time the end of the connection may already keep answers
    /// back: it is over, its client is gone, its deadline is near, or an error
    /// has begun to end it (D4, D5, D7, D8).
    pub(crate) fn cannot_answer(&self, by_us: u64) -> bool {
        let slack = ms(self.config.tolerance.late_ms + self.config.tolerance.network_ms);
        let soon = |moment: Moment| self.us(moment) <= by_us.saturating_add(slack);
        let gone = [self.over(), self.client_reset]
            .into_iter()
            .flatten()
            .any(soon);
        let ended = self.client_ended.is_some_and(soon)
            && self.config.on_half_close == crate::OnHalfClose::Leave;
        let deadline = self
            .deadline_us()
            .is_some_and(|deadline| deadline <= by_us.saturating_add(slack));
        gone || ended || deadline || self.errors().any(|(moment, _)| soon(moment))
    }

    /// The earliest deadline that a call has set, in microseconds (D2).
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        self.endings()
            .map(|(call, after)| self.us(call.called).saturating_add(ms(after)))
            .min()
    }

    /// Moments from which on a connection error may have happened, with the
    /// request that caused it, if it is one (D8).
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Moment, Option<usize>)> {
        let by_task = self
            .requests
            .iter()
            .enumerate()
            .filter_map(|(number, request)| {
                let too_long = request.message.len() > self.config.message_limit(request.code);
                let fails = self.task(request).is_some_and(|task| {
                    let outcome = super::outcome::outcome(self, request, task);
                    matches!(outcome, super::outcome::Outcome::ConnectionError { .. })
                });
                let duplicate = self.requests[..number].iter().any(|other| {
                    let gone = self
                        .answer(other)
                        .is_some_and(|answer| answer.last < request.header);
                    other.id == request.id && !other.is_cancel() && !request.is_cancel() && !gone
                });
                // A long message fails before its end, a failing task at its own.
                let moment = if too_long {
                    request.first
                } else {
                    request.header
                };
                (too_long || fails || duplicate).then_some((moment, Some(number)))
            });
        let partial = self.partial.iter().map(|partial| (partial.first, None));
        by_task.chain(partial)
    }
}
