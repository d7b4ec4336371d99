//! Plays scenarios and prints their timelines and verdicts:
//! `cargo run -p asyncserver-harness --bin replay -- FILE...`

use std::path::Path;
use std::process::ExitCode;

use harness::suite;

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: replay FILE...");
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        let scenario = suite::read(Path::new(file));
        let outcome = harness::run(&scenario);
        println!("{file}: {}\n{}", scenario.about, suite::show(&outcome));
        if outcome.verdict().is_err() {
            code = ExitCode::FAILURE;
        }
    }
    code
}
