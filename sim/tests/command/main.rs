//! The command `sim`, as a user runs it.

mod many;
mod one;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use asyncserver_sim::{Action, ClientKind, Event, Phases, Plan, Profile};

/// A folder of a test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-{name}"));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments).current_dir(folder);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A plan that is broken for sure: nobody comes to an end without any time. Its
/// events do nothing, whatever plans come of seeds.
fn impossible() -> Plan {
    let mut plan = Plan::generate(3, Profile::Calm);
    plan.servers = 1;
    plan.clients.truncate(1);
    plan.clients[0].name = "caller-0".to_owned();
    plan.clients[0].kind = ClientKind::Caller {
        retries: 0,
        negotiates: false,
    };
    let event = |id| Event {
        id,
        at_ms: id.into(),
        client: "caller-0".to_owned(),
        action: Action::CancelCall(99),
    };
    plan.events = (0..5).map(event).collect();
    plan.faults.clear();
    plan.phases = Phases {
        calm_at_ms: 5,
        budget_ms: 0,
    };
    plan
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
