//! What a client's driver, its tasks and its handles share.
//!
//! Invariants:
//! 1. `state` is the lock of a connection; `inbox` may be taken under it, and nothing
//!    under that. No user code runs under either, the clock and `Waker::clone` aside.
//! 2. Wakers are woken, observers told, and what tasks leave behind is dropped
//!    after it is released.
//! 3. The driver is `Parked` only if nothing was found to do *under the same
//!    lock*; whoever changes anything that concerns it takes its waker, once.
//! 4. Who orders counts the order before it looks for the run function's waker, and
//!    the run function leaves its waker before it looks at the count: none is lost
//!    between the two.
//! 5. Results in the inbox have a driver that has been noticed, or is about to be by
//!    whoever left the first of them; behind its end nothing is left there.
//! 6. A runner, a group's too, leaves its waker in its mailbox before it can be found
//!    idle. A mailbox's lock is never taken together with another; only `Waker::clone`
//!    runs under it.
//!
//! Each side has a file: `for_driver` (and `parking`), `for_tasks`, `reader`, `for_handles`;
//! `inbox` and `idle_runners` are between tasks and driver.

mod effects;
mod for_driver;
mod for_handles;
mod for_tasks;
mod idle_runners;
mod inbox;
mod logs;
mod parking;
mod pended;
mod reader;
mod record;
mod registrations;
mod slots;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use self::effects::{AfterUnlock, Telling};
pub(crate) use self::for_driver::{Batch, Fetched, News, TurnEnd, WhileMoreComes};
pub(crate) use self::idle_runners::Idle;
use self::inbox::Inbox;
pub(crate) use self::inbox::Runners;
use self::parking::notice;
use self::pended::Pended;
use self::reader::ReaderState;
pub(crate) use self::record::{Ended, Finished, RunnerOrder, TaskRecord};
use super::client::ClientContext;
use super::observe::{Event, Observer};
use super::registry::Table;
use crate::proto::{Connection, ConnectionReport};
use crate::sync::{Mutex, MutexGuard, OrderCount};

/// One connection's shared state. Cheap to clone: every clone is the same session.
#[derive(Clone)]
pub(crate) struct Session(Arc<Shared>);

/// In this order, so that what every run function looks at does not share its place in
/// the processors' caches with what each of them writes to.
#[repr(C)]
struct Shared {
    state: Mutex<State>,
    /// Counts orders to run functions, which look for one without the lock.
    orders: OrderCount,
    client: ClientContext,
    /// What run functions elsewhere leave for the driver.
    inbox: Mutex<Inbox>,
}

/// Where the driver is.
enum Driver {
    /// Its turn runs, or is scheduled.
    Busy(Noticed),
    /// Its waker is in the state.
    Parked,
    Gone,
}

/// Whether anything has happened since the driver last looked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noticed {
    Nothing,
    Something,
}

pub(crate) struct State {
    pub(crate) connection: Connection<TaskRecord>,
    driver: Driver,
    /// Wakes the driver once it is parked. Kept from one park to the next: most turns
    /// are the transport's wish.
    driver_waker: Option<Waker>,
    /// On the heap: most connections never have one.
    reader: Option<Box<ReaderState>>,
    for_driver: News,
    /// What the server's L7 counts of this connection.
    counted_unsent: usize,
    /// What the server's L16 counts of the message bytes that its tasks hold.
    counted_held: usize,
    /// Places of L6 that ended tasks left, for the next ones of the same turn:
    /// given back before what they answered is written.
    spare_places: usize,
    /// On the heap: most connections never have one.
    pended: Option<Box<Pended>>,
    /// What is registered, as the driver last saw it.
    table: Table,
    /// Run functions that have an executor task each, and whose results have not been
    /// committed: while there are some, a write waits for them one turn.
    pub(crate) single_runners: usize,
    observer: Arc<dyn Observer>,
    /// It is the one that watches nothing: it need not be asked.
    observer_is_silent: bool,
    observer_has_panicked: bool,
    /// What it has not been told, oldest first, and whether somebody is telling it.
    events: VecDeque<Event>,
    telling: Telling,
    /// Rules of limits that were warned of: a peer must not fill the log.
    warned: Vec<&'static str>,
    span: tracing::Span,
}

impl State {
    fn pended(&mut self) -> &mut Pended {
        self.pended.get_or_insert_default()
    }
}

impl Session {
    pub(crate) fn new(
        connection: Connection<TaskRecord>,
        client: ClientContext,
        observer: Arc<dyn Observer>,
        span: tracing::Span,
    ) -> Self {
        let (table, _) = client.server.registry.table();
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                connection,
                driver: Driver::Busy(Noticed::Nothing),
                driver_waker: None,
                reader: None,
                for_driver: None,
                counted_unsent: 0,
                counted_held: 0,
                spare_places: 0,
                pended: None,
                table,
                single_runners: 0,
                observer_is_silent: observer.is_silent(),
                observer,
                observer_has_panicked: false,
                events: VecDeque::new(),
                telling: Telling::Nobody,
                warned: Vec::new(),
                span,
            }),
            inbox: Mutex::new(Inbox::default()),
            orders: OrderCount::new(),
            client,
        }))
    }

    /// Whose session it is.
    pub(crate) fn client(&self) -> &ClientContext {
        &self.0.client
    }

    /// Whether both are the session of one connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// For a look, or a change that concerns nobody else.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// The one way to change the state. What `change` causes is carried out before
    /// the lock is released (orders, counts) or after (wakers, drops, events).
    #[inline]
    fn with<R>(&self, change: impl FnOnce(&mut State, &mut AfterUnlock) -> R) -> R {
        let mut after = AfterUnlock::kept();
        let result = {
            let mut state = self.lock();
            let result = change(&mut state, &mut after);
            if state.connection.has_actions() {
                self.carry_out(&mut state, &mut after);
            }
            self.count(&mut state, &mut after);
            after.undertake_telling(&mut state);
            result
        };
        if !after.is_nothing() {
            after.act(self);
        }
        after.keep();
        result
    }

    /// Has the observer told of this, behind all that has happened before.
    pub(crate) fn tell(&self, event: Event) {
        self.with(|state, _| state.push_event(event));
    }

    /// Has the observer told of the connection's end, behind which nothing
    /// happens any more; then the server's list is left.
    pub(crate) fn tell_end(&self, report: ConnectionReport) {
        let end = Event::Closed(Box::new(report));
        // An observer that is silent still has the list left.
        self.with(|state, _| state.events.push_back(end));
    }

    /// [`with`](Self::with) for the driver itself, which needs no waking.
    #[inline]
    pub(crate) fn drive<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.with(|state, _| change(state))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", self.client())
            .finish_non_exhaustive()
    }
}
