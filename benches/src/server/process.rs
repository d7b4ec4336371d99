//! A server process as its parent sees it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::ServerSettings;
use crate::measure;

/// A server in a process of its own; it ends with this.
pub(crate) struct ServerProcess {
    process: Child,
    address: SocketAddr,
    build: Build,
    /// Where questions are asked and answered, one at a time.
    conversation: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

/// Which of the two programs a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// With the system's allocator: for what is timed.
    Plain,
    /// With an allocator that counts.
    Counting,
}

impl Build {
    /// Its program; the counting one is built when it is first needed.
    fn program(self) -> PathBuf {
        let own = std::env::current_exe().expect("this program's path");
        match self {
            Self::Plain => own,
            Self::Counting => measure::counting_program(&own),
        }
    }
}

impl ServerProcess {
    pub(crate) fn start(contender: &str, build: Build, settings: ServerSettings) -> Self {
        let mut process = Command::new(build.program())
            .args(["--serve", contender])
            .args(settings.to_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdin = process.stdin.take().expect("it is piped");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next().expect("a line").expect("text");
        Self {
            address: address.parse().expect("an address"),
            process,
            build,
            conversation: Mutex::new((stdin, lines)),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn build(&self) -> Build {
        self.build
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The CPU time of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        measure::process_cpu(self.id())
    }

    /// Allocations since it started; only one of [`Build::Counting`] knows.
    pub(crate) fn allocations(&self) -> u64 {
        self.ask("allocations").parse().expect("a number")
    }

    /// Asks the server something that its contender knows.
    pub(crate) fn ask(&self, question: &str) -> String {
        let mut conversation = self.conversation.lock().expect("nobody panicked");
        let (stdin, lines) = &mut *conversation;
        writeln!(stdin, "{question}").expect("the server listens");
        lines.next().expect("an answer").expect("text")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
