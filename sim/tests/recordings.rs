//! What a run records of its connections is what happened to them: plans whose
//! recordings once told the oracle something else, and were rejected.

use std::time::Duration;

use asyncserver_sim::{Fault, Plan, Trace, Trouble, Writer, play};
use oracle::{Direction, Hex, Reached, What};
use serde_json::{Value, json};

/// A plan of one client, played with many seeds.
struct Case {
    client: Value,
    link: Value,
    timeouts: Value,
    events: Vec<(u64, Value)>,
    faults: Vec<(u64, Trouble)>,
    calm_at_ms: u64,
}

impl Case {
    fn of(client: Value) -> Self {
        Self {
            client,
            link: json!({}),
            timeouts: json!({}),
            events: Vec::new(),
            faults: Vec::new(),
            calm_at_ms: 0,
        }
    }

    fn wire() -> Self {
        Self::of(json!("wire"))
    }

    fn caller() -> Self {
        Self::of(json!({"caller": {"retries": 2, "negotiates": true}}))
    }

    fn event(mut self, at_ms: u64, action: Value) -> Self {
        self.events.push((at_ms, action));
        self
    }

    fn op(self, at_ms: u64, op: Value) -> Self {
        self.event(at_ms, json!({ "wire": op }))
    }

    fn strike(self, at_ms: u64, writer: Writer, fault: Fault) -> Self {
        let trouble = Trouble::Strike {
            client: "client-0".into(),
            server: 0,
            writer,
            fault,
        };
        self.trouble(at_ms, trouble)
    }

    /// Nothing that `writer` writes passes.
    fn cut(self, at_ms: u64, writer: Writer, for_ms: u64) -> Self {
        let trouble = Trouble::Cut {
            client: "client-0".into(),
            server: 0,
            writer: Some(writer),
            for_ms,
        };
        self.trouble(at_ms, trouble)
    }

    fn trouble(mut self, at_ms: u64, trouble: Trouble) -> Self {
        self.faults.push((at_ms, trouble));
        self
    }

    /// A fault strikes what the client writes, at a byte.
    fn at_byte_to_server(mut self, byte: u64, fault: Fault) -> Self {
        self.link["to_server"]["at_bytes"] = json!([{"byte": byte, "fault": fault}]);
        self
    }

    /// The same of what the server writes.
    fn at_byte_to_client(mut self, byte: u64, fault: Fault) -> Self {
        self.link["to_client"]["at_bytes"] = json!([{"byte": byte, "fault": fault}]);
        self
    }

    fn calm_at(mut self, ms: u64) -> Self {
        self.calm_at_ms = ms;
        self
    }

    /// What was recorded of the first connection, with its time in milliseconds.
    fn recorded(&self) -> Vec<(u64, What)> {
        let played = play(&self.plan(1), Trace::off());
        assert_eq!(played.verdict, None);
        let events = played.connections[0].history.events.clone();
        let timed = events.into_iter().map(|event| {
            assert_eq!(event.at_us % 1000, 0, "{event:?}");
            (event.at_us / 1000, event.what)
        });
        timed.collect()
    }

    /// When its directions stall and flow.
    fn flow(&self) -> Vec<(u64, What)> {
        let mut recorded = self.recorded();
        recorded.retain(|(_, what)| matches!(what, What::Stalled(_) | What::Flowing(_)));
        recorded
    }

    fn plan(&self, seed: u64) -> Plan {
        let event = |(id, (at_ms, action)): (usize, &(u64, Value))| json!({"id": id, "at_ms": at_ms, "client": "client-0", "do": action});
        let fault = |(id, (at_ms, trouble)): (usize, &(u64, Trouble))| json!({"id": id, "at_ms": at_ms, "trouble": trouble});
        let plan = json!({
            "seed": seed,
            "config": {"timeouts": self.timeouts, "neighbours": "some"},
            "servers": 1,
            "clients": [{"name": "client-0", "kind": self.client, "server": 0, "link": self.link}],
            "events": self.events.iter().enumerate().map(event).collect::<Vec<_>>(),
            "faults": self.faults.iter().enumerate().map(fault).collect::<Vec<_>>(),
            "phases": {"calm_at_ms": self.calm_at_ms, "budget_ms": 400_000},
        });
        Plan::from_json(&plan.to_string()).unwrap()
    }

    fn is_as_it_should(&self) {
        for seed in 0..20 {
            let played = play(&self.plan(seed), Trace::off());
            if let Some(verdict) = played.verdict {
                panic!("seed {seed}: {verdict}");
            }
        }
    }
}

fn send(id: u32, ask: Value) -> Value {
    json!({"op": "send", "request": {"id": id, "ask": ask}})
}

#[test]
fn connections_that_are_dialled_at_one_instant_keep_their_recordings() {
    let case = Case::wire()
        .event(0, json!("reconnect"))
        .event(0, json!("reconnect"))
        .op(0, send(3, json!({"first": 0})));
    case.is_as_it_should();
}

#[test]
fn a_stream_that_a_fault_ends_was_not_ended_by_the_server() {
    let call = json!({"call": {"ask": {"echo": 1015}, "idempotent": true}});
    let half_close = Fault::HalfClose;
    let caller = Case::caller().event(0, call);
    caller
        .strike(205, Writer::Server, half_close)
        .is_as_it_should();
    let wire = Case::wire().strike(66, Writer::Server, half_close);
    wire.op(100, send(1, json!({"echo": 9}))).is_as_it_should();
}

#[test]
fn a_fault_that_comes_too_late_to_end_a_stream_is_no_reset() {
    let duplicate = Case::wire()
        .op(0, send(2, json!({"limited": 100})))
        .op(0, send(2, json!({"echo": 0})));
    duplicate
        .strike(66, Writer::Server, Fault::HalfClose)
        .is_as_it_should();
}

#[test]
fn a_shutdown_that_will_fail_is_no_reset_before() {
    let mut case = Case::wire().op(0, send(1, json!({"digest": 1012}))).strike(
        62,
        Writer::Server,
        Fault::ShutdownFails,
    );
    case.timeouts = json!({"wait_ms": 793});
    case.calm_at_ms = 2000;
    case.is_as_it_should();
}

#[test]
fn a_client_that_leaves_behind_a_network_that_holds_is_not_seen_to_leave() {
    for (limit, sends) in [("wait_ms", 0), ("read_ms", 7)] {
        let cut = json!({"op": "cut", "request": {"id": 1, "ask": {"echo": 9}}, "bytes": sends, "then": "silence"});
        let mut case = Case::wire()
            .op(0, cut)
            .op(1, json!({"op": "stall_reading"}))
            .event(1, json!("reconnect"));
        case.timeouts = json!({ limit: 228 });
        case.calm_at_ms = 3000;
        case.is_as_it_should();
    }
}

#[test]
fn a_client_that_has_left_takes_nothing_while_its_reset_is_held_back() {
    let mut case = Case::wire()
        .op(0, send(0, json!({"sleep": {"ms": 100, "rest": 9}})))
        .op(1, json!({"op": "stall_reading"}))
        .event(1, json!("reconnect"))
        .calm_at(2000);
    case.timeouts = json!({"write_ms": 500});
    case.link = json!({"to_client": {"buffer_bytes": 1}});
    case.is_as_it_should();
    let flow = case.flow();
    assert!(flow.contains(&(1, STALLS(TO_CLIENT))), "{flow:?}");
}

#[test]
fn what_is_longer_than_a_buffer_takes_several_journeys() {
    let mut case = Case::wire().op(0, send(1, json!({"produce": 162_083})));
    case.link = json!({"to_server": {"latency_ms": 60}, "to_client": {"latency_ms": 60}});
    case.calm_at_ms = 2000;
    case.is_as_it_should();
}

#[test]
fn the_end_of_a_stream_that_was_cut_off_is_no_end_by_the_server() {
    let echo = || send(1, json!({"echo": 2000}));
    let mut case = Case::wire()
        .op(0, json!({"op": "stop_reading"}))
        .op(0, echo())
        .op(10, json!({"op": "reset"}))
        .op(20, echo())
        .op(30, json!({"op": "read_all"}));
    case.link = json!({"to_client": {"latency_ms": 40}});
    case.is_as_it_should();
}

#[test]
fn a_client_that_leaves_with_its_requests_unread_had_sent_them_whole() {
    let mut case = Case::wire()
        .op(8, send(0, json!({"echo": 0})))
        .op(8, send(3, json!({"echo": 0})))
        .op(8, json!({"op": "leave"}));
    case.link = json!({"to_server": {"read_at_most_bytes": 3}});
    case.is_as_it_should();
}

/// Two wire clients of one server, each with its events.
fn beside(events: [Vec<(u64, Value)>; 2], limits: &Value) -> Plan {
    let mut all = Vec::new();
    for (client, of_it) in events.into_iter().enumerate() {
        for (number, (at_ms, op)) in of_it.into_iter().enumerate() {
            let (id, client) = (client * 1000 + number, format!("wire-{client}"));
            all.push(json!({"id": id, "at_ms": at_ms, "client": client, "do": {"wire": op}}));
        }
    }
    all.sort_by_key(|event| event["at_ms"].as_u64());
    let client = |name: &str| json!({"name": name, "kind": "wire", "server": 0});
    let plan = json!({
        "seed": 1,
        "config": {"neighbours": "some", "limits": limits},
        "servers": 1,
        "clients": [client("wire-0"), client("wire-1")],
        "events": all,
        "phases": {"calm_at_ms": 100},
    });
    Plan::from_json(&plan.to_string()).unwrap()
}

#[test]
fn what_two_connections_reach_together_is_counted() {
    let sleep = || (0, send(3, json!({"sleep": {"ms": 90, "rest": 0}})));
    let plan = beside(
        [
            vec![sleep(), (10, json!({"op": "cancel", "id": 3}))],
            vec![sleep()],
        ],
        &json!({}),
    );
    let played = play(&plan, Trace::off());
    assert_eq!(played.verdict, None);
    for state in [Reached::SameIdBeside, Reached::CancelBeside] {
        assert!(played.reached.contains(&state), "{state}");
    }
}

const STALLS: fn(Direction) -> What = What::Stalled;
const FLOWS: fn(Direction) -> What = What::Flowing;
const TO_SERVER: Direction = Direction::ToServer;
const TO_CLIENT: Direction = Direction::ToClient;

#[test]
fn a_direction_flows_again_when_its_cut_is_healed() {
    let case = Case::wire().cut(100, Writer::Client, 400).calm_at(2000);
    let expected = [(100, STALLS(TO_SERVER)), (500, FLOWS(TO_SERVER))];
    assert_eq!(case.flow(), expected);
    let case = Case::wire().cut(100, Writer::Server, 4000).calm_at(150);
    let expected = [(100, STALLS(TO_CLIENT)), (4100, FLOWS(TO_CLIENT))];
    assert_eq!(case.flow(), expected);
}

#[test]
fn a_direction_flows_again_when_its_stall_is_over_or_all_is_calm() {
    let stall = |ms| Case::wire().strike(100, Writer::Server, Fault::Stall { ms });
    let expected = [(100, STALLS(TO_CLIENT)), (400, FLOWS(TO_CLIENT))];
    assert_eq!(stall(300).calm_at(2000).flow(), expected);
    let expected = [(100, STALLS(TO_CLIENT)), (250, FLOWS(TO_CLIENT))];
    assert_eq!(stall(300).calm_at(250).flow(), expected);
    let twice = stall(300).strike(200, Writer::Server, Fault::Stall { ms: 500 });
    let expected = [(100, STALLS(TO_CLIENT)), (700, FLOWS(TO_CLIENT))];
    assert_eq!(twice.calm_at(2000).flow(), expected);
}

#[test]
fn responses_flow_again_when_the_client_reads_again() {
    let case = Case::wire()
        .op(10, json!({"op": "stop_reading"}))
        .op(200, json!({"op": "read_all"}))
        .op(300, json!({"op": "read_slowly", "bytes": 1, "every_ms": 5}))
        .calm_at(450);
    let expected = [
        (10, STALLS(TO_CLIENT)),
        (200, FLOWS(TO_CLIENT)),
        (300, STALLS(TO_CLIENT)),
        (450, FLOWS(TO_CLIENT)),
    ];
    assert_eq!(case.flow(), expected);
}

#[test]
fn what_stalls_for_two_reasons_flows_again_when_both_are_gone() {
    let case = Case::wire()
        .op(200, json!({"op": "stop_reading"}))
        .op(900, json!({"op": "read_all"}))
        .cut(100, Writer::Server, 400)
        .calm_at(2000);
    let expected = [(100, STALLS(TO_CLIENT)), (900, FLOWS(TO_CLIENT))];
    assert_eq!(case.flow(), expected);
}

#[test]
fn a_slow_link_flows_when_all_is_calm_and_what_it_put_off_has_come() {
    let mut case = Case::wire().calm_at(700);
    case.link = json!({"to_client": {"bytes_per_second": 1000}});
    let expected = [(0, STALLS(TO_CLIENT)), (700, FLOWS(TO_CLIENT))];
    assert_eq!(case.flow(), expected);
    let case = case.op(0, send(1, json!({"produce": 1992})));
    let expected = [(0, STALLS(TO_CLIENT)), (2006, FLOWS(TO_CLIENT))];
    assert_eq!(case.flow(), expected);
}

#[test]
fn a_dead_connection_never_flows_and_is_reset_when_all_is_calm() {
    let case = Case::wire().strike(100, Writer::Client, Fault::SilentDeath);
    let recorded = case.calm_at(400).recorded();
    let first = |is_it: fn(&What) -> bool| recorded.iter().find(|(_, what)| is_it(what)).cloned();
    assert_eq!(
        first(|what| matches!(what, What::Stalled(_))),
        Some((100, STALLS(TO_SERVER)))
    );
    assert_eq!(
        first(|what| *what == What::ClientReset),
        Some((400, What::ClientReset))
    );
}

#[test]
fn a_buffer_that_is_full_holds_back_what_does_not_fit_until_it_is_read() {
    let mut case = Case::wire()
        .op(0, send(1, json!({"produce": 300})))
        .calm_at(2000);
    case.link = json!({"to_client": {"latency_ms": 60, "buffer_bytes": 120}});
    // 308 bytes in three journeys.
    let flow = case.flow();
    assert_eq!(flow.first(), Some(&(0, STALLS(TO_CLIENT))));
    assert_eq!(flow.last(), Some(&(120, FLOWS(TO_CLIENT))));
}

#[test]
fn a_fault_at_a_byte_is_recorded_as_one_at_a_time() {
    let echo = |at_ms| (at_ms, send(1, json!({"echo": 9})));
    let recorded = |fault| {
        let (at_ms, op) = echo(300);
        let timed = Case::wire()
            .op(at_ms, op)
            .strike(300, Writer::Client, fault);
        let (at_ms, op) = echo(300);
        let at_byte = Case::wire().op(at_ms, op).at_byte_to_server(0, fault);
        [timed, at_byte].map(|case| {
            let mut recorded = case.calm_at(1000).recorded();
            recorded.retain(|(_, what)| {
                let ends = [What::ClientEnded, What::ClientReset];
                ends.contains(what) || matches!(what, What::Stalled(_) | What::Flowing(_))
            });
            recorded.truncate(1);
            recorded
        })
    };
    for (fault, what) in [
        (Fault::Reset, What::ClientReset),
        (Fault::HalfClose, What::ClientEnded),
        (Fault::Truncate, What::ClientEnded),
        (Fault::SilentDeath, STALLS(TO_SERVER)),
        (Fault::Stall { ms: 50 }, STALLS(TO_SERVER)),
        (
            Fault::SlowReader {
                bytes_per_second: 9,
            },
            STALLS(TO_SERVER),
        ),
    ] {
        assert_eq!(
            recorded(fault),
            [[(300, what.clone())], [(300, what)]],
            "{fault:?}"
        );
    }
}

fn bytes_of(recorded: &[(u64, What)], of: fn(&What) -> Option<&Hex>) -> Vec<u8> {
    let pieces = recorded.iter().filter_map(|(_, what)| of(what));
    pieces.flat_map(|piece| piece.0.clone()).collect()
}

const fn sent(what: &What) -> Option<&Hex> {
    match what {
        What::Sent(bytes) => Some(bytes),
        _ => None,
    }
}

const fn received(what: &What) -> Option<&Hex> {
    match what {
        What::Received(bytes) => Some(bytes),
        _ => None,
    }
}

#[test]
fn a_task_that_others_leave_no_place_is_seen_beside_them() {
    let sleep = |at_ms, id| (at_ms, send(id, json!({"sleep": {"ms": 50, "rest": 0}})));
    let plan = beside(
        [vec![sleep(0, 1), sleep(0, 2)], vec![sleep(20, 1)]],
        &json!({"tasks": 2}),
    );
    let played = play(&plan, Trace::off());
    assert_eq!(played.verdict, None);
    assert!(played.reached.contains(&Reached::ServerFullTogether));
}

#[test]
fn a_later_connection_is_taken_at_its_own_time() {
    let mut case = Case::wire().event(40, json!("reconnect"));
    case.calm_at_ms = 100;
    let played = play(&case.plan(0), Trace::off());
    let opened: Vec<_> = played.connections.iter().map(|c| c.opened_at).collect();
    assert_eq!(opened, [0, 40].map(Duration::from_millis));
}

#[test]
fn a_context_that_ends_is_a_graceful_disconnect() {
    let mut case = Case::wire()
        .op(0, send(1, json!({"sleep": {"ms": 30, "rest": 0}})))
        .op(10, json!({"op": "end_context"}))
        .op(20, send(2, json!({"echo": 1})));
    case.calm_at_ms = 100;
    case.is_as_it_should();
    let played = play(&case.plan(0), Trace::off());
    for state in [Reached::ContextEnded, Reached::Drained] {
        assert!(played.reached.contains(&state), "{state}");
    }
}

#[test]
fn a_server_is_judged_by_the_request_that_came_to_it() {
    // What it has is an echo of `aa`: the client wrote another code.
    let case = Case::wire().op(0, json!({"op": "garbage", "bytes": "03000000070261610003"}));
    let case = case
        .at_byte_to_server(0, Fault::Corrupt { xor: 2 })
        .calm_at(100);
    let recorded = case.recorded();
    assert_eq!(
        bytes_of(&recorded, sent)[..9],
        [1, 0, 0, 0, 7, 2, b'a', b'a', 0]
    );
    assert_eq!(
        bytes_of(&recorded, received)[..9],
        [0, 0, 0, 0, 7, 2, b'a', b'a', 0]
    );
    case.is_as_it_should();
}

#[test]
fn a_server_is_judged_by_the_response_that_it_wrote() {
    let case = Case::wire().op(0, send(7, json!({"echo": 2})));
    let case = case
        .at_byte_to_client(1, Fault::Corrupt { xor: 0xff })
        .calm_at(100);
    assert_eq!(
        bytes_of(&case.recorded(), received),
        [0, 0, 0, 0, 7, 2, 0, 1, 0]
    );
    case.is_as_it_should();
}

#[test]
fn what_a_fault_swallows_was_never_sent() {
    let case = Case::wire().op(0, send(7, json!({"echo": 2})));
    let case = case.at_byte_to_server(3, Fault::Truncate).calm_at(100);
    assert_eq!(bytes_of(&case.recorded(), sent), [1, 0, 0]);
    case.is_as_it_should();
    let timed = Case::wire().strike(50, Writer::Client, Fault::Truncate);
    let timed = timed.op(100, send(7, json!({"echo": 2}))).calm_at(200);
    assert!(bytes_of(&timed.recorded(), sent).is_empty());
    timed.is_as_it_should();
}

#[test]
fn what_dies_behind_its_end_sends_nothing_more() {
    let case = Case::wire().op(0, send(7, json!({"echo": 2})));
    let case = case.op(9, send(8, json!({"echo": 2})));
    let case = case.at_byte_to_server(3, Fault::Truncate);
    let case = case.strike(1, Writer::Client, Fault::SilentDeath);
    assert_eq!(bytes_of(&case.recorded(), sent), [1, 0, 0]);
    case.is_as_it_should();
}

#[test]
fn a_client_is_judged_by_what_came_to_it() {
    let call = || json!({"call": {"ask": {"echo": 1015}, "idempotent": false}});
    let case = || {
        Case::caller()
            .event(0, call())
            .event(50, call())
            .calm_at(100)
    };
    for (byte, xor) in (0..60).flat_map(|byte| [(byte, 1), (byte, 0xff)]) {
        let flips = Fault::Corrupt { xor };
        case().at_byte_to_client(byte, flips).recorded();
        case().at_byte_to_server(byte, flips).recorded();
    }
}
