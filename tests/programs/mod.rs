//! The example programs, as tests run them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of an example, which `cargo test` builds beside the tests; where
/// one test alone is asked for, it is built here, or it might be an old one.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let mut path = test.clone();
    path.pop();
    path.set_file_name("examples");
    path.push(name);
    let built = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    if built(&path) < built(&test) {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--example", name])
            .status();
        assert!(build.expect("cargo runs").success());
    }
    path
}
