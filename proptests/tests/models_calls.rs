//! `proto::Calls`, the client's side of a connection, against its model, after
//! every step; the server beside it may be any.

use std::collections::BTreeSet;

use asyncserver::proto::{self, CallOutcome, Expired, NewCall, ProtocolViolation, StartError};
use asyncserver::wire::{ByteOrder, TaskCode, TaskId};
use bytes::{Buf, Bytes, BytesMut};
use oracle::model::calls::{Calls, End, NotStarted, Outcome, Room, Settings};
use oracle::model::codec;
use oracle::model::connection::pattern;
use oracle::model::suite::{self, Compared, Run, Suite, same};
use oracle::model::time::{Clock, Jump, NEVER, Nanos, SECOND, duration, jumps};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    settings: Settings,
    ops: Vec<Op>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Response {
    Ok { length: usize, block: u8 },
    Error(u8),
    Processing,
}

/// Calls are named by their place among those that are live, counted from the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Op {
    Pass(Jump),
    Timeout,
    Start(Start),
    GiveUp(usize),
    Cancel(usize),
    /// What is being read is not taken (C8).
    Discard,
    DiscardOf(usize),
    /// Output is put out, up to so many bytes in all that the transport has not taken.
    PutOut(usize),
    /// The transport takes so many hundredths of it.
    Taken(usize),
    /// All is put out and taken.
    Flush,
    Piece(usize),
    EndMessage,
    /// The server answers Negotiate.
    Agree {
        granted: u32,
        in_flight: u32,
        message: u32,
        idle: u32,
        kept: usize,
    },
    /// It answers one of the requests that it knows.
    Respond(usize, Response),
    /// The same, and all but so many bytes of it come.
    RespondInPart(usize, Response, usize),
    /// It answers any id, or any request, however far it is.
    RespondTo(u32, Response),
    RespondEarly(usize, Response),
    /// It says Goodbye, having accepted all but so many requests.
    Goodbye(i8),
    Garbage(Vec<u8>),
    /// So many bytes of what the server sent come.
    Arrive(usize),
    TakePiece,
    /// Reading stops for a while (C8).
    Stall(Jump),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Start {
    #[serde(default = "seven")]
    code: u8,
    id: Option<u32>,
    length: usize,
    is_streamed: bool,
    response_is_streamed: bool,
    timeout: Nanos,
}

const fn seven() -> u8 {
    7
}

fn times() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        3 => prop::sample::select(vec![SECOND, 5 * SECOND, 60 * SECOND]),
        1 => 1..4_u64,
        1 => Just(NEVER),
    ]
}

fn starts() -> impl Strategy<Value = Start> {
    let length = prop_oneof![6 => 0..9_usize, 2 => 200..600_usize, 1 => 16_380..17_000_usize];
    let id = prop::option::weighted(0.3, 0..6_u32);
    (
        prop_oneof![8 => Just(7_u8), 1 => Just(250)],
        id,
        length,
        prop::bool::weighted(0.3),
        any::<bool>(),
        times(),
    )
        .prop_map(
            |(code, id, length, is_streamed, response_is_streamed, timeout)| Start {
                code,
                id,
                length,
                is_streamed,
                response_is_streamed,
                timeout,
            },
        )
}

fn responses() -> impl Strategy<Value = Response> {
    let length = prop_oneof![0..9_usize, 90..110_usize, 200..600_usize];
    let block = prop_oneof![Just(255_u8), 1..9_u8, Just(100)];
    prop_oneof![
        4 => (length, block).prop_map(|(length, block)| Response::Ok { length, block }),
        2 => any::<u8>().prop_map(Response::Error),
        2 => Just(Response::Processing),
    ]
}

fn agreements() -> impl Strategy<Value = Op> {
    let granted = prop_oneof![3 => Just(3_u32), 1 => 0..8_u32];
    let in_flight = prop_oneof![1 => 0..4_u32, 2 => Just(1_024), 1 => Just(u32::MAX)];
    let message = prop_oneof![1 => 0..9_u32, 2 => Just(1 << 20), 1 => Just(u32::MAX)];
    let idle = prop_oneof![0..9_u32, Just(1_800), Just(u32::MAX)];
    let kept = prop_oneof![8 => Just(21_usize), 1 => 0..30_usize];
    (granted, in_flight, message, idle, kept).prop_map(
        |(granted, in_flight, message, idle, kept)| Op::Agree {
            granted,
            in_flight,
            message,
            idle,
            kept,
        },
    )
}

fn ops(weights: [u32; 7]) -> impl Strategy<Value = Op> {
    let [time, stream, give_up, cut, wrong, goodbye, small] = weights;
    let call = || 0..6_usize;
    suite::swarm(vec![
        (time, jumps().prop_map(Op::Pass).boxed()),
        (6, Just(Op::Timeout).boxed()),
        (12, starts().prop_map(Op::Start).boxed()),
        (give_up, call().prop_map(Op::GiveUp).boxed()),
        (give_up, call().prop_map(Op::Cancel).boxed()),
        (give_up, Just(Op::Discard).boxed()),
        (give_up / 4, call().prop_map(Op::DiscardOf).boxed()),
        (10, Just(Op::Flush).boxed()),
        (
            small,
            prop_oneof![1..20_usize, Just(1_000), Just(16 << 10)]
                .prop_map(Op::PutOut)
                .boxed(),
        ),
        (small, (0..=100_usize).prop_map(Op::Taken).boxed()),
        (
            stream,
            prop_oneof![0..9_usize, 200..600_usize]
                .prop_map(Op::Piece)
                .boxed(),
        ),
        (stream.max(1), Just(Op::EndMessage).boxed()),
        (4, agreements().boxed()),
        (
            16,
            (call(), responses())
                .prop_map(|(call, how)| Op::Respond(call, how))
                .boxed(),
        ),
        (
            wrong,
            (0..6_u32, responses())
                .prop_map(|(id, how)| Op::RespondTo(id, how))
                .boxed(),
        ),
        (
            cut + stream,
            (call(), responses(), 0..9_usize)
                .prop_map(|(call, how, missing)| Op::RespondInPart(call, how, missing))
                .boxed(),
        ),
        (
            wrong,
            (call(), responses())
                .prop_map(|(call, how)| Op::RespondEarly(call, how))
                .boxed(),
        ),
        (
            wrong,
            prop::collection::vec(0..5_u8, 1..4)
                .prop_map(Op::Garbage)
                .boxed(),
        ),
        (goodbye, (-1..4_i8).prop_map(Op::Goodbye).boxed()),
        (cut, (1..9_usize).prop_map(Op::Arrive).boxed()),
        (10, Just(Op::Arrive(usize::MAX)).boxed()),
        (stream, Just(Op::TakePiece).boxed()),
        (time / 8, jumps().prop_map(Op::Stall).boxed()),
    ])
}

/// The first KeepAlive has been sent and answered, and a call takes its id.
fn keep_alive_answered(agreed: Op) -> Vec<Op> {
    let (length, block) = (0, 255);
    vec![
        Op::Flush,
        agreed,
        Op::Arrive(usize::MAX),
        Op::Pass(Jump::ToDeadline(0)),
        Op::Timeout,
        Op::Flush,
        Op::Respond(0, Response::Ok { length, block }),
        Op::Arrive(usize::MAX),
        Op::Start(Start {
            code: 7,
            id: Some(2),
            length: 1,
            is_streamed: false,
            response_is_streamed: false,
            timeout: NEVER,
        }),
    ]
}

/// Most cases begin with an answer to Negotiate.
fn prelude() -> impl Strategy<Value = Vec<Op>> {
    let all = || Op::Arrive(usize::MAX);
    prop_oneof![
        1 => Just(Vec::new()),
        4 => agreements().prop_map(move |agreed| vec![Op::Flush, agreed, all()]),
        1 => Just(vec![Op::Flush, Op::Respond(0, Response::Error(251)), all()]),
        1 => agreements().prop_map(move |agreed| keep_alive_answered(agreed)),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let weight = || prop_oneof![Just(0_u32), Just(2), Just(8)];
    let rarely = |weight| prop_oneof![3 => Just(0_u32), 1 => Just(weight)];
    let weights = (
        prop_oneof![Just(2_u32), Just(8), Just(20)],
        weight(),
        weight(),
        weight(),
        rarely(4),
        rarely(2),
        weight(),
    );
    let ops = weights.no_shrink().prop_flat_map(|(a, b, c, d, e, f, g)| {
        prop::collection::vec(ops([a, b, c, d, e, f, g]), 1..60)
    });
    let long = || prop_oneof![1 => times(), 2 => Just(1_000 * SECOND)];
    let limit = prop_oneof![1 => 0..100_usize, 2 => Just(1 << 20)];
    let flags = (any::<bool>(), prop::bool::weighted(0.8));
    let settings = (flags, limit, long(), long(), long(), long()).prop_map(
        |((is_little, negotiates), response_limit, keep_alive, write, unused, own_response)| {
            Settings {
                is_little,
                negotiates,
                response_limit,
                keep_alive,
                write,
                unused,
                own_response,
            }
        },
    );
    (settings, prelude(), ops).prop_map(|(settings, mut ops, more)| {
        ops.extend(more);
        Case { settings, ops }
    })
}

#[test]
fn calls_do_what_section_10_says() {
    let suite = Suite {
        name: "calls",
        cases: 10_000,
        reach: &[
            "negotiated",
            "a base server",
            "no place",
            "message too long",
            "id in use",
            "given up before it was sent",
            "given up while it is sent",
            "given up behind its end",
            "cancel asked",
            "cancel could not be asked",
            "E2 is sent",
            "answered before its E2 was sent",
            "response discarded",
            "streamed message too long",
            "response too long",
            "piece taken",
            "response in parts",
            "Processing",
            "Goodbye, none accepted",
            "Goodbye, some accepted",
            "Goodbye, all accepted",
            "Goodbye inside a request",
            "what was out at Goodbye is taken",
            "a call has the id that a KeepAlive had",
            "a caller's KeepAlive is not answered",
            "a KeepAlive is sent",
            "timed out, may have run",
            "timed out, not started",
            "lost, may have run",
            "lost, not started",
            "end: Write",
            "end: KeepAlive",
            "end: Negotiate",
            "end: Message",
            "end: Unused",
            "end: UnknownCode",
            "end: NotLive",
            "end: TooEarly",
            "end: NotGranted",
            "end: AcceptedTooMany",
            "reading stalled",
            "at the very nanosecond",
            "one nanosecond before",
        ],
    };
    suite::run(&suite, cases(), check);
}

struct Pair {
    settings: Settings,
    clock: Clock,
    now: Nanos,
    model: Calls,
    library: proto::Calls<usize>,
    /// Put out, and not taken.
    unsent: BytesMut,
    /// Sent by the server, and not come.
    on_the_way: Vec<u8>,
    /// Numbers of the calls that the server has answered.
    answered: BTreeSet<usize>,
    end: Option<End>,
}

fn check(case: &Case, run: &mut Run) -> Compared {
    let clock = Clock::default();
    let settings = case.settings.clone();
    let mut timeouts = proto::ClientTimeouts::default();
    timeouts.keep_alive = duration(settings.keep_alive);
    timeouts.response = duration(settings.own_response);
    timeouts.write = duration(settings.write);
    timeouts.unused = duration(settings.unused);
    let theirs = proto::CallSettings {
        byte_order: order(&settings),
        negotiation: if settings.negotiates {
            proto::Negotiation::Ask
        } else {
            proto::Negotiation::Skip
        },
        response_limit_bytes: settings.response_limit,
        timeouts,
    };
    let mut pair = Pair {
        clock,
        now: 0,
        model: Calls::new(settings.clone()),
        library: proto::Calls::new(theirs, clock.at(0)),
        settings,
        unsent: BytesMut::new(),
        on_the_way: Vec::new(),
        answered: BTreeSet::new(),
        end: None,
    };
    run.note(|| format!("{:?}", case.settings));
    pair.compare(run)?;
    for op in &case.ops {
        run.note(|| format!("{:>12} ns  {op:?}", pair.now));
        pair.apply(op, run)?;
        pair.compare(run)?;
        run.note(|| pair.line());
        if pair.end.is_some() {
            break;
        }
    }
    pair.compare_lost(run)
}

const fn order(settings: &Settings) -> ByteOrder {
    if settings.is_little {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    }
}

impl Pair {
    fn line(&self) -> String {
        let calls = self.model.calls.iter();
        let calls: Vec<_> = calls
            .map(|call| format!("{}:{:?}/{:?}", call.id, call.owner, call.progress))
            .collect();
        format!("{:>18} {} {:?}", "->", calls.join(", "), self.end)
    }

    fn id(&self, back: usize) -> Option<u32> {
        let calls = &self.model.calls;
        let at = calls.len().checked_sub(back % calls.len().max(1) + 1)?;
        Some(calls[at].id)
    }

    fn apply(&mut self, op: &Op, run: &mut Run) -> Compared {
        let at = self.clock.at(self.now);
        match op {
            Op::Pass(jump) => self.now = jump.from(self.now, self.model.next_deadline()),
            Op::Timeout => self.timeout(run)?,
            Op::Start(start) => self.start(start, run)?,
            Op::GiveUp(back) => {
                if let Some(id) = self.id(*back) {
                    self.reach_given_up(id, run);
                    let had_caller = self.model.give_up(id, self.now);
                    let theirs = self.library.give_up(TaskId(id), at).is_some();
                    same("C5", &had_caller, &theirs)?;
                }
            }
            Op::Cancel(back) => {
                if let Some(id) = self.id(*back) {
                    let given_up = self.model.cancel(id, self.now);
                    let theirs = self.library.cancel(TaskId(id), at);
                    let theirs = theirs.map(|(_, started)| started == proto::Started::Perhaps);
                    same("C5", &given_up, &theirs)?;
                    run.reach(match given_up {
                        None => "cancel asked",
                        Some(_) => "cancel could not be asked",
                    });
                }
            }
            Op::Discard | Op::DiscardOf(_) => {
                let id = match op {
                    Op::DiscardOf(back) => self.id(*back),
                    _ => self.model.id_read(),
                };
                if let Some(id) = id {
                    let had_caller = self.model.discard_response(id, self.now);
                    let theirs = self.library.discard_response(TaskId(id), at).is_some();
                    same("C8", &had_caller, &theirs)?;
                    run.reach_if(had_caller, "response discarded");
                }
            }
            Op::PutOut(most) => self.put_out(*most)?,
            Op::Taken(hundredths) => self.taken(*hundredths)?,
            Op::Flush => {
                self.put_out(1 << 20)?;
                self.taken(100)?;
            }
            Op::Piece(length) => self.piece(*length, run)?,
            Op::EndMessage => {
                if self.library.wanted_piece().is_some() {
                    self.model.end_message();
                    self.library.end_message();
                }
            }
            Op::Arrive(most) => self.arrive(*most, run)?,
            Op::RespondInPart(back, response, missing) => {
                self.serve(&Op::Respond(*back, response.clone()));
                self.arrive(self.on_the_way.len().saturating_sub(*missing), run)?;
            }
            Op::TakePiece => {
                let theirs = self.library.take_piece();
                let theirs = theirs.map(|(_, number, piece)| (*number, piece.to_vec()));
                let ours = self.model.take_piece();
                run.reach_if(ours.is_some(), "piece taken");
                same("C8: what has come", &ours, &theirs)?;
            }
            Op::Stall(jump) => {
                run.reach("reading stalled");
                self.library.pause_reading(at);
                same("C8", &None, &self.library.next_deadline())?;
                let from = self.now;
                self.now = jump.from(self.now, self.model.next_deadline());
                self.model.stalled(from, self.now);
                self.library.resume_reading(self.clock.at(self.now));
            }
            _ => self.serve(op),
        }
        Ok(())
    }

    /// What the server sends.
    fn serve(&mut self, op: &Op) {
        let order = order(&self.settings);
        match op {
            Op::Agree {
                granted,
                in_flight,
                message,
                idle,
                kept,
            } => {
                let asked = self.model.calls.iter();
                let asked = asked.filter(|call| self.model.may_have_run(call));
                let mut asked = asked.filter(|_| self.model.is_negotiating());
                if let Some(call) = asked.next()
                    && self.answered.insert(call.number)
                {
                    let fields = [*granted, *in_flight, *message, *idle, 15];
                    let mut payload = codec::negotiated(order, fields);
                    payload.resize(*kept, 7);
                    self.on_the_way.extend(codec::ok(order, call.id, &payload));
                }
            }
            Op::Respond(back, response) => {
                let known = self.model.calls.iter().filter(|call| {
                    self.model.may_have_run(call) && !self.answered.contains(&call.number)
                });
                let known: Vec<_> = known.map(|call| (call.number, call.id)).collect();
                if known.is_empty() {
                    return;
                }
                let (number, id) = known[back % known.len()];
                if !matches!(response, Response::Processing) {
                    self.answered.insert(number);
                }
                self.on_the_way.extend(response.bytes(order, id));
            }
            Op::RespondTo(id, response) => self.on_the_way.extend(response.bytes(order, *id)),
            Op::RespondEarly(back, response) => {
                if let Some(id) = self.id(*back) {
                    self.on_the_way.extend(response.bytes(order, id));
                }
            }
            Op::Goodbye(missing) => {
                let begun = self.model.begun();
                let accepted = begun.saturating_add_signed(-i64::from(*missing));
                self.on_the_way
                    .extend(codec::goodbye(order, accepted as u32));
            }
            Op::Garbage(bytes) => self.on_the_way.extend(bytes),
            _ => {}
        }
    }

    fn timeout(&mut self, run: &mut Run) -> Compared {
        let next = self.model.next_deadline();
        run.reach_if(next == Some(self.now), "at the very nanosecond");
        run.reach_if(next == Some(self.now + 1), "one nanosecond before");
        let ours = self.model.timeout(self.now);
        let theirs = self.library.handle_timeout(self.clock.at(self.now));
        let theirs = theirs.map_err(|expired| match expired {
            Expired::Write { .. } => End::Write,
            Expired::KeepAlive { .. } => End::KeepAlive,
            Expired::Negotiate { .. } => End::Negotiate,
            Expired::Message { id, .. } => End::Message(id.0),
            _ => End::Unused,
        });
        same("C4", &ours, &theirs)?;
        self.end = ours.err();
        if self.end.is_none() {
            let next = self.clock.deadline(self.library.next_deadline());
            let is_later = next.is_none_or(|next| next > self.now);
            same("a judged clock is not due", &true, &is_later)?;
        }
        Ok(())
    }

    fn start(&mut self, start: &Start, run: &mut Run) -> Compared {
        let message = (!start.is_streamed).then(|| pattern(start.length));
        let how = (start.response_is_streamed, start.timeout);
        let ours = self
            .model
            .start(start.code, start.id, message.clone(), how, self.now);
        let number = ours.ok().and_then(|id| self.model.by_id(id));
        let call = NewCall {
            code: TaskCode(start.code),
            id: start.id.map(TaskId),
            message: match message {
                Some(message) => proto::RequestMessage::Whole(message.into()),
                None => proto::RequestMessage::Streamed,
            },
            response: if start.response_is_streamed {
                proto::ResponseMode::Streamed
            } else {
                proto::ResponseMode::Whole
            },
            response_timeout: duration(start.timeout),
            context: number.map_or(usize::MAX, |call| call.number),
        };
        let theirs = self.library.start(call, self.clock.at(self.now));
        let theirs = theirs.map(|id| id.0).map_err(|(error, _)| match error {
            StartError::TooLong { length_bytes, .. } => NotStarted::TooLong(length_bytes),
            StartError::IdInUse { .. } => NotStarted::IdInUse,
            _ => NotStarted::NoPlace,
        });
        match ours {
            Ok(_) => {}
            Err(NotStarted::NoPlace) => run.reach("no place"),
            Err(NotStarted::TooLong(_)) => run.reach("message too long"),
            Err(NotStarted::IdInUse) => run.reach("id in use"),
        }
        same("N7, C7", &ours, &theirs)
    }

    fn reach_given_up(&self, id: u32, run: &mut Run) {
        use oracle::model::calls::Progress;
        run.reach(match self.model.by_id(id).map(|call| call.progress) {
            Some(Progress::Queued) => "given up before it was sent",
            Some(Progress::Sending(_)) => "given up while it is sent",
            _ => "given up behind its end",
        });
    }

    fn put_out(&mut self, most: usize) -> Compared {
        let before = self.unsent.len();
        let at = self.clock.at(self.now);
        self.library.poll_output(&mut self.unsent, most, at);
        let bytes = self.unsent[before..].to_vec();
        let room = Room {
            bytes: most.saturating_sub(before),
            leaves_piece: self.library.wanted_piece().is_none(),
        };
        let wrong = self.model.put_out(&bytes, room, self.now);
        same("C2, C5, C6: what goes out", &None, &wrong)
    }

    fn taken(&mut self, hundredths: usize) -> Compared {
        let bytes = self.unsent.len() * hundredths / 100;
        if bytes == 0 {
            return Ok(());
        }
        self.unsent.advance(bytes);
        self.model.taken(bytes, self.now);
        self.library.handle_written(bytes, self.clock.at(self.now));
        Ok(())
    }

    fn piece(&mut self, length: usize, run: &mut Run) -> Compared {
        let wanted = self.library.wanted_piece().map(|id| id.0);
        if wanted.is_none() {
            return Ok(());
        }
        same("whose message goes on", &self.model.streaming(), &wanted)?;
        let piece = pattern(length);
        let too_long = self.model.push_piece(&piece);
        let theirs = self.library.push_piece(Bytes::from(piece));
        let theirs = theirs.err().map(|error| match error {
            StartError::TooLong { length_bytes, .. } => length_bytes,
            _ => 0,
        });
        run.reach_if(too_long.is_some(), "streamed message too long");
        same("C7", &too_long, &theirs)
    }

    fn arrive(&mut self, most: usize, run: &mut Run) -> Compared {
        let most = most.min(self.on_the_way.len());
        let bytes: Vec<u8> = self.on_the_way.drain(..most).collect();
        run.reach_if(!self.on_the_way.is_empty(), "response in parts");
        let ours = self.model.input(&bytes, self.now);
        let theirs = self.library.handle_input(&bytes, self.clock.at(self.now));
        let theirs = theirs.map_err(|violation| match violation {
            ProtocolViolation::UnknownCode(error) => End::UnknownCode(error.code, error.offset),
            ProtocolViolation::NotLive { id, offset } => End::NotLive(id.0, offset),
            ProtocolViolation::TooEarly { id } => End::TooEarly(id.0),
            ProtocolViolation::NotGranted { extension } => End::NotGranted(extension),
            ProtocolViolation::AcceptedTooMany { accepted, sent } => {
                End::AcceptedTooMany(accepted, sent)
            }
            _ => End::Unused,
        });
        same("C1", &ours, &theirs)?;
        self.end = ours.err();
        Ok(())
    }

    fn compare(&mut self, run: &mut Run) -> Compared {
        for name in std::mem::take(&mut self.model.reached) {
            run.reach(name);
        }
        let mut finished = Vec::new();
        while let Some(call) = self.library.poll_finished() {
            let outcome = match call.outcome {
                CallOutcome::Ok(message) => Outcome::Ok(message.to_vec()),
                CallOutcome::Error(code) => Outcome::Error(code.0),
                CallOutcome::NotAccepted { accepted } => Outcome::NotAccepted(accepted),
                CallOutcome::TimedOut { started, .. } => {
                    Outcome::TimedOut(started == proto::Started::Perhaps)
                }
                CallOutcome::TooLong { length_bytes, .. } => Outcome::TooLong(length_bytes),
                other => return same("an outcome", &String::new(), &format!("{other:?}")),
            };
            finished.push((call.context, call.id.0, outcome));
        }
        let ours = std::mem::take(&mut self.model.finished);
        for (_, _, outcome) in &ours {
            match outcome {
                Outcome::TimedOut(true) => run.reach("timed out, may have run"),
                Outcome::TimedOut(false) => run.reach("timed out, not started"),
                Outcome::TooLong(_) => run.reach("response too long"),
                _ => {}
            }
        }
        same("what became of calls", &ours, &finished)?;
        if self.end.is_some() {
            return Ok(());
        }
        let (model, library) = (&self.model, &self.library);
        same("C7: places", &model.places(), &library.places())?;
        same("C6", &model.is_negotiating(), &library.is_negotiating())?;
        same("C2", &model.is_draining(), &library.is_draining())?;
        same("pending", &model.pending(), &library.pending())?;
        same("heard", &model.has_heard(), &library.has_heard())?;
        let told = model.told.map(|told| {
            (
                told.granted,
                told.max_in_flight,
                told.max_message,
                told.idle_limit,
            )
        });
        run.reach_if(told.is_some(), "negotiated");
        let theirs = library.negotiated().map(|told| {
            (
                told.granted.bits(),
                told.max_in_flight,
                told.max_message_bytes,
                told.idle_limit_s,
            )
        });
        same("E3", &told, &theirs)?;
        for call in &model.calls {
            let waits = call.owner == oracle::model::calls::Owner::Caller;
            let context = waits.then_some(call.number);
            let theirs = library.context(TaskId(call.id)).copied();
            same("whose call it is", &context, &theirs)?;
        }
        if let Some(id) = library.wanted_piece() {
            same("whose message goes on", &model.streaming(), &Some(id.0))?;
        }
        // The library may look at its clocks too early, never too late.
        let ours = model.next_deadline().unwrap_or(NEVER);
        let theirs = self
            .clock
            .deadline(library.next_deadline())
            .unwrap_or(NEVER);
        same(
            "C4: the next deadline is not missed",
            &true,
            &(theirs <= ours),
        )
    }

    /// C3: the connection is lost now.
    fn compare_lost(self, run: &mut Run) -> Compared {
        match self.end {
            Some(End::Write) => run.reach("end: Write"),
            Some(End::KeepAlive) => run.reach("end: KeepAlive"),
            Some(End::Negotiate) => run.reach("end: Negotiate"),
            Some(End::Message(_)) => run.reach("end: Message"),
            Some(End::Unused) => run.reach("end: Unused"),
            Some(End::UnknownCode(..)) => run.reach("end: UnknownCode"),
            Some(End::NotLive(..)) => run.reach("end: NotLive"),
            Some(End::TooEarly(_)) => run.reach("end: TooEarly"),
            Some(End::NotGranted(_)) => run.reach("end: NotGranted"),
            Some(End::AcceptedTooMany(..)) => run.reach("end: AcceptedTooMany"),
            None => {}
        }
        let ours = self.model.lost();
        for (_, _, may_have_run) in &ours {
            run.reach(if *may_have_run {
                "lost, may have run"
            } else {
                "lost, not started"
            });
        }
        let theirs = self.library.into_lost().into_iter();
        let theirs: Vec<_> = theirs
            .map(|lost| {
                let may_have_run = lost.started == proto::Started::Perhaps;
                (lost.context, lost.id.0, may_have_run)
            })
            .collect();
        same("C3: what is lost", &ours, &theirs)
    }
}

impl Response {
    fn bytes(&self, order: ByteOrder, id: u32) -> Vec<u8> {
        match self {
            Self::Ok { length, block } => {
                let mut bytes = codec::header(order, 0, id);
                bytes.extend(codec::message_in_blocks(&pattern(*length), &[*block]));
                bytes
            }
            Self::Error(code) => codec::error(order, id, *code),
            Self::Processing => codec::processing(order, id),
        }
    }
}
