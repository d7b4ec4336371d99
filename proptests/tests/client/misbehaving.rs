//! PROTOCOL section 10 against a server that does what no server may: the client
//! never panics, never hangs, and tells its callers what can be true.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use asyncserver::client::{ClientTimeouts, NotStarted};
use asyncserver::wire::{ByteOrder, RequestDecoder, RequestHeader, RequestPart};
use harness::suite::Suite;
use harness::{ServerEnd, memory};
use oracle::{Blocks, pattern};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::*;

/// What the server does with the next request.
#[derive(Clone, Debug)]
enum Reaction {
    /// `OK`, with blocks of this size.
    Ok {
        bytes: usize,
        block: u8,
    },
    Error(u8),
    /// To Negotiate, what it asked for.
    Negotiated {
        features: u32,
        in_flight: u32,
        message_bytes: u32,
    },
    Processing,
    Goodbye(u32),
    /// An answer to somebody else.
    WrongId(u32),
    Twice,
    Garbage(Vec<u8>),
    /// The first bytes of an answer, and then the end, a reset or nothing.
    Cut {
        bytes: usize,
        then: u8,
    },
    /// An answer with one byte changed.
    Flipped {
        at: usize,
        by: u8,
    },
    End,
    Reset,
    Wait(u64),
    Nothing,
}

impl Reaction {
    /// Whether it may break the protocol, for one client at least.
    const fn misbehaves(&self) -> bool {
        matches!(
            self,
            Self::Processing
                | Self::Goodbye(_)
                | Self::WrongId(_)
                | Self::Twice
                | Self::Garbage(_)
                | Self::Flipped { .. }
                | Self::Negotiated { .. }
        )
    }
}

fn reactions() -> impl Strategy<Value = Reaction> {
    let bytes = || prop_oneof![4 => 0..300usize, 1 => 60_000..80_000usize];
    prop_oneof![
        8 => (bytes(), 1..=255u8).prop_map(|(bytes, block)| Reaction::Ok { bytes, block }),
        2 => any::<u8>().prop_map(Reaction::Error),
        2 => Just(Reaction::Error(252)),
        3 => (0..5u32, 0..5u32, select_message_bytes()).prop_map(|(features, in_flight, message_bytes)| {
            Reaction::Negotiated { features, in_flight, message_bytes }
        }),
        1 => Just(Reaction::Processing),
        2 => prop_oneof![0..6u32, any::<u32>()].prop_map(Reaction::Goodbye),
        1 => (0..9u32).prop_map(Reaction::WrongId),
        1 => Just(Reaction::Twice),
        1 => vec(any::<u8>(), 1..40).prop_map(Reaction::Garbage),
        1 => (0..20usize, 0..3u8).prop_map(|(bytes, then)| Reaction::Cut { bytes, then }),
        1 => (0..20usize, 1..=255u8).prop_map(|(at, by)| Reaction::Flipped { at, by }),
        1 => Just(Reaction::End),
        1 => Just(Reaction::Reset),
        2 => prop_oneof![1..100u64, 1000..400_000u64].prop_map(Reaction::Wait),
        2 => Just(Reaction::Nothing),
    ]
}

fn select_message_bytes() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 1 => Just(20), 3 => Just(u32::MAX)]
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Call { bytes: usize, idempotent: bool },
    Cancel(usize),
    Drop(usize),
    KeepAlive,
}

#[derive(Clone, Debug)]
struct Plan {
    reactions: Vec<Reaction>,
    actions: Vec<(u64, Action)>,
    buffer_bytes: usize,
    /// How many connections there are to be had.
    connections: usize,
}

fn plans() -> impl Strategy<Value = Plan> {
    let action = prop_oneof![
        8 => (0..2000usize, any::<bool>()).prop_map(|(bytes, idempotent)| Action::Call { bytes, idempotent }),
        1 => (0..3usize).prop_map(Action::Cancel),
        1 => (0..3usize).prop_map(Action::Drop),
        1 => Just(Action::KeepAlive),
    ];
    let pause = prop_oneof![4 => Just(0), 2 => 1..50u64, 1 => 1000..100_000u64];
    (
        vec(reactions(), 1..20),
        vec((pause, action), 1..12),
        prop_oneof![Just(5usize), Just(1024), Just(1 << 16)],
        1..6usize,
    )
        .prop_map(|(reactions, actions, buffer_bytes, connections)| Plan {
            reactions,
            actions,
            buffer_bytes,
            connections,
        })
}

/// What the server did, in all of its connections.
#[derive(Default)]
struct Did {
    reactions: std::vec::IntoIter<Reaction>,
    connections: usize,
    misbehaved: bool,
    said_goodbye: bool,
    bodies: BTreeSet<usize>,
    errors: BTreeSet<u8>,
}

type Shared = Arc<Mutex<Did>>;

fn lock(did: &Shared) -> std::sync::MutexGuard<'_, Did> {
    did.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection as the reactions say, until they end it.
async fn serve(mut stream: ServerEnd, network: Arc<dyn harness::Network>, did: Shared) {
    let mut decoder = RequestDecoder::new(ByteOrder::Big);
    let (mut unread, mut header) = (bytes::BytesMut::new(), None);
    loop {
        let mut at = 0;
        let part = decoder.next(&unread, &mut at);
        let _ = unread.split_to(at);
        match part {
            Some(RequestPart::Header(of)) => header = Some(of),
            Some(RequestPart::Payload(_)) => {}
            Some(RequestPart::End) => {
                let Some(of) = header.take() else { continue };
                if react(&mut stream, &*network, of, &did).await.is_none() {
                    return;
                }
            }
            None => match stream.read_buf(&mut unread).await {
                Ok(read) if read > 0 => {}
                _ => return,
            },
        }
    }
}

/// Nothing once the connection is over.
async fn react(
    stream: &mut ServerEnd,
    network: &dyn harness::Network,
    header: RequestHeader,
    did: &Shared,
) -> Option<()> {
    // A server that has nothing more to do answers, so that all comes to an end.
    let reaction = lock(did).reactions.next();
    let reaction = reaction.unwrap_or(Reaction::Error(9));
    let id = header.id.0;
    {
        let mut did = lock(did);
        did.misbehaved |= reaction.misbehaves() || header.code.0 >= 250;
        did.said_goodbye |= matches!(reaction, Reaction::Goodbye(_));
    }
    let send = match &reaction {
        Reaction::Ok { bytes, block } => ok(id, *bytes, *block, did),
        Reaction::Error(code) => error(id, *code, did),
        Reaction::Negotiated {
            features,
            in_flight,
            message_bytes,
        } => negotiated(id, [*features, *in_flight, *message_bytes]),
        Reaction::Processing => [&[3][..], &id.to_be_bytes()].concat(),
        Reaction::Goodbye(accepted) => [&[2][..], &accepted.to_be_bytes()].concat(),
        Reaction::WrongId(other) => ok(*other, 3, 255, did),
        Reaction::Twice => [ok(id, 3, 255, did), ok(id, 3, 255, did)].concat(),
        Reaction::Garbage(bytes) => bytes.clone(),
        Reaction::Cut { bytes, .. } => {
            let mut answer = ok(id, 300, 255, did);
            answer.truncate(*bytes);
            answer
        }
        Reaction::Flipped { at, by } => {
            let mut answer = ok(id, 30, 255, did);
            answer[*at] ^= by;
            answer
        }
        Reaction::End | Reaction::Reset | Reaction::Wait(_) | Reaction::Nothing => Vec::new(),
    };
    stream.write_all(&send).await.ok()?;
    match reaction {
        Reaction::End | Reaction::Cut { then: 0, .. } => return None,
        Reaction::Reset | Reaction::Cut { then: 1, .. } => {
            network.reset();
            return None;
        }
        Reaction::Wait(time) => sleep(ms(time)).await,
        _ => {}
    }
    Some(())
}

fn ok(id: u32, bytes: usize, block: u8, did: &Shared) -> Vec<u8> {
    lock(did).bodies.insert(bytes);
    let message = Blocks::Sizes(vec![block]).encode(&pattern(bytes));
    [&[0][..], &id.to_be_bytes(), &message].concat()
}

fn error(id: u32, code: u8, did: &Shared) -> Vec<u8> {
    lock(did).errors.insert(code);
    [&[1][..], &id.to_be_bytes(), &[code]].concat()
}

fn negotiated(id: u32, [features, in_flight, message_bytes]: [u32; 3]) -> Vec<u8> {
    let mut message = vec![1];
    for number in [features, in_flight, message_bytes, 1800, 15] {
        message.extend(number.to_be_bytes());
    }
    let message = Blocks::Full.encode(&message);
    [&[0][..], &id.to_be_bytes(), &message].concat()
}

async fn play(plan: Plan) -> Result<(), String> {
    let (world, executor) = watched();
    let did = Shared::default();
    lock(&did).reactions = plan.reactions.into_iter();
    let (connects, on) = (Arc::clone(&did), Arc::clone(&executor));
    let connector = move |_: Address| {
        let (did, executor) = (Arc::clone(&connects), Arc::clone(&on));
        async move {
            lock(&did).connections += 1;
            if lock(&did).connections > plan.connections {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let link = memory(plan.buffer_bytes, || ());
            let serving = serve(link.server, link.network, did);
            asyncserver::runtime::Executor::spawn(&*executor, Box::pin(serving));
            Ok(link.client)
        }
    };
    let client = client(&executor).connector(connector).retries(3).build();
    let mut calls = Vec::new();
    for (pause, action) in plan.actions {
        sleep(ms(pause)).await;
        match action {
            Action::Call { bytes, idempotent } => {
                let mut request = client.request(1).message(pattern(bytes));
                if idempotent {
                    request = request.idempotent();
                }
                calls.push(Running::start(request.submit()));
            }
            Action::KeepAlive => {
                let client = client.clone();
                let alive = async move { client.keep_alive().await.map(|()| Bytes::new()) };
                let (cancel, _) = tokio::sync::mpsc::channel(1);
                let alive = Running(tokio::spawn(alive), cancel);
                // What a KeepAlive comes to is not judged, but that it does.
                drop(alive.ended().await?);
            }
            Action::Cancel(nth) => {
                if let Some(index) = calls.len().checked_sub(nth + 1) {
                    calls[index].cancel();
                }
            }
            Action::Drop(nth) => {
                if let Some(index) = calls.len().checked_sub(nth + 1) {
                    calls[index].drop_it();
                }
            }
        }
    }
    for call in calls {
        let ended = call.ended().await?;
        if let Some(ended) = ended {
            check(&ended, &lock(&did))?;
        }
    }
    demand_order(&world, client).await
}

/// What a caller is told can be true.
fn check(ended: &Ended, did: &Did) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {ended:?}"));
    match ended {
        Ok(body) => {
            let is_whole = did.bodies.contains(&body.len()) && *body == pattern(body.len());
            if is_whole || did.misbehaved {
                return Ok(());
            }
            wrong("a result that nobody sent")
        }
        Err(CallError::Server { code }) if !did.errors.contains(&code.0) && !did.misbehaved => {
            wrong("an error that nobody sent")
        }
        Err(CallError::Protocol { .. }) if !did.misbehaved => wrong("nobody broke the protocol"),
        Err(CallError::NotStarted {
            reason: NotStarted::Goodbye { .. },
        }) if !did.said_goodbye && !did.misbehaved => wrong("nobody said goodbye"),
        Err(CallError::TimedOut { after, .. }) if *after != ClientTimeouts::default().response => {
            wrong("another time-out than was set")
        }
        _ => Ok(()),
    }
}

#[test]
fn a_misbehaving_server_costs_calls_and_nothing_else() {
    let suite = Suite {
        name: "misbehaving_server",
        cases: 2500,
    };
    let judged = suite.run(&plans(), |plan| under_paused_time(play(plan.clone())));
    if let Err((why, plan)) = judged {
        panic!("{why}\n{plan:#?}");
    }
}
