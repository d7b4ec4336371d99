//! What can happen to a connection, as data, and how it is generated.

use std::collections::BTreeMap;

use oracle::model::codec;
use oracle::model::connection::{
    BodyStep, Instead, Outcome, Registration, Returned, Settings, pattern,
};
use oracle::model::ledger::{Kind, Policy};
use oracle::model::suite::{self};
use oracle::model::time::{Jump, Nanos, SECOND, jumps, lengths};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::beginnings::prelude;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) settings: Settings,
    pub(crate) server_places: usize,
    pub(crate) ops: Vec<Op>,
}

/// What can happen to a connection. Tasks are named by their place among those
/// that are there, counted from the last; from 100 on, among all that ever were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    /// The clock goes on, behind the end of a turn.
    Pass(Jump),
    EndTurn,
    /// The client sends; nothing has arrived yet.
    Send(Request),
    SendBytes(Vec<u8>),
    /// So many bytes of what was sent arrive, and are looked at.
    Arrive(usize),
    /// All but so many bytes of it arrive.
    Part(Request, usize),
    /// The client sends, and all arrives.
    Request(Request),
    Look,
    EndOfStream,
    Reset,
    /// The task function.
    Take(usize),
    Progress {
        has_asked: bool,
        waits: bool,
    },
    Return(Returned),
    /// As above, of one that must not go on.
    ReturnLate(usize, Returned),
    /// A task's code panicked; whether requests are watched.
    Panicked,
    Watch(bool),
    /// What the transport took is passed on, or not yet.
    Flushed(bool),
    HalfClosed,
    /// Run functions and bodies.
    StartBlocking(usize),
    Finish(usize, Outcome),
    BeginBody(usize),
    /// It ends with a body, which takes its turn at once if it may.
    Answer(usize),
    Body(usize, BodyStep),
    /// The server's program.
    Cancel(usize),
    CancelAll,
    Disconnect(Nanos),
    Close,
    /// The transport takes so many hundredths of what there is.
    Written(usize),
    ServerFull(bool),
    /// Other connections take all but so many of the server's places.
    ServerPlaces(usize),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) code: u8,
    pub(crate) id: u32,
    /// Of what is not a Negotiate.
    pub(crate) length: usize,
    pub(crate) blocks: Vec<u8>,
    pub(crate) version: u8,
    pub(crate) features: u8,
}

impl Request {
    pub(crate) fn bytes(&self, settings: &Settings) -> Vec<u8> {
        let order = settings.order();
        let mut payload = pattern(self.length);
        if self.code == 252 {
            payload = vec![self.version];
            payload.extend(codec::integer(order, self.features.into()));
            payload.truncate(5 + self.length % 8);
            payload.extend(pattern(self.length / 64));
            if self.length % 8 == 7 {
                payload.truncate(4);
            }
        }
        let mut bytes = codec::header(order, self.code, self.id);
        bytes.extend(codec::message_in_blocks(&payload, &self.blocks));
        bytes
    }
}

pub(crate) fn requests() -> impl Strategy<Value = Request> {
    let code = prop_oneof![
        16 => 0..2_u8,
        2 => 2..4_u8,
        2 => Just(250_u8),
        4 => Just(251_u8),
        2 => Just(252_u8),
        1 => 253..=255_u8,
    ];
    let length = prop_oneof![
        60 => 0..6_usize,
        30 => 0..300_usize,
        10 => 250..520_usize,
        // What fills the buffer before a task function.
        1 => prop::sample::select(vec![65_535_usize, 65_536, 70_000]),
    ];
    let blocks = prop::collection::vec(prop_oneof![Just(255_u8), 1..4_u8, Just(100)], 0..3);
    let version = prop_oneof![1 => Just(0_u8), 4 => Just(1), 1 => Just(2)];
    let id = prop_oneof![8 => 0..6_u32, 1 => Just(u32::MAX)];
    (code, id, length, blocks, version, 0..8_u8).prop_map(
        |(code, id, length, blocks, version, features)| Request {
            code,
            id,
            length,
            blocks,
            version,
            features,
        },
    )
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let limit = || {
        prop_oneof![
            4 => prop::sample::select(vec![SECOND, 5 * SECOND]),
            1 => 1..4_u64,
            4 => Just(1_000 * SECOND),
            1 => Just(oracle::model::time::NEVER),
        ]
    };
    let times = [
        limit(),
        limit(),
        limit(),
        limit(),
        limit(),
        limit(),
        limit(),
    ];
    let small = || prop_oneof![4 => 1..3_usize, 8 => 3..8_usize, 1 => Just(0_usize)];
    let unsent = prop_oneof![1 => 1..40_usize, 2 => 200..800_usize, 4 => Just(1 << 20)];
    let held = prop_oneof![1 => 1..20_usize, 3 => Just(1 << 20)];
    let registrations = prop::collection::vec(registrations(), 2..4);
    (
        (any::<bool>(), prop::bool::weighted(0.4)),
        times,
        prop_oneof![1 => 5..9_usize, 8 => Just(1 << 20)],
        (small(), unsent, held),
        registrations,
        answers(),
    )
        .prop_map(
            |(flags, times, message_limit, sizes, registrations, answers)| Settings {
                is_little: flags.0,
                finishes_after_half_close: flags.1,
                wait: times[0],
                read: times[1],
                write: times[2],
                linger: times[3],
                task_function: times[4],
                body: times[5],
                interval: times[6],
                message_limit,
                in_flight: sizes.0,
                unsent: sizes.1,
                held: sizes.2,
                registrations,
                answers,
            },
        )
}

fn registrations() -> impl Strategy<Value = Registration> {
    let kind = || prop_oneof![2 => Just(Kind::Async), 1 => Just(Kind::Blocking)];
    let policy = (
        prop::option::of(lengths()),
        kind(),
        prop::option::weighted(0.3, lengths()),
    );
    (
        policy,
        prop_oneof![1 => 0..8_usize, 1 => 200..600_usize, 8 => Just(1 << 20)],
        any::<bool>(),
    )
        .prop_map(
            |((grace, kind, run_limit), message_limit, is_streamed)| Registration {
                policy: Policy {
                    grace,
                    kind,
                    run_limit,
                },
                message_limit,
                is_streamed,
            },
        )
}

fn answers() -> impl Strategy<Value = BTreeMap<u8, Instead>> {
    let instead = prop_oneof![
        2 => any::<u8>().prop_map(Instead::Code),
        1 => Just(Instead::Close),
    ];
    let some = prop::collection::btree_map(250..=255_u8, instead, 1..4);
    prop_oneof![3 => Just(BTreeMap::new()), 1 => some]
}

pub(crate) fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => prop_oneof![10 => 0..4_usize, 10 => 200..600_usize, 1 => 65_536..65_538_usize]
            .prop_map(Outcome::Whole),
        6 => Just(Outcome::Body),
        2 => any::<u8>().prop_map(Outcome::Error),
        1 => Just(Outcome::Fatal),
        1 => Just(Outcome::Panicked),
        1 => Just(Outcome::Dropped),
    ]
}

pub(crate) fn body_steps() -> impl Strategy<Value = BodyStep> {
    prop_oneof![
        6 => prop_oneof![40 => 0..4_usize, 40 => 200..600_usize, 1 => 131_000..132_000_usize]
            .prop_map(BodyStep::Bytes),
        3 => Just(BodyStep::End),
        1 => prop::option::of(any::<u8>()).prop_map(BodyStep::Failed),
        1 => Just(BodyStep::Panicked),
        3 => Just(BodyStep::Waiting),
        1 => Just(BodyStep::NotWaiting),
    ]
}

pub(crate) fn returns() -> impl Strategy<Value = Returned> {
    prop_oneof![
        4 => Just(Returned::Run(Kind::Async)),
        3 => Just(Returned::Run(Kind::Blocking)),
        2 => Just(Returned::Nothing),
        1 => Just(Returned::Error),
        1 => Just(Returned::Panicked),
    ]
}

/// Which kinds of step a case has many of, few of, or none.
pub(crate) type Weights = [u32; 11];

pub(crate) fn ops(weights: Weights) -> impl Strategy<Value = Op> {
    let [
        time,
        cut,
        reader,
        finish,
        body,
        cancel,
        ending,
        write,
        server,
        flush,
        watch,
    ] = weights;
    let client = client_ops(time, cut, reader, ending);
    let program = program_ops(reader, cancel, finish, body);
    let server = vec![
        (cancel, tasks().prop_map(Op::Cancel).boxed()),
        (cancel / 4, Just(Op::CancelAll).boxed()),
        (ending / 2, lengths().prop_map(Op::Disconnect).boxed()),
        (ending / 8, Just(Op::Close).boxed()),
        (write, (0..=100_usize).prop_map(Op::Written).boxed()),
        (write, Just(Op::Written(100)).boxed()),
        (
            flush,
            prop::bool::weighted(0.6).prop_map(Op::Flushed).boxed(),
        ),
        (2, Just(Op::HalfClosed).boxed()),
        (watch, prop::bool::weighted(0.8).prop_map(Op::Watch).boxed()),
        (watch / 2, Just(Op::Panicked).boxed()),
        (server, any::<bool>().prop_map(Op::ServerFull).boxed()),
        (server, (0..2_usize).prop_map(Op::ServerPlaces).boxed()),
    ];
    suite::swarm([client, program, server].concat())
}

type Options = Vec<(u32, BoxedStrategy<Op>)>;

fn tasks() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![6 => 0..4_usize, 1 => 100..103_usize]
}

/// What the client sends, the end of its stream, and time.
fn client_ops(time: u32, cut: u32, reader: u32, ending: u32) -> Options {
    vec![
        (time, jumps().prop_map(Op::Pass).boxed()),
        (8, Just(Op::EndTurn).boxed()),
        (cut, requests().prop_map(Op::Send).boxed()),
        (
            cut / 8,
            prop::collection::vec(0..5_u8, 1..9)
                .prop_map(Op::SendBytes)
                .boxed(),
        ),
        (
            cut,
            prop_oneof![1..9_usize, Just(300)]
                .prop_map(Op::Arrive)
                .boxed(),
        ),
        (cut, Just(Op::Arrive(usize::MAX)).boxed()),
        (16, requests().prop_map(Op::Request).boxed()),
        (
            cut + reader,
            (requests(), 0..7_usize)
                .prop_map(|(request, missing)| Op::Part(request, missing))
                .boxed(),
        ),
        (2, Just(Op::Look).boxed()),
        (ending / 4, Just(Op::EndOfStream).boxed()),
        (ending / 8, Just(Op::Reset).boxed()),
    ]
}

/// What task functions, run functions and bodies do.
fn program_ops(reader: u32, cancel: u32, finish: u32, body: u32) -> Options {
    vec![
        (
            reader,
            prop_oneof![3 => 0..300_usize, 1 => 60_000..70_000_usize]
                .prop_map(Op::Take)
                .boxed(),
        ),
        (
            reader,
            (any::<bool>(), any::<bool>())
                .prop_map(|(has_asked, waits)| Op::Progress { has_asked, waits })
                .boxed(),
        ),
        (reader.max(2), returns().prop_map(Op::Return).boxed()),
        (
            cancel.min(reader),
            (tasks(), returns())
                .prop_map(|(task, returned)| Op::ReturnLate(task, returned))
                .boxed(),
        ),
        (4, tasks().prop_map(Op::StartBlocking).boxed()),
        (
            finish,
            (tasks(), outcomes())
                .prop_map(|(task, outcome)| Op::Finish(task, outcome))
                .boxed(),
        ),
        (
            body,
            (tasks(), Just(Outcome::Body))
                .prop_map(|(task, how)| Op::Finish(task, how))
                .boxed(),
        ),
        (body, tasks().prop_map(Op::BeginBody).boxed()),
        (body, tasks().prop_map(Op::Answer).boxed()),
        (
            2 * body,
            (tasks(), body_steps())
                .prop_map(|(task, step)| Op::Body(task, step))
                .boxed(),
        ),
    ]
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let weight = || prop_oneof![1 => Just(0_u32), 2 => Just(4), 1 => Just(12)];
    let weights = (
        prop_oneof![Just(2_u32), Just(8), Just(20)],
        weight(),
        weight(),
        weight(),
        weight(),
        weight(),
        prop_oneof![3 => Just(0_u32), 3 => Just(4), 1 => Just(8)],
        prop_oneof![1 => Just(1_u32), 2 => Just(8)],
        prop_oneof![2 => Just(0_u32), 1 => Just(2)],
        (
            prop_oneof![2 => Just(0_u32), 1 => Just(4)],
            prop_oneof![1 => Just(0_u32), 1 => Just(2)],
        ),
    );
    let weights = weights.no_shrink().prop_flat_map(|weights| {
        let (a, b, c, d, e, f, g, h, i, (j, k)) = weights;
        prop::collection::vec(ops([a, b, c, d, e, f, g, h, i, j, k]), 1..70)
    });
    let places = prop_oneof![1 => 0..3_usize, 9 => Just(1_000_usize)];
    let case = (settings(), places, prelude(), weights);
    case.prop_map(|(settings, server_places, mut ops, more)| {
        ops.extend(more);
        Case {
            settings,
            server_places,
            ops,
        }
    })
}
