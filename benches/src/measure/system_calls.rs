//! System calls of a process, counted by the kernel at the request of `perf`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// `perf` while it counts; the count goes from its start to its end.
pub(crate) struct SystemCalls {
    perf: Child,
}

impl SystemCalls {
    /// Starts to count. `None` where `perf` is missing or may not.
    pub(crate) fn start(process: u32) -> Option<Self> {
        let process = process.to_string();
        // The command that perf runs tells when counting has begun, and ends
        // it when it ends itself: there is nothing to guess.
        let mut perf = Command::new("perf")
            .args([
                "stat",
                "-x,",
                "-e",
                "raw_syscalls:sys_enter",
                "-p",
                &process,
            ])
            .args(["--", "sh", "-c", "echo counting; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let stdout = perf.stdout.take().expect("it is piped");
        let told = BufReader::new(stdout).read_line(&mut line);
        if told.is_ok() && line.trim() == "counting" {
            return Some(Self { perf });
        }
        drop(perf.wait());
        None
    }

    /// How many there were.
    pub(crate) fn end(mut self) -> Option<u64> {
        drop(self.perf.stdin.take());
        let mut report = String::new();
        let mut stderr = self.perf.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut report).ok()?;
        drop(self.perf.wait());
        let line = report.lines().find(|line| line.contains("sys_enter"))?;
        match line.split(',').next()? {
            "<not counted>" => Some(0),
            count => count.parse().ok(),
        }
    }
}
