//! Half of all requests are cancelled right after they were sent.

use std::cell::Cell;

use super::interleave::{Participant, interleave};
use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::Shape;
use crate::load::storm::{self, OnCancel};
use crate::report::{Results, cost_plot, cost_table, share};
use crate::server::ServerSettings;

pub(super) struct CancelStorm {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) handler: Handler,
}

const CONTENDERS: [&str; 5] = ["raw", "auto", "local", "spawn", "blocking"];

pub(super) fn all() -> Vec<Box<dyn Workload>> {
    let mut workloads: Vec<Box<dyn Workload>> = Vec::new();
    for handler in [Handler::Yield, Handler::Sleep] {
        for (connections, in_flight) in [(1, 1024), (64, 16)] {
            workloads.push(Box::new(CancelStorm {
                connections,
                in_flight,
                handler,
            }));
        }
    }
    workloads
}

/// Of one contender: answers in all, and those that were `CANCELLED`.
#[derive(Default)]
struct Answers {
    all: Cell<u64>,
    cancelled: Cell<u64>,
}

impl Workload for CancelStorm {
    fn name(&self) -> String {
        let handler = format!("{:?}", self.handler).to_lowercase();
        format!("cancel/{handler}/{}x{}", self.connections, self.in_flight)
    }

    fn run(&self, setup: &Setup) -> Results {
        let answers: [Answers; 5] = Default::default();
        let participants: Vec<_> = CONTENDERS
            .iter()
            .zip(&answers)
            .map(|(contender, answers)| self.participant(contender, answers))
            .collect();
        let measured = interleave(setup, &participants, ServerSettings::new(setup.burn));
        let title = format!(
            "{}×{} in flight, 16 B, {}, half of them cancelled",
            self.connections,
            self.in_flight,
            self.handler.in_words()
        );
        let plot = cost_plot(&self.name(), &title, &measured);
        let mut table = cost_table(title, &measured);
        let shares = CONTENDERS.iter().zip(&answers);
        let shares =
            shares.filter(|(contender, answers)| **contender != "raw" && answers.all.get() > 0);
        let shares = shares.map(|(contender, answers)| {
            let cancelled = answers.cancelled.get() as f64 / answers.all.get() as f64;
            format!("{contender} {} %", share(100.0 * cancelled))
        });
        table.note(format!(
            "Answered CANCELLED: {}. Each request had exactly one answer; the raw loop answers the \
             Cancels, too.",
            shares.collect::<Vec<_>>().join(", ")
        ));
        Results::from(table).with(plot)
    }
}

impl CancelStorm {
    fn participant<'a>(&self, contender: &'static str, answers: &'a Answers) -> Participant<'a> {
        let (connections, in_flight, handler) = (self.connections, self.in_flight, self.handler);
        let on_cancel = match contender {
            "raw" => OnCancel::IsAnswered,
            _ => OnCancel::EndsTask,
        };
        Participant::new(contender, contender, move |time, probe| {
            let shape = Shape {
                connections,
                in_flight,
                message_bytes: 16,
                handler,
                time,
            };
            let storm = storm::load(shape, on_cancel, probe);
            answers.all.set(answers.all.get() + storm.round.requests);
            answers
                .cancelled
                .set(answers.cancelled.get() + storm.cancelled);
            storm.round
        })
    }
}
