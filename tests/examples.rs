//! What the example programs print, and with which status they exit.

#![cfg(unix)]

mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

/// A folder of its own for a test, emptied before.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn digest(folder: &Path, arguments: &[&str]) -> Output {
    let mut digest = Command::new(programs::example("digest"));
    digest.current_dir(folder).args(arguments);
    digest.output().expect("digest runs")
}

fn line(name: &str, content: &[u8]) -> String {
    let sum: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{sum}  {name}\n")
}

#[test]
fn digest_prints_the_sums_in_the_order_of_its_arguments() {
    let folder = folder("order");
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let files: [(&str, &[u8]); 4] = [
        ("large", &large),
        ("empty", b""),
        ("small", b"abc"),
        ("block", &large[..255]),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("a file");
    }
    let output = digest(&folder, &["large", "empty", "small", "block", "small"]);
    let expected: String = [files[0], files[1], files[2], files[3], files[2]]
        .iter()
        .map(|(name, content)| line(name, content))
        .collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn digest_names_a_file_that_cannot_be_read_and_does_the_others() {
    let folder = folder("unreadable");
    fs::write(folder.join("there"), "abc").expect("a file");
    fs::create_dir(folder.join("folder")).expect("a folder");
    let output = digest(&folder, &["missing", "there", "folder"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        line("there", b"abc")
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut errors = errors.lines();
    assert_eq!(
        errors.next(),
        Some("digest: missing: No such file or directory")
    );
    assert_eq!(errors.next(), Some("digest: folder: is a directory"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn digest_escapes_names_as_sha256sum_does() {
    let folder = folder("names");
    fs::write(folder.join("a\\b\nc"), "abc").expect("a file");
    let output = digest(&folder, &["a\\b\nc"]);
    let expected = format!("\\{}", line("a\\\\b\\nc", b"abc"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn every_example_with_arguments_explains_them() {
    for name in ["digest", "demo_server", "call"] {
        let help = Command::new(programs::example(name)).arg("--help").output();
        let help = help.expect("it runs");
        assert!(help.status.success(), "{name}");
        assert!(
            String::from_utf8_lossy(&help.stdout).contains("Usage:"),
            "{name}"
        );
    }
}

#[test]
fn quickstart_answers_its_own_call() {
    let output = Command::new(programs::example("quickstart"))
        .output()
        .expect("it runs");
    let expected = "HELLO\neverything was answered: true\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
