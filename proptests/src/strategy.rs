//! Scenarios by chance, swarm style: each picks a few kinds of steps, so that
//! a case does much of little; ids are few, so that they collide and are used
//! again; limits are often small, so that they are reached.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;

mod themes;

pub use self::themes::Theme;
use crate::history::{BodyEnd, RunEnd};
use crate::op::{Op, Piece, Scenario, Step, Then};
use crate::request::{Ask, Blocks, Request};
use crate::{Config, Limits, Neighbours, OnHalfClose, Order, Timeouts, Tolerance, scripted_tasks};

/// Every kind of [`Op`] from which a scenario picks.
pub const KINDS: [&str; 26] = [
    "send",
    "send_together",
    "cut",
    "garbage",
    "half_close",
    "leave",
    "reset",
    "stop_reading",
    "read_slowly",
    "read_all",
    "stall_writing",
    "stall_reading",
    "unstall",
    "transport_error",
    "list",
    "cancel",
    "cancel_all",
    "disconnect",
    "server_disconnect",
    "end_context",
    "close",
    "drop_connection",
    "shutdown",
    "complete",
    "complete_body",
    "pass",
];

/// Whole scenarios of at most `steps` steps: of any kind, or of a [`Theme`].
pub fn scenarios(steps: usize) -> impl Strategy<Value = Scenario> {
    let themed = Theme::ALL.map(|theme| (1, theme.scenarios(steps).boxed()));
    let any = (4, any_scenarios(steps).boxed());
    Union::new_weighted(themed.into_iter().chain([any]).collect())
}

/// Scenarios of any few kinds of steps and requests.
pub fn any_scenarios(steps: usize) -> impl Strategy<Value = Scenario> {
    let swarm = subsequence(KINDS.to_vec(), 1..=8);
    (configs(), swarm, subsequence(asks(), 1..=6)).prop_flat_map(move |(config, kinds, asks)| {
        // Without requests nothing happens.
        let kinds = [kinds, vec!["send"; 3], vec!["complete"]].concat();
        timed(kinds, asks, steps).prop_map(move |timed| scenario(config.clone(), timed))
    })
}

/// Steps of these kinds with these requests.
fn timed(
    kinds: Vec<&'static str>,
    asks: Vec<AskStrategy>,
    steps: usize,
) -> impl Strategy<Value = Vec<(u64, Op)>> {
    let op = select(kinds).prop_flat_map(move |kind| op(kind, &asks));
    vec((pauses(), op), 1..=steps)
}

fn scenario(config: Config, timed: Vec<(u64, Op)>) -> Scenario {
    let mut steps = in_time(timed);
    aim(&mut steps);
    if config.transport_buffer_bytes < SMALL_BUFFER {
        steps.iter_mut().for_each(|step| shorten(&mut step.op));
    }
    Scenario {
        about: String::new(),
        config,
        steps,
    }
}

/// Most cancels and completions are for ids that had been sent before: a small id
/// stands for one of the last ids.
fn aim(steps: &mut [Step]) {
    let mut sent = Vec::new();
    for step in steps {
        let requests = match &mut step.op {
            Op::Send { request, .. } => std::slice::from_mut(request),
            Op::SendTogether { requests } => requests,
            Op::Cancel { id } | Op::Complete { id, .. } | Op::CompleteBody { id, .. } => {
                *id = aimed(*id, &sent);
                continue;
            }
            _ => continue,
        };
        for request in requests {
            if matches!(request.ask, Ask::Cancel(_)) {
                request.id = aimed(request.id, &sent);
            } else {
                sent.push(request.id);
            }
        }
    }
}

fn aimed(id: u32, sent: &[u32]) -> u32 {
    let back = (id as usize).min(sent.len());
    // The last small id stays what it is, so that cancels of nothing happen.
    let last = if id < 5 { back + 1 } else { usize::MAX };
    let index = sent.len().checked_sub(last);
    index.map_or(id, |index| sent[index])
}

/// A transport that takes fewer bytes at once gets only short messages: each
/// byte is a turn of the server.
const SMALL_BUFFER: usize = 64;

/// The longest message and body under [`SMALL_BUFFER`].
const SHORT_BYTES: usize = 3000;

fn shorten(op: &mut Op) {
    match op {
        Op::Send { request, .. } | Op::Cut { request, .. } => shorten_ask(&mut request.ask),
        Op::SendTogether { requests } => {
            let asks = requests.iter_mut().map(|request| &mut request.ask);
            asks.for_each(shorten_ask);
        }
        Op::Complete {
            how: RunEnd::Whole { bytes } | RunEnd::Streamed { bytes, .. },
            ..
        } => *bytes = (*bytes).min(SHORT_BYTES),
        _ => {}
    }
}

fn shorten_ask(ask: &mut Ask) {
    match ask {
        Ask::Echo(bytes)
        | Ask::Sleep { rest: bytes, .. }
        | Ask::Nothing(bytes)
        | Ask::Reject(bytes)
        | Ask::Digest(bytes)
        | Ask::First(bytes)
        | Ask::Scripted { bytes, .. }
        | Ask::Unknown { bytes, .. }
        | Ask::KeepAlive(bytes) => *bytes = (*bytes).min(SHORT_BYTES),
        Ask::Produce(bytes) | Ask::Tear(bytes) => *bytes = (*bytes).min(SHORT_BYTES as u32),
        _ => {}
    }
}

fn in_time(timed: Vec<(u64, Op)>) -> Vec<Step> {
    let mut at_ms = 0;
    let step = |(pause, op)| {
        at_ms += pause;
        Step { at_ms, op }
    };
    timed.into_iter().map(step).collect()
}

/// Pauses between steps, in milliseconds: mostly none, so that things meet.
fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0), 3 => 1..50u64, 2 => 50..700u64, 1 => 700..9000u64]
}

/// Ids: few.
pub fn ids() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..6u32, 1 => any::<u32>()]
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..20usize,
        2 => 250..260usize,
        2 => 500..2000usize,
        1 => Just(4096),
        1 => 60_000..70_000usize,
    ]
}

fn times() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 4 => 1..400u32, 1 => 400..4000u32]
}

type AskStrategy = BoxedStrategy<Ask>;

/// Every kind of request; a swarm picks some.
fn asks() -> Vec<AskStrategy> {
    let scripted =
        || (20..=27u8, 0..40usize).prop_map(|(code, bytes)| Ask::Scripted { code, bytes });
    let negotiate = (0..4u8, 0..8u32, select(vec![0, 4, 5, 5, 5, 5, 9])).prop_map(
        |(version, features, bytes)| Ask::Negotiate {
            version,
            features,
            bytes,
        },
    );
    let unknown = (select(vec![0, 99, 249, 253, 254, 255]), sizes())
        .prop_map(|(code, bytes)| Ask::Unknown { code, bytes });
    vec![
        scripted().boxed(),
        scripted().boxed(),
        scripted().boxed(),
        sizes().prop_map(Ask::Echo).boxed(),
        (times(), sizes())
            .prop_map(|(ms, rest)| Ask::Sleep { ms, rest })
            .boxed(),
        any::<u8>().prop_map(Ask::Fail).boxed(),
        sizes().prop_map(|n| Ask::Produce(n as u32)).boxed(),
        (60_000..400_000u32).prop_map(Ask::Produce).boxed(),
        Just(Ask::Panic).boxed(),
        sizes().prop_map(Ask::Nothing).boxed(),
        sizes().prop_map(Ask::Reject).boxed(),
        Just(Ask::Break).boxed(),
        sizes().prop_map(|n| Ask::Tear(n as u32)).boxed(),
        sizes().prop_map(Ask::Digest).boxed(),
        sizes().prop_map(Ask::First).boxed(),
        times().prop_map(Ask::Tidy).boxed(),
        Just(Ask::Tasks).boxed(),
        times().prop_map(Ask::Limited).boxed(),
        unknown.boxed(),
        sizes().prop_map(Ask::KeepAlive).boxed(),
        (0..3usize).prop_map(Ask::Cancel).boxed(),
        (0..3usize).prop_map(Ask::Cancel).boxed(),
        negotiate.boxed(),
        (1..16u8, vec(any::<u8>(), 0..6))
            .prop_map(|(code, mut message)| {
                // Four bytes would ask for gigabytes of a body.
                let most = if [4, 9].contains(&code) { 3 } else { 6 };
                message.truncate(most);
                let message = message.into();
                Ask::Raw { code, message }
            })
            .boxed(),
    ]
}

/// Requests, of any kind and cut into any blocks.
pub fn requests() -> impl Strategy<Value = Request> {
    requests_of(&asks())
}

fn requests_of(asks: &[AskStrategy]) -> BoxedStrategy<Request> {
    let blocks = prop_oneof![
        3 => Just(Blocks::Full),
        1 => vec(1..=255u8, 1..4).prop_map(Blocks::Sizes),
    ];
    let ask = select(asks.to_vec()).prop_flat_map(|ask| ask);
    (ids(), ask, blocks)
        .prop_map(|(id, ask, blocks)| Request { id, ask, blocks })
        .boxed()
}

/// How scripted tasks end.
pub fn run_ends() -> impl Strategy<Value = RunEnd> {
    let streamed =
        (sizes(), body_ends()).prop_map(|(bytes, then)| RunEnd::Streamed { bytes, then });
    prop_oneof![
        4 => sizes().prop_map(|bytes| RunEnd::Whole { bytes }),
        3 => streamed,
        2 => any::<u8>().prop_map(|code| RunEnd::Coded { code }),
        1 => Just(RunEnd::Panicked),
        1 => Just(RunEnd::Uncoded),
    ]
}

fn body_ends() -> impl Strategy<Value = BodyEnd> {
    prop_oneof![
        4 => Just(BodyEnd::Whole),
        1 => any::<u8>().prop_map(|code| BodyEnd::Coded { code }),
        1 => Just(BodyEnd::Torn),
        1 => Just(BodyEnd::Panicked),
        1 => Just(BodyEnd::Stalls),
    ]
}

/// One step of a kind of [`KINDS`].
fn op(kind: &str, asks: &[AskStrategy]) -> BoxedStrategy<Op> {
    let after =
        || prop_oneof![1 => Just(0), 3 => 1..600u64, 1 => 600..20_000u64, 1 => Just(u64::MAX)];
    let request = || requests_of(asks);
    let piece = (0..40usize, pauses()).prop_map(|(bytes, then_ms)| Piece { bytes, then_ms });
    let then = select(vec![Then::EndOfStream, Then::Reset, Then::Silence]);
    match kind {
        "send" => (request(), vec(piece, 0..4))
            .prop_map(|(request, pieces)| Op::Send { request, pieces })
            .boxed(),
        "send_together" => vec(request(), 2..8)
            .prop_map(|requests| Op::SendTogether { requests })
            .boxed(),
        "cut" => (request(), 0..30usize, then)
            .prop_map(|(request, bytes, then)| Op::Cut {
                request,
                bytes,
                then,
            })
            .boxed(),
        "cut_header" => (request(), 0..8usize)
            .prop_map(|(request, bytes)| Op::Cut {
                request,
                bytes,
                then: Then::Silence,
            })
            .boxed(),
        "garbage" => vec(any::<u8>(), 1..60)
            .prop_map(|bytes| Op::Garbage {
                bytes: bytes.into(),
            })
            .boxed(),
        "read_slowly" => (1..200usize, 1..500u64)
            .prop_map(|(bytes, every_ms)| Op::ReadSlowly { bytes, every_ms })
            .boxed(),
        "cancel" => ids().prop_map(|id| Op::Cancel { id }).boxed(),
        "disconnect" => after()
            .prop_map(|after_ms| Op::Disconnect { after_ms })
            .boxed(),
        "server_disconnect" => after()
            .prop_map(|after_ms| Op::ServerDisconnect { after_ms })
            .boxed(),
        "shutdown" => after()
            .prop_map(|after_ms| Op::Shutdown { after_ms })
            .boxed(),
        "complete" => (ids(), run_ends())
            .prop_map(|(id, how)| Op::Complete { id, how })
            .boxed(),
        "complete_body" => (ids(), body_ends())
            .prop_map(|(id, how)| Op::CompleteBody { id, how })
            .boxed(),
        plain => Just(plain_op(plain)).boxed(),
    }
}

/// The steps that have nothing but a name.
fn plain_op(kind: &str) -> Op {
    match kind {
        "half_close" => Op::HalfClose,
        "leave" => Op::Leave,
        "reset" => Op::Reset,
        "stop_reading" => Op::StopReading,
        "read_all" => Op::ReadAll,
        "stall_writing" => Op::StallWriting,
        "stall_reading" => Op::StallReading,
        "unstall" => Op::Unstall,
        "transport_error" => Op::TransportError { after_bytes: 0 },
        "list" => Op::List,
        "cancel_all" => Op::CancelAll,
        "end_context" => Op::EndContext,
        "close" => Op::Close,
        "drop_connection" => Op::DropConnection,
        _ => Op::Pass,
    }
}

/// Settings: often PROTOCOL's own, often small ones.
pub fn configs() -> impl Strategy<Value = Config> {
    let order = select(vec![Order::Big, Order::Little]);
    let half_close = select(vec![OnHalfClose::Leave, OnHalfClose::Drain]);
    let buffer = select(vec![1, 7, 64, 1024, 1024, 1 << 16, 1 << 16]);
    (
        order,
        half_close,
        option::of(0..4u32),
        limits(),
        timeouts(),
        buffer,
    )
        .prop_map(
            |(byte_order, on_half_close, negotiate, limits, timeouts, transport_buffer_bytes)| {
                Config {
                    byte_order,
                    on_half_close,
                    negotiate,
                    limits,
                    timeouts,
                    tasks: scripted_tasks(),
                    transport_buffer_bytes,
                    neighbours: Neighbours::None,
                    tolerance: Tolerance::default(),
                }
            },
        )
}

fn limits() -> impl Strategy<Value = Limits> {
    let d = Limits::default();
    fn or(default: usize, small: Vec<usize>) -> impl Strategy<Value = usize> {
        prop_oneof![2 => Just(default), 1 => select(small)]
    }
    (
        or(d.message_bytes, vec![0, 10, 300, 5000]),
        or(d.in_flight, vec![1, 2, 3]),
        or(d.tasks, vec![0, 1, 2, 3]),
        or(d.unsent_bytes, vec![1, 100, 5000]),
        or(d.held_bytes, vec![1, 30, 1000]),
        or(d.server_held_bytes, vec![0, 30, 1000]),
    )
        .prop_map(
            move |(message, in_flight, tasks, unsent, held, server_held)| Limits {
                message_bytes: message,
                in_flight,
                tasks,
                unsent_bytes: unsent,
                held_bytes: held,
                server_held_bytes: server_held,
                ..d
            },
        )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let d = Timeouts::default();
    let or = |default: u64| prop_oneof![2 => Just(default), 1 => 50..800u64];
    (
        (or(d.wait_ms), or(d.read_ms), or(d.write_ms), or(d.grace_ms)),
        (or(d.linger_ms), or(d.body_ms), or(d.processing_ms)),
    )
        .prop_map(
            move |((wait, read, write, grace), (linger, body, processing))| Timeouts {
                wait_ms: wait,
                read_ms: read,
                write_ms: write,
                grace_ms: grace,
                linger_ms: linger,
                body_ms: body,
                processing_ms: processing,
                ..d
            },
        )
}
