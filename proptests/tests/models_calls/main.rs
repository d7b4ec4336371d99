//! `proto::Calls`, the client's side of a connection, against its model, after
//! every step; the server beside it may be any.

mod cases;
mod compare;
mod pair;

use std::collections::BTreeSet;

use asyncserver::proto::{self};
use asyncserver::wire::ByteOrder;
use bytes::BytesMut;
use oracle::model::calls::{Calls, End, Settings};
use oracle::model::suite::{self, Compared, Run, Suite};
use oracle::model::time::{Clock, Nanos, duration};

use cases::{Case, cases};

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
