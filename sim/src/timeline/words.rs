//! A plan in plain words.

use oracle::{Ask, BodyEnd, Op, Request, RunEnd, Then};

use crate::{
    Action, ClientKind, ClientPlan, Door, Event, Fault, LinkFaults, Plan, Trouble, Writer,
};

/// Something that a plan says.
pub(super) struct Step {
    pub(super) at_ms: u64,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) class: &'static str,
}

/// Events and faults, by time.
pub(super) fn steps(plan: &Plan) -> Vec<Step> {
    let event = |event: &Event| Step {
        at_ms: event.at_ms,
        who: who(event),
        what: action(event),
        class: "",
    };
    let fault = |fault: &crate::TimedFault| Step {
        at_ms: fault.at_ms,
        who: "fault".to_owned(),
        what: trouble(&fault.trouble),
        class: "fault",
    };
    // A fault comes before the events of its time, as in the run.
    let mut steps: Vec<_> = plan.faults.iter().map(fault).collect();
    steps.extend(plan.events.iter().map(event));
    steps.sort_by_key(|step| step.at_ms);
    steps.push(Step {
        at_ms: plan.phases.calm_at_ms,
        who: "all".to_owned(),
        what: "faults end; scripted tasks complete; everything has to come to its end".to_owned(),
        class: "",
    });
    steps
}

pub(super) fn head(plan: &Plan) -> String {
    format!(
        "seed {:#x}: {}, {}, {}, {}",
        plan.seed,
        count(plan.clients.len(), "client"),
        count(plan.servers as usize, "server"),
        count(plan.events.len(), "event"),
        count(plan.faults.len(), "fault"),
    )
}

fn count(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

pub(super) fn client(client: &ClientPlan) -> String {
    let kind = match client.kind {
        ClientKind::Wire => format!("writes bytes to server-{}", client.server),
        ClientKind::Caller {
            retries,
            negotiates,
        } => {
            let negotiates = if negotiates {
                ""
            } else {
                ", does not negotiate"
            };
            let retries = count(retries as usize, "retry").replace("retrys", "retries");
            format!("the library's client, {retries}{negotiates}")
        }
    };
    let link = [
        ("its bytes", &client.link.to_server),
        ("the server's bytes", &client.link.to_client),
    ];
    let links = link.map(|(whose, faults)| self::link(whose, faults));
    format!("{}: {kind}{}", client.name, links.concat())
}

fn link(whose: &str, faults: &LinkFaults) -> String {
    if *faults == LinkFaults::default() {
        return String::new();
    }
    let json = serde_json::to_string(faults).unwrap_or_default();
    let words = json.replace(['{', '}', '"'], "").replace(':', " ");
    let words = words
        .split(',')
        .filter(|word| *word != "buffer_bytes 65536");
    format!("; {whose}: {}", words.collect::<Vec<_>>().join(", "))
}

/// Who does it: a client, or the server's program with the client's handle.
fn who(event: &Event) -> String {
    match &event.action {
        Action::Wire(op) if program(op, &event.client).is_some() => "program".to_owned(),
        _ => event.client.clone(),
    }
}

fn action(event: &Event) -> String {
    let id = event.id;
    match &event.action {
        Action::Wire(op) => program(op, &event.client).unwrap_or_else(|| self::op(op)),
        Action::Reconnect => "connects again".to_owned(),
        Action::Call {
            ask,
            idempotent,
            timeout_ms,
        } => {
            let again = if *idempotent { ", may run twice" } else { "" };
            let timeout = timeout_ms.map(|ms| format!(", waits {ms} ms"));
            let (ask, timeout) = (self::ask(ask), timeout.unwrap_or_default());
            format!("call {id}: {ask}{again}{timeout}")
        }
        Action::CancelCall(call) => format!("cancels call {call}"),
        Action::DropCall(call) => format!("drops call {call}"),
        Action::KeepAlive => "asks for a sign of life".to_owned(),
        Action::CloseClient { within_ms } => format!("closes within {within_ms} ms"),
    }
}

fn op(op: &Op) -> String {
    match op {
        Op::Send { request, pieces } if pieces.is_empty() => format!("sends {}", asked(request)),
        Op::Send { request, pieces } => {
            let pieces = pieces.iter();
            let pieces: Vec<_> = pieces
                .map(|piece| format!("{} bytes, {} ms", piece.bytes, piece.then_ms))
                .collect();
            format!(
                "sends {} in pieces: {}, the rest",
                asked(request),
                pieces.join(", ")
            )
        }
        Op::SendTogether { requests } => {
            let requests: Vec<_> = requests.iter().map(asked).collect();
            format!("sends at once {}", requests.join(", "))
        }
        Op::Cut {
            request,
            bytes,
            then,
        } => {
            let then = match then {
                Then::EndOfStream => "the end of its stream",
                Then::Reset => "a reset",
                Then::Silence => "nothing",
            };
            format!("sends {bytes} bytes of {}, then {then}", asked(request))
        }
        Op::Garbage { bytes } => format!("sends {} bytes of garbage", bytes.0.len()),
        Op::HalfClose => "ends its stream and goes on reading".to_owned(),
        Op::Leave => "goes away".to_owned(),
        Op::Reset | Op::TransportError { .. } => "resets the connection".to_owned(),
        Op::StopReading => "stops reading".to_owned(),
        Op::ReadSlowly { bytes, every_ms } => format!("reads {bytes} bytes each {every_ms} ms"),
        Op::ReadAll => "reads all".to_owned(),
        Op::StallWriting => "the network holds the server's bytes".to_owned(),
        Op::StallReading => "the network holds the client's bytes".to_owned(),
        Op::Unstall => "the network lets all bytes go".to_owned(),
        _ => "waits".to_owned(),
    }
}

/// What the server's program does, if it does anything.
fn program(op: &Op, client: &str) -> Option<String> {
    Some(match op {
        Op::List => format!("lists the tasks of {client}"),
        Op::Cancel { id } => format!("cancels task {id} of {client}"),
        Op::CancelAll => format!("cancels all tasks of {client}"),
        Op::Disconnect { after_ms } => format!("disconnects {client} within {}", ms(*after_ms)),
        Op::ServerDisconnect { after_ms } => format!("disconnects all within {}", ms(*after_ms)),
        Op::Shutdown { after_ms } => format!("shuts down within {}", ms(*after_ms)),
        Op::Close => format!("closes {client}"),
        Op::DropConnection => format!("drops the connection of {client}"),
        Op::EndContext => format!("ends the context of {client}"),
        Op::Complete { id, how } => {
            format!("task {id} of {client} is to end {}", run_end(*how))
        }
        Op::CompleteBody { id, how } => {
            format!(
                "the body of task {id} of {client} is to end {}",
                body_end(*how)
            )
        }
        _ => return None,
    })
}

fn ms(ms: u64) -> String {
    match ms {
        u64::MAX => "any time".to_owned(),
        ms => format!("{ms} ms"),
    }
}

fn asked(request: &Request) -> String {
    format!("{} as {}", ask(&request.ask), request.id)
}

fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Echo(bytes) => format!("echo of {bytes} bytes"),
        Ask::Sleep { ms, rest } => format!("sleep {ms} ms with {rest} bytes"),
        Ask::Fail(code) => format!("fail with {code}"),
        Ask::Produce(bytes) => format!("produce {bytes} bytes"),
        Ask::Tear(bytes) => format!("tear after {bytes} bytes"),
        Ask::Nothing(bytes) => format!("none with {bytes} bytes"),
        Ask::Reject(bytes) => format!("reject with {bytes} bytes"),
        Ask::Digest(bytes) => format!("digest of {bytes} bytes"),
        Ask::First(bytes) => format!("first of {bytes} bytes"),
        Ask::Tidy(ms) => format!("tidy in {ms} ms"),
        Ask::Block(ms) => format!("block for {ms} ms"),
        Ask::Limited(ms) => format!("limited, {ms} ms"),
        Ask::Panic => "panic".to_owned(),
        Ask::Break => "break".to_owned(),
        Ask::Tasks => "tasks".to_owned(),
        Ask::Scripted { code, bytes } => format!("scripted task {code} with {bytes} bytes"),
        Ask::Unknown { code, bytes } => format!("unknown code {code} with {bytes} bytes"),
        Ask::Raw { code, message } => format!("code {code} with {} bytes", message.0.len()),
        Ask::KeepAlive(bytes) => format!("KeepAlive with {bytes} bytes"),
        Ask::Cancel(bytes) => format!("Cancel with {bytes} bytes"),
        Ask::Negotiate {
            version, features, ..
        } => format!("Negotiate of version {version}, features {features}"),
    }
}

fn run_end(how: RunEnd) -> String {
    match how {
        RunEnd::Result => "with its result".to_owned(),
        RunEnd::Whole { bytes } => format!("with {bytes} bytes"),
        RunEnd::Streamed { bytes, then } => {
            format!("with a stream of {bytes} bytes, {}", body_end(then))
        }
        RunEnd::Coded { code } => format!("with error {code}"),
        RunEnd::Uncoded => "with an error without a code".to_owned(),
        RunEnd::Panicked => "with a panic".to_owned(),
        RunEnd::Dropped => "dropped".to_owned(),
    }
}

fn body_end(how: BodyEnd) -> String {
    match how {
        BodyEnd::Whole => "whole".to_owned(),
        BodyEnd::Coded { code } => format!("then error {code}"),
        BodyEnd::Torn => "then torn".to_owned(),
        BodyEnd::Panicked => "then a panic".to_owned(),
        BodyEnd::Stalls => "then nothing more".to_owned(),
    }
}

/// The client and the server that a trouble is about.
pub(super) fn ends(trouble: &Trouble) -> (Option<&str>, u32) {
    match trouble {
        Trouble::Cut { client, server, .. } | Trouble::Strike { client, server, .. } => {
            (Some(client), *server)
        }
        Trouble::Crash { server, .. }
        | Trouble::Restart { server, .. }
        | Trouble::Door { server, .. }
        | Trouble::FailAccepts { server, .. } => (None, *server),
    }
}

pub(crate) fn trouble(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Cut {
            client,
            server,
            writer,
            for_ms,
        } => {
            let whose = match writer {
                Some(Writer::Client) => format!("from {client} to server-{server}"),
                Some(Writer::Server) => format!("from server-{server} to {client}"),
                None => format!("between {client} and server-{server}"),
            };
            format!("nothing passes {whose} for {for_ms} ms")
        }
        Trouble::Strike {
            client,
            server,
            writer,
            fault,
        } => {
            let whose = match writer {
                Writer::Client => format!("what {client} writes to server-{server}"),
                Writer::Server => format!("what server-{server} writes to {client}"),
            };
            format!("{} strikes {whose}", self::fault(*fault))
        }
        Trouble::Crash {
            server,
            how,
            for_ms,
        } => format!("server-{server} crashes ({how:?}), back after {for_ms} ms"),
        Trouble::Restart {
            server,
            within_ms,
            for_ms,
        } => format!(
            "server-{server} is shut down within {within_ms} ms, and started {for_ms} ms later"
        ),
        Trouble::Door {
            server,
            door,
            for_ms,
        } => {
            let door = match door {
                Door::Refusing => "refuses",
                Door::Hanging => "does not answer",
                Door::Open => "takes",
            };
            format!("server-{server} {door} new connections for {for_ms} ms")
        }
        Trouble::FailAccepts { server, count } => {
            format!("the next {count} accepts of server-{server} fail")
        }
    }
}

fn fault(fault: Fault) -> String {
    match fault {
        Fault::Reset => "a reset".to_owned(),
        Fault::HalfClose => "an end of stream".to_owned(),
        Fault::Truncate => "a truncation".to_owned(),
        Fault::SilentDeath => "silence for good".to_owned(),
        Fault::Corrupt { xor } => format!("a corruption by {xor:#x}"),
        Fault::Stall { ms } => format!("a stall of {ms} ms"),
        Fault::SlowReader { bytes_per_second } => {
            format!("a reader of {bytes_per_second} bytes a second")
        }
        Fault::FlushFails => "a failing flush".to_owned(),
        Fault::ShutdownFails => "a failing shutdown".to_owned(),
        Fault::SpuriousWake => "a spurious wake-up".to_owned(),
    }
}
