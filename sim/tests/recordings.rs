//! What a run records of its connections is what happened to them: plans whose
//! recordings once told the oracle something else, and were rejected.

use std::time::Duration;

use asyncserver_sim::{Fault, Plan, Trace, Trouble, Writer, play};
use oracle::Reached;
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

    fn strike(mut self, at_ms: u64, writer: Writer, fault: Fault) -> Self {
        let trouble = Trouble::Strike {
            client: "client-0".into(),
            server: 0,
            writer,
            fault,
        };
        self.faults.push((at_ms, trouble));
        self
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
            "phases": {"calm_at_ms": self.calm_at_ms},
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
