//! Histories written by hand, one call an event.

use crate::history::{
    Call, Direction, Event, FunctionEnd, History, Observed, Returned, RunEnd, View, What,
};
use crate::oracle::facts::Facts;
use crate::oracle::received::Reply;
use crate::report::{Interrupted, Reason, Report, State};
use crate::request::{Ask, Request};
use crate::{Config, scripted_tasks};

/// Builds a history for a test.
///
/// Events come in the order of the calls, at the time of the last [`at`](Self::at).
/// The server has the [scripted tasks](scripted_tasks) besides the demo ones.
///
/// ```
/// use oracle::{Ask, Handmade, Oracle, Reason};
/// let history = Handmade::new()
///     .sends(7, Ask::Echo(2))
///     .at(1)
///     .ok(7, &[0, 1])
///     .client_ends()
///     .server_ends()
///     .closed(Reason::ClientClosed)
///     .history();
/// assert_eq!(Oracle::new(&history).finish(), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Handmade {
    history: History,
    now_us: u64,
    calls: u32,
}

impl Default for Handmade {
    fn default() -> Self {
        Self::new()
    }
}

impl Handmade {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        let config = Config {
            tasks: scripted_tasks(),
            ..Config::default()
        };
        Self {
            history: History::new(config),
            now_us: 0,
            calls: 0,
        }
    }

    /// Changes the settings.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.history.config);
        self
    }

    /// Says that every event of tasks and of the observer is there.
    #[must_use]
    pub const fn complete(mut self) -> Self {
        self.history.views.tasks = View::Complete;
        self.history.views.observer = View::Complete;
        self
    }

    /// What follows happens at this time, in milliseconds.
    #[must_use]
    pub const fn at(mut self, ms: u64) -> Self {
        self.now_us = ms * 1000;
        self
    }

    /// Any event.
    #[must_use]
    pub fn event(mut self, what: What) -> Self {
        self.history.record(self.now_us, what);
        self
    }

    /// The client sends a request.
    #[must_use]
    pub fn sends(self, id: u32, ask: Ask) -> Self {
        let bytes = Request::new(id, ask).encode(self.history.config.byte_order.into());
        self.sends_bytes(&bytes)
    }

    /// The client sends bytes.
    #[must_use]
    pub fn sends_bytes(self, bytes: &[u8]) -> Self {
        self.event(What::Sent(bytes.into()))
    }

    /// The client sends the first so many bytes of a request.
    #[must_use]
    pub fn sends_part(self, id: u32, ask: Ask, bytes: usize) -> Self {
        let all = Request::new(id, ask).encode(self.history.config.byte_order.into());
        self.sends_bytes(&all[..bytes])
    }

    /// The client cancels a task by wire.
    #[must_use]
    pub fn cancels(self, id: u32) -> Self {
        self.sends(id, Ask::Cancel(0))
    }

    /// The client is sent an `OK`.
    #[must_use]
    pub fn ok(self, id: u32, body: &[u8]) -> Self {
        let mut bytes = self.header(0, id);
        bytes.extend(crate::Blocks::Full.encode(body));
        self.receives(&bytes)
    }

    /// The client is sent an `Error`.
    #[must_use]
    pub fn error(self, id: u32, code: u8) -> Self {
        let mut bytes = self.header(1, id);
        bytes.push(code);
        self.receives(&bytes)
    }

    /// The client is sent a Goodbye.
    #[must_use]
    pub fn goodbye(self, accepted: u32) -> Self {
        let bytes = self.header(2, accepted);
        self.receives(&bytes)
    }

    /// The client is sent a Processing.
    #[must_use]
    pub fn processing(self, id: u32) -> Self {
        let bytes = self.header(3, id);
        self.receives(&bytes)
    }

    /// The client receives bytes.
    #[must_use]
    pub fn receives(self, bytes: &[u8]) -> Self {
        self.event(What::Received(bytes.into()))
    }

    fn header(&self, code: u8, number: u32) -> Vec<u8> {
        let order: asyncserver::wire::ByteOrder = self.history.config.byte_order.into();
        let mut bytes = vec![code];
        bytes.extend(order.encode_u32(number));
        bytes
    }

    /// The client negotiates, under the id 0, and is answered.
    #[must_use]
    pub fn negotiates(self, features: u32) -> Self {
        let ask = Ask::Negotiate {
            version: 1,
            features,
            bytes: 5,
        };
        let config = &self.history.config;
        let seconds = |ms: u64| ms.div_ceil(1000) as u32;
        let fields = [
            features & 3,
            config.limits.in_flight as u32,
            config.limits.message_bytes as u32,
            seconds(config.timeouts.wait_ms),
            seconds(config.timeouts.processing_ms),
        ];
        let order: asyncserver::wire::ByteOrder = config.byte_order.into();
        let mut body = vec![1];
        body.extend(fields.into_iter().flat_map(|field| order.encode_u32(field)));
        self.sends(0, ask).ok(0, &body)
    }

    /// A run function starts.
    #[must_use]
    pub fn starts(self, run: u32, id: u32, code: u8) -> Self {
        self.event(What::RunStarted { run, id, code })
    }

    /// A run function ends.
    #[must_use]
    pub fn ends(self, run: u32, how: RunEnd) -> Self {
        self.event(What::RunEnded { run, how })
    }

    /// A task function begins.
    #[must_use]
    pub fn function(self, id: u32, code: u8) -> Self {
        self.event(What::FunctionStarted { id, code })
    }

    /// A task function ends.
    #[must_use]
    pub fn function_ends(self, id: u32, how: FunctionEnd) -> Self {
        let read = None;
        self.event(What::FunctionEnded { id, how, read })
    }

    /// The observer is told.
    #[must_use]
    pub fn observed(self, what: Observed) -> Self {
        self.event(What::Observed(what))
    }

    /// The server's program calls, and the call returns at once.
    #[must_use]
    pub fn calls(self, what: Call) -> Self {
        let begun = self.begins(what);
        let call = begun.calls;
        begun.returns(call, Returned::Nothing)
    }

    /// The server's program lists the tasks.
    #[must_use]
    pub fn lists(self, ids: &[u32]) -> Self {
        let begun = self.begins(Call::List);
        let call = begun.calls;
        begun.returns(call, Returned::Tasks(ids.to_vec()))
    }

    /// A call of the server's program begins; calls are numbered from 1 on.
    #[must_use]
    pub fn begins(mut self, what: Call) -> Self {
        self.calls += 1;
        let call = self.calls;
        self.event(What::Called { call, what })
    }

    /// A call returns.
    #[must_use]
    pub fn returns(self, call: u32, what: Returned) -> Self {
        self.event(What::Returned { call, what })
    }

    /// The client ends its stream.
    #[must_use]
    pub fn client_ends(self) -> Self {
        self.event(What::ClientEnded)
    }

    /// The client resets the connection.
    #[must_use]
    pub fn client_resets(self) -> Self {
        self.event(What::ClientReset)
    }

    /// The client sees the end of the server's stream.
    #[must_use]
    pub fn server_ends(self) -> Self {
        self.event(What::ServerEnded)
    }

    /// The client stops reading.
    #[must_use]
    pub fn stalls(self) -> Self {
        self.event(What::Stalled(Direction::ToClient))
    }

    /// The client reads again.
    #[must_use]
    pub fn flows(self) -> Self {
        self.event(What::Flowing(Direction::ToClient))
    }

    /// The connection is closed, with the report that the events so far make:
    /// every request accepted, what was not answered interrupted in Running.
    #[must_use]
    pub fn closed(self, reason: Reason) -> Self {
        self.closed_with(reason, |_| ())
    }

    /// The same, with a change to the report.
    #[must_use]
    pub fn closed_with(self, reason: Reason, change: impl FnOnce(&mut Report)) -> Self {
        let accepted = Facts::of(&self.history).requests.len();
        self.closed_after(accepted, reason, change)
    }

    /// The same, where only the first so many requests were accepted.
    #[must_use]
    pub fn closed_after(
        self,
        accepted: usize,
        reason: Reason,
        change: impl FnOnce(&mut Report),
    ) -> Self {
        let mut report = report(&Facts::of(&self.history), accepted, reason);
        change(&mut report);
        self.event(What::Closed(Some(report)))
    }

    /// Watches until this time, in milliseconds.
    #[must_use]
    pub fn until(mut self, ms: u64) -> Self {
        self.history.end_us = ms * 1000;
        self
    }

    /// The history.
    #[must_use]
    pub fn history(self) -> History {
        self.history
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.history.events
    }
}

/// The report that fits the facts.
fn report(facts: &Facts<'_>, accepted: usize, reason: Reason) -> Report {
    let mut report = Report {
        reason,
        accepted: accepted as u64,
        ok: 0,
        errors: 0,
        cancelled: 0,
        interrupted: 0,
        cancels: 0,
        interrupted_tasks: Vec::new(),
        stuck: Vec::new(),
        bytes_read: facts.sent_bytes,
        bytes_written: facts.received_bytes,
        deadline_reached: false,
    };
    for request in &facts.requests[..accepted] {
        match facts.answer(request).map(|answer| &answer.reply) {
            _ if request.is_cancel() => report.cancels += 1,
            Some(Reply::Error { code: 255, .. }) => report.cancelled += 1,
            Some(Reply::Error { .. }) => report.errors += 1,
            Some(_) => report.ok += 1,
            None => {
                report.interrupted += 1;
                report.interrupted_tasks.push(Interrupted {
                    id: request.id,
                    code: request.code,
                    state: State::Running,
                });
            }
        }
    }
    report
}
