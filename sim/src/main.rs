//! The command `sim`: runs seeds, replays what fails, and makes it smaller.

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // What panics is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match command::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}
