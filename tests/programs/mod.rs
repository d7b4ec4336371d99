//! The example programs, as tests run them.

use std::path::PathBuf;
use std::process::Command;

/// The path of an example, which `cargo test` builds beside the tests; where
/// one test alone is asked for, it is built here.
pub(crate) fn example(name: &str) -> PathBuf {
    let mut path: PathBuf = std::env::current_exe().expect("the test's own path");
    path.pop();
    path.set_file_name("examples");
    path.push(name);
    if !path.exists() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--example", name])
            .status();
        assert!(build.expect("cargo runs").success());
    }
    path
}
