//! The benchmarks: see `README.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench_harness::run()
}
