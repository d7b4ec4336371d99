//! What a history says, put together once, for all rules: requests with their
//! responses and functions, cancels, calls, stalls and the end.

use super::received::{self, Received, Reply, Tail};
use super::sent::{self, Partial, Sent, Stream};
use crate::config::Config;
use crate::history::{BodyEnd, Call, Direction, FunctionEnd, History, Returned, RunEnd, What};
use crate::report::Report;

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
                let request = self.request_of_run(moment, (run, id, code));
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
