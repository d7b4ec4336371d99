//! Judges histories that are kept as JSON, whoever recorded them.
//!
//!     cargo run -p asyncserver-proptests --example judge -- history.json …
//!
//! Prints the timeline and every violation; fails if there is one.

use std::process::ExitCode;

use oracle::{History, Oracle, timeline};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut outcome = ExitCode::SUCCESS;
    for path in std::env::args().skip(1) {
        let history: History = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        println!("{path}\n{}", timeline::render(&history));
        for violation in Oracle::new(&history).violations() {
            println!("{violation}\n");
            outcome = ExitCode::FAILURE;
        }
    }
    Ok(outcome)
}
