//! Callers: the library's own client, what it was asked, and what became of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asyncserver::client::{CallError, Client, Negotiation};
use asyncserver::wire::{ByteOrder, TaskCode};
use oracle::{Ask, Natural, Request};

use super::connections::Seen;
use super::tap::TapConnector;
use super::told::Told;
use crate::{Action, Host, World};

/// A caller of a plan.
pub(crate) struct Caller {
    name: String,
    host: Host,
    client: Client,
    calls: BTreeMap<u32, Told<Order>>,
    record: Calls,
}

/// What a caller wants of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    GoOn,
    Cancel,
    Drop,
}

/// Every call of a run. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<u32, CallRecord>>>);

/// A call, and how it ended, if it did.
#[derive(Clone, Debug)]
pub(crate) struct CallRecord {
    pub(crate) client: String,
    pub(crate) code: u8,
    pub(crate) message: Vec<u8>,
    pub(crate) idempotent: bool,
    pub(crate) ending: Option<Ended>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Answered(Vec<u8>),
    Failed(CallError),
    Dropped,
}

impl Calls {
    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, CallRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> BTreeMap<u32, CallRecord> {
        self.locked().clone()
    }

    fn end(&self, number: u32, ending: Ended) {
        if let Some(call) = self.locked().get_mut(&number) {
            call.ending = Some(ending);
        }
    }

    /// Whether every call has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.locked().values().all(|call| call.ending.is_some())
    }
}

impl Caller {
    pub(crate) fn start(
        world: &World,
        connector: TapConnector,
        servers: &[String],
        (retries, negotiates): (u32, bool),
        record: &Calls,
    ) -> Self {
        let name = connector.client.clone();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let mut client = world
            .client(&name, &servers)
            .connector(connector)
            .retries(retries);
        if !negotiates {
            client = client.negotiation(Negotiation::Skip);
        }
        Self {
            host: world.host(&name),
            name,
            client: client.build(),
            calls: BTreeMap::new(),
            record: record.clone(),
        }
    }

    /// Does what the event with this id says.
    pub(crate) fn act(&mut self, event: u32, action: &Action) {
        match action {
            Action::Call {
                ask,
                idempotent,
                timeout_ms,
            } => self.call(event, ask, *idempotent, *timeout_ms),
            Action::CancelCall(call) => self.order(*call, Order::Cancel),
            Action::DropCall(call) => self.order(*call, Order::Drop),
            Action::KeepAlive => {
                let client = self.client.clone();
                self.host.executor().spawn_as("keep alive", async move {
                    drop(client.keep_alive().await);
                });
            }
            Action::CloseClient { within_ms } => {
                let closed = self.client.close(Duration::from_millis(*within_ms));
                self.host.executor().spawn_as("close", closed);
            }
            Action::Wire(_) | Action::Reconnect => {}
        }
    }

    fn order(&self, call: u32, order: Order) {
        if let Some(place) = self.calls.get(&call) {
            place.tell(order);
        }
    }

    fn call(&mut self, number: u32, ask: &Ask, idempotent: bool, timeout_ms: Option<u64>) {
        let asked = Request::new(0, ask.clone());
        let (code, message) = (asked.code(), asked.message(ByteOrder::Big));
        let record = CallRecord {
            client: self.name.clone(),
            code,
            message: message.clone(),
            idempotent,
            ending: None,
        };
        self.record.locked().insert(number, record);
        let mut request = self.client.request(TaskCode(code)).message(message);
        if idempotent {
            request = request.idempotent();
        }
        if let Some(timeout) = timeout_ms {
            request = request.response_timeout(Duration::from_millis(timeout));
        }
        let orders = Told::new(Order::GoOn);
        self.calls.insert(number, orders.clone());
        let record = self.record.clone();
        self.host.executor().spawn_as("call", async move {
            let mut pending = request.submit();
            let mut order = Order::GoOn;
            let ended = loop {
                order = tokio::select! {
                    biased;
                    order = orders.other_than(order) => order,
                    answer = &mut pending => break match answer {
                        Ok(answer) => Ended::Answered(answer.to_vec()),
                        Err(error) => Ended::Failed(error),
                    },
                };
                match order {
                    Order::GoOn => {}
                    Order::Cancel => pending.cancel(),
                    Order::Drop => break Ended::Dropped,
                }
            };
            drop(pending);
            record.end(number, ended);
        });
    }

    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.client.close(Duration::from_secs(1))
    }
}

impl CallRecord {
    /// What is wrong with how it ended, if anything is. Of those connections of
    /// its client on which a fault changed bytes it is judged by what came.
    pub(crate) fn complaint(&self, config: &oracle::Config, altered: &[&Seen]) -> Option<String> {
        let what = format!("a call of task {} by {}", self.code, self.client);
        match self.ending.as_ref()? {
            Ended::Failed(CallError::Protocol { violation }) if altered.is_empty() => Some(
                format!("{what}: the server broke the protocol: {violation}"),
            ),
            Ended::Answered(answer) => {
                let spec = config.task(self.code)?;
                let came = |body: &[u8]| altered.iter().any(|c| c.altered.brings(&c.history, body));
                match oracle::natural(spec.does, &self.message, ByteOrder::Big).0 {
                    Natural::Ok(body) if body != *answer && !came(answer) => Some(format!(
                        "{what} was answered with {} bytes that are not its result",
                        answer.len()
                    )),
                    _ => None,
                }
            }
            Ended::Failed(_) | Ended::Dropped => None,
        }
    }
}
