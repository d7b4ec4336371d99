//! The server's side of the program: it serves one contender and answers its
//! parent's questions, a line each, over standard input and output.

mod process;

use std::io::BufRead;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use crate::contenders;
use crate::handler::BurnSteps;
use crate::measure::AllocationCount;
pub(crate) use process::{Build, ServerProcess};

/// What a server process is told when it starts.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ServerSettings {
    /// How much `Handler::Burn` computes.
    #[arg(long, hide = true, default_value_t = 0)]
    burn_steps: u64,
    /// Another limit than the default for connections, where a workload needs more.
    #[arg(long, hide = true)]
    pub(crate) connection_limit: Option<usize>,
    /// The same for tasks, of the server.
    #[arg(long, hide = true)]
    pub(crate) task_limit: Option<usize>,
    /// The same for tasks of one connection.
    #[arg(long, hide = true)]
    pub(crate) in_flight_limit: Option<usize>,
    /// The same for the bytes of a message.
    #[arg(long, hide = true)]
    pub(crate) message_bytes_limit: Option<usize>,
}

impl ServerSettings {
    pub(crate) fn new(burn: BurnSteps) -> Self {
        Self {
            burn_steps: burn.0,
            ..Self::default()
        }
    }

    pub(crate) const fn burn(&self) -> BurnSteps {
        BurnSteps(self.burn_steps)
    }

    /// What differs from the defaults, in words; empty if nothing does.
    pub(crate) fn note(&self) -> String {
        let limits = self.limits().into_iter();
        let changed = limits.filter_map(|(name, limit)| Some(format!("{name} limit {}", limit?)));
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return String::new();
        }
        format!("Not a default: {}.", changed.join(", "))
    }

    fn limits(&self) -> [(&'static str, Option<usize>); 4] {
        [
            ("connection", self.connection_limit),
            ("task", self.task_limit),
            ("in-flight", self.in_flight_limit),
            ("message-bytes", self.message_bytes_limit),
        ]
    }

    /// The same on the command line.
    fn to_arguments(self) -> Vec<String> {
        let mut arguments = vec![format!("--burn-steps={}", self.burn_steps)];
        for (name, limit) in self.limits() {
            arguments.extend(limit.map(|limit| format!("--{name}-limit={limit}")));
        }
        arguments
    }
}

/// Serves until the parent closes standard input.
pub(crate) fn serve(
    contender: &str,
    settings: &ServerSettings,
    allocations: AllocationCount,
) -> ExitCode {
    let contender = contenders::find(contender).expect("the parent knows the contenders");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let _context = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(any_port).expect("a port");
    // Clients that come by the thousand are to wait here, not to be turned away.
    let listener = socket.listen(4096).expect("a listener");
    println!("{}", listener.local_addr().expect("its address"));
    let served = contender.serve(listener, settings);
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the parent writes text");
        println!("{}", answer(&line, &*served, allocations));
    }
    // Tasks may still run; nobody waits for them.
    std::process::exit(0)
}

fn answer(question: &str, served: &dyn contenders::Served, allocations: AllocationCount) -> String {
    match question {
        "allocations" => allocations.now().to_string(),
        other => served.answer(other),
    }
}
