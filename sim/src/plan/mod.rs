//! A plan: everything that happens in a run, as data. It is written as JSON,
//! generated from a seed, and made smaller by taking things away.

mod generate;
mod requests;
mod troubles;

use oracle::{Ask, Config, Op};
use serde::{Deserialize, Serialize};

use crate::{Crash, Door, End, Fault, Interleaving, LinkPlan};

pub use generate::Profile;

/// What happens in a run. What is random in it comes from streams that are keyed
/// by its seed and stable ids: without one of its events, the others stay as they are.
///
/// ```
/// use asyncserver_sim::{Plan, Profile};
/// let plan = Plan::generate(7, Profile::Default);
/// assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its story in one line, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Where what is random in the run comes from.
    pub seed: u64,
    /// The settings of every server.
    pub config: Config,
    /// How many servers there are: `server-0` and so on.
    pub servers: u32,
    /// The clients, by their names.
    pub clients: Vec<ClientPlan>,
    /// What clients and the servers' programs do, by time.
    pub events: Vec<Event>,
    /// What goes wrong, by time.
    #[serde(default)]
    pub faults: Vec<TimedFault>,
    /// How tasks of a host are interleaved.
    #[serde(default)]
    pub interleaving: Interleaving,
    /// When faults end and everything has to come to its end.
    pub phases: Phases,
}

/// A client of a plan.
///
/// ```
/// use asyncserver_sim::{ClientKind, Plan, Profile};
/// let plan = Plan::generate(7, Profile::Default);
/// let wires = plan.clients.iter().filter(|client| client.kind == ClientKind::Wire);
/// assert!(wires.count() <= plan.clients.len());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Its host's name.
    pub name: String,
    /// What it is.
    pub kind: ClientKind,
    /// The server that it reaches, or reaches first.
    pub server: u32,
    /// How its connections behave.
    #[serde(default)]
    pub link: LinkPlan,
}

/// What a client is.
///
/// ```
/// assert_ne!(asyncserver_sim::ClientKind::Wire, asyncserver_sim::ClientKind::Caller { retries: 1, negotiates: true });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// It writes bytes as it is told, right ones or wrong ones.
    Wire,
    /// A `Client` of the library, which fails over to every server.
    Caller {
        /// How often it tries again by itself.
        retries: u32,
        /// Whether it negotiates.
        negotiates: bool,
    },
}

/// Something that a client or a server's program does.
///
/// ```
/// use asyncserver_sim::Event;
/// let event: Event = serde_json::from_str(
///     r#"{"id": 3, "at_ms": 10, "client": "wire-0", "do": {"wire": {"op": "half_close"}}}"#,
/// ).unwrap();
/// assert_eq!(event.at_ms, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its stable id.
    pub id: u32,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// Whose it is.
    pub client: String,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What a client does.
///
/// ```
/// use asyncserver_sim::Action;
/// assert_eq!(serde_json::to_string(&Action::KeepAlive).unwrap(), r#""keep_alive""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A wire client, its network, its tasks, or the server's program with its handle.
    Wire(Op),
    /// A wire client connects again, where its connection is over.
    Reconnect,
    /// A caller calls.
    Call {
        /// What for; each call of a plan has a message of its own.
        ask: Ask,
        /// Whether it may run twice.
        idempotent: bool,
        /// Its response timeout, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// A caller cancels the call of this event.
    CancelCall(u32),
    /// A caller drops the call of this event.
    DropCall(u32),
    /// A caller asks for a sign of life.
    KeepAlive,
    /// A caller closes.
    CloseClient {
        /// What it waits for its calls, in milliseconds.
        within_ms: u64,
    },
}

/// Something that goes wrong at a time.
///
/// ```
/// use asyncserver_sim::{TimedFault, Trouble};
/// let fault: TimedFault = serde_json::from_str(
///     r#"{"id": 1, "at_ms": 5, "trouble": {"fail_accepts": {"server": 0, "count": 2}}}"#,
/// ).unwrap();
/// assert_eq!(fault.trouble, Trouble::FailAccepts { server: 0, count: 2 });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedFault {
    /// Its stable id.
    pub id: u32,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What.
    pub trouble: Trouble,
}

/// What goes wrong: with a host, or between two.
///
/// ```
/// use asyncserver_sim::Trouble;
/// assert_eq!(Trouble::FailAccepts { server: 0, count: 1 }.kind(), "fail_accepts");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing passes from a client to a server and back, in one direction or both.
    Cut {
        /// The client's name.
        client: String,
        /// The server.
        server: u32,
        /// Whose bytes are lost; both where it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<Writer>,
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// A fault of every connection between the two, for good.
    Strike {
        /// The client's name.
        client: String,
        /// The server.
        server: u32,
        /// The end whose bytes it strikes.
        writer: Writer,
        /// What.
        fault: Fault,
    },
    /// A server goes down at once.
    Crash {
        /// The server.
        server: u32,
        /// How.
        how: Crash,
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// A server is shut down gracefully, and started again.
    Restart {
        /// The server.
        server: u32,
        /// The shutdown's duration, in milliseconds.
        within_ms: u64,
        /// The pause behind it, in milliseconds.
        for_ms: u64,
    },
    /// A server lets nobody in.
    Door {
        /// The server.
        server: u32,
        /// How.
        door: Door,
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// The next accepts of a server fail.
    FailAccepts {
        /// The server.
        server: u32,
        /// How many.
        count: u32,
    },
}

/// Whose bytes a fault is about.
///
/// ```
/// use asyncserver_sim::{End, Writer};
/// assert_eq!(End::from(Writer::Client), End::Client);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

impl From<Writer> for End {
    fn from(writer: Writer) -> Self {
        match writer {
            Writer::Client => Self::Client,
            Writer::Server => Self::Server,
        }
    }
}

impl Trouble {
    /// The name of its kind, as in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Strike { .. } => "strike",
            Self::Crash { .. } => "crash",
            Self::Restart { .. } => "restart",
            Self::Door { .. } => "door",
            Self::FailAccepts { .. } => "fail_accepts",
        }
    }
}

/// The two phases of a run: safety with faults, then liveness without.
///
/// ```
/// let phases: asyncserver_sim::Phases = serde_json::from_str(r#"{"calm_at_ms": 500}"#).unwrap();
/// assert_eq!(phases.budget_ms, 120_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// When everything is healed.
    pub calm_at_ms: u64,
    /// How long nothing may go on after that while something is left to do.
    #[serde(default = "budget_ms")]
    pub budget_ms: u64,
}

const fn budget_ms() -> u64 {
    120_000
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The plan as text for people.
    ///
    /// # Panics
    /// Never: a plan has nothing that JSON has not.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("every plan is JSON")
    }

    /// How many events and faults it has, those at a byte included.
    #[must_use]
    pub fn len(&self) -> usize {
        let links = self.clients.iter().map(|client| &client.link);
        let at_bytes =
            links.map(|link| link.to_server.at_bytes.len() + link.to_client.at_bytes.len());
        self.events.len() + self.faults.len() + at_bytes.sum::<usize>()
    }

    /// Whether nothing happens in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
