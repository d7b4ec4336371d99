//! Client against server: what a call ends as agrees with what really ran.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use asyncserver::client::Started;
use asyncserver::server::{
    ConnectionOptions, ConnectionReport, Limits, OnCancel, Registration, Server, TaskContext,
    TaskError,
};
use asyncserver::wire::{ErrorCode, TaskCode};
use harness::suite::Suite;
use harness::{Network, memory};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::sleep;

use super::*;

/// Under Drop, and under Cooperate.
const CODES: [u8; 2] = [1, 2];

/// A task's own error.
const OWN_ERROR: ErrorCode = ErrorCode(7);

/// What a call's task does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Returns,
    Fails,
    Panics,
    Breaks,
}

#[derive(Clone, Debug)]
enum Action {
    Call {
        code: u8,
        ms: u64,
        then: Then,
        bytes: usize,
        idempotent: bool,
    },
    KeepAlive,
    /// The nth last call.
    Cancel(usize),
    Drop(usize),
    Reset,
    /// The server sees the client leave, and the client nothing.
    FailServer,
    ServerDisconnect(u64),
    ServerClose,
    /// Connecting fails from now on, or works again.
    Refuse,
    Accept,
    CloseClient(u64),
}

/// A case.
#[derive(Clone, Debug)]
struct Plan {
    in_flight: usize,
    tasks: usize,
    buffer_bytes: usize,
    base_protocol: bool,
    actions: Vec<(u64, Action)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let then = prop_oneof![
        8 => Just(Then::Returns),
        2 => Just(Then::Fails),
        1 => Just(Then::Panics),
        1 => Just(Then::Breaks),
    ];
    let call = (0..2usize, 0..300u64, then, 0..3000usize, any::<bool>()).prop_map(
        |(code, ms, then, bytes, idempotent)| Action::Call {
            code: CODES[code],
            ms,
            then,
            bytes,
            idempotent,
        },
    );
    let action = prop_oneof![
        12 => call,
        1 => Just(Action::KeepAlive),
        2 => (0..4usize).prop_map(Action::Cancel),
        2 => (0..4usize).prop_map(Action::Drop),
        1 => Just(Action::Reset),
        1 => Just(Action::FailServer),
        1 => (0..400u64).prop_map(Action::ServerDisconnect),
        1 => Just(Action::ServerClose),
        1 => Just(Action::Refuse),
        2 => Just(Action::Accept),
        1 => (0..400u64).prop_map(Action::CloseClient),
    ];
    let pause = prop_oneof![4 => Just(0), 3 => 1..40u64, 1 => 40..900u64];
    (
        prop_oneof![Just(1usize), Just(3), Just(1024)],
        prop_oneof![1 => Just(2usize), 4 => Just(1024)],
        prop_oneof![1 => Just(16usize), 3 => Just(1 << 16)],
        proptest::bool::weighted(0.2),
        vec((pause, action), 1..25),
    )
        .prop_map(
            |(in_flight, tasks, buffer_bytes, base_protocol, actions)| Plan {
                in_flight,
                tasks,
                buffer_bytes,
                base_protocol,
                actions,
            },
        )
}

/// How often the task of each call started.
type Runs = Arc<Mutex<BTreeMap<u32, u32>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a call says: its number, how long it takes, how it ends, and a filling.
fn message(number: u32, ms: u64, then: Then, bytes: usize) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend((ms as u32).to_be_bytes());
    message.push(then as u8);
    message.resize(message.len() + bytes, 1);
    message
}

async fn work(runs: Runs, message: Bytes) -> Result<Bytes, TaskError> {
    let number = |at: usize| u32::from_be_bytes(*message[at..].first_chunk().expect("four"));
    *lock(&runs).entry(number(0)).or_insert(0) += 1;
    sleep(ms(number(4).into())).await;
    match message[8] {
        0 => Ok(message),
        1 => Err(TaskError::code_only(OWN_ERROR)),
        2 => std::panic::resume_unwind(Box::new("it was asked to panic")),
        _ => Err(TaskError::fatal("it was asked to break")),
    }
}

/// The server, and what clients reach it by.
#[derive(Clone)]
struct Site {
    server: Server,
    executor: Arc<WatchedExecutor>,
    buffer_bytes: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    refuses: bool,
    networks: Vec<Arc<dyn Network>>,
    reports: Vec<ConnectionReport>,
}

impl Site {
    fn new(plan: &Plan, runs: &Runs, executor: &Arc<WatchedExecutor>) -> Self {
        let mut limits = Limits::default();
        limits.in_flight_limit = plan.in_flight;
        limits.task_limit = plan.tasks;
        let registration = || {
            let runs = Arc::clone(runs);
            Registration::task(move |_: TaskContext, message| work(Arc::clone(&runs), message))
        };
        let grace = ms(100);
        let server = Server::builder()
            .limits(limits)
            .executor(WatchedExecutor::clone(executor))
            .register(TaskCode(CODES[0]), "drops", registration())
            .register(
                TaskCode(CODES[1]),
                "cooperates",
                registration().on_cancel(OnCancel::Cooperate { grace }),
            )
            .build();
        Self {
            server,
            executor: Arc::clone(executor),
            buffer_bytes: plan.buffer_bytes,
            open: Arc::default(),
        }
    }

    async fn connect(self) -> std::io::Result<harness::ClientEnd> {
        if lock(&self.open).refuses {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let link = memory(self.buffer_bytes, || ());
        lock(&self.open).networks.push(link.network);
        let (server, open) = (self.server.clone(), Arc::clone(&self.open));
        let serve = async move {
            let options = ConnectionOptions::default();
            let report = server.handle_connection(link.server, options).await;
            lock(&open).reports.push(report);
        };
        asyncserver::runtime::Executor::spawn(&*self.executor, Box::pin(serve));
        Ok(link.client)
    }
}

/// A call that was made, and how it may end.
struct Made {
    number: u32,
    then: Then,
    expected: Vec<u8>,
    idempotent: bool,
    running: Running,
}

async fn play(plan: Plan) -> Result<(), String> {
    let (world, executor) = watched();
    let runs = Runs::default();
    let site = Site::new(&plan, &runs, &executor);
    let connects = site.clone();
    let mut builder = client(&executor)
        .connector(move |_: Address| connects.clone().connect())
        .retries(4);
    if plan.base_protocol {
        builder = builder.negotiation(asyncserver::client::Negotiation::Skip);
    }
    let client = builder.build();
    let mut made: Vec<Made> = Vec::new();
    let mut alive = Vec::new();
    for (number, (pause, action)) in plan.actions.iter().enumerate() {
        sleep(ms(*pause)).await;
        let back = |nth: usize, made: &[Made]| made.len().checked_sub(nth + 1);
        match *action {
            Action::Call {
                code,
                ms,
                then,
                bytes,
                idempotent,
            } => {
                let number = number as u32;
                let expected = message(number, ms, then, bytes);
                let mut request = client.request(code).message(expected.clone());
                if idempotent {
                    request = request.idempotent();
                }
                made.push(Made {
                    number,
                    then,
                    expected,
                    idempotent,
                    running: Running::start(request.submit()),
                });
            }
            Action::KeepAlive => {
                let client = client.clone();
                alive.push(tokio::spawn(async move { client.keep_alive().await }));
            }
            Action::Cancel(nth) => {
                if let Some(index) = back(nth, &made) {
                    made[index].running.cancel();
                }
            }
            Action::Drop(nth) => {
                if let Some(index) = back(nth, &made) {
                    made[index].running.drop_it();
                }
            }
            Action::Reset => lock(&site.open).networks.iter().for_each(|n| n.reset()),
            Action::FailServer => lock(&site.open)
                .networks
                .iter()
                .for_each(|n| n.fail_server(0)),
            Action::ServerDisconnect(after) => site.server.disconnect(ms(after)),
            Action::ServerClose => site.server.clients().iter().for_each(|c| c.close()),
            Action::Refuse => lock(&site.open).refuses = true,
            Action::Accept => lock(&site.open).refuses = false,
            Action::CloseClient(within) => drop(client.close(ms(within))),
        }
    }
    for made in made {
        check(made, &runs).await?;
    }
    for alive in alive {
        let ended = timeout(NEVER, alive).await;
        drop(ended.map_err(|_| "a KeepAlive does not end")?);
    }
    demand_order(&world, client).await?;
    sleep(ms(60_000)).await;
    let reports = &lock(&site.open).reports;
    if let Some(report) = reports.iter().find(|report| !report.counts.add_up()) {
        return Err(format!("a report does not add up: {report:?}"));
    }
    let (clients, tasks) = (site.server.client_count(), site.server.task_count());
    if (clients, tasks) != (0, 0) {
        return Err(format!("{clients} clients and {tasks} tasks are left"));
    }
    Ok(())
}

/// A call's end agrees with how often its task ran.
async fn check(made: Made, runs: &Runs) -> Result<(), String> {
    let Made {
        number,
        then,
        expected,
        idempotent,
        running,
    } = made;
    let ended = running.ended().await;
    let ended = ended.map_err(|why| format!("call {number}: {why}"))?;
    let ran = lock(runs).get(&number).copied().unwrap_or(0);
    let wrong = |what: &str| Err(format!("call {number} ran {ran} times, {what}: {ended:?}"));
    if ran > 1 && !idempotent {
        return wrong("and may be run once");
    }
    match &ended {
        None => Ok(()),
        Some(Ok(body)) if ran == 0 || then != Then::Returns || *body != expected => {
            wrong("and has another result")
        }
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) if error.started() == Started::No && ran > 0 && !idempotent => {
            wrong("and is told that it never started")
        }
        Some(Err(CallError::Protocol { .. } | CallError::NotTaken { .. })) => {
            wrong("and no rule was broken")
        }
        Some(Err(CallError::Server { code })) => {
            let own = match then {
                Then::Fails => *code == OWN_ERROR,
                Then::Panics => *code == ErrorCode::PANICKED,
                Then::Returns | Then::Breaks => false,
            };
            if (own && ran > 0) || *code == ErrorCode::UNAVAILABLE {
                return Ok(());
            }
            wrong("and has another error")
        }
        Some(Err(_)) => Ok(()),
    }
}

#[test]
fn calls_end_as_what_became_of_them() {
    let suite = Suite {
        name: "client_against_server",
        cases: 1500,
    };
    let judged = suite.run(&plans(), |plan| under_paused_time(play(plan.clone())));
    if let Err((why, plan)) = judged {
        panic!("{why}\n{plan:#?}");
    }
}
