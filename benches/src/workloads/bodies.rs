//! Messages of many megabytes, one way: streamed, and as a whole.

use asyncserver::server::Limits;
use asyncserver::wire::TaskCode;

use super::interleave::{Participant, interleave};
use super::{Setup, Workload};
use crate::handler::{COUNT, COUNT_WHOLE, PRODUCE, PRODUCE_WHOLE};
use crate::load::bodies::{self, Body, Direction};
use crate::load::streams;
use crate::report::{Results, body_plot, body_table, bytes};
use crate::server::ServerSettings;

pub(super) struct Bodies {
    direction: Direction,
    bytes: usize,
}

/// Longer ones are not held as a whole, by nobody.
const MOST_WHOLE_BYTES: usize = 16 << 20;

pub(super) fn of(bytes: usize) -> impl Iterator<Item = Box<dyn Workload>> {
    let directions = [Direction::Upload, Direction::Download].into_iter();
    directions.map(move |direction| Box::new(Bodies { direction, bytes }) as Box<dyn Workload>)
}

impl Bodies {
    /// The tasks that do it streamed, and as a whole.
    const fn codes(&self) -> (TaskCode, TaskCode) {
        match self.direction {
            Direction::Upload => (COUNT, COUNT_WHOLE),
            Direction::Download => (PRODUCE, PRODUCE_WHOLE),
        }
    }

    const fn body(&self, code: TaskCode) -> Body {
        Body {
            direction: self.direction,
            bytes: self.bytes,
            code,
        }
    }

    fn participants(&self) -> Vec<Participant<'_>> {
        let participant = |label: &str, contender, code| {
            let body = self.body(code);
            Participant::new(label, contender, move |time, probe| {
                bodies::load(body, time, probe)
            })
        };
        let (streamed, whole) = self.codes();
        let mut participants = vec![
            participant("raw", "raw-bodies", streamed),
            participant("floor, streamed", "floor-bodies", streamed),
            participant("auto, streamed", "auto", streamed),
        ];
        let streamed = self.body(streamed);
        participants.push(Participant::new(
            "auto + client, streamed",
            "auto",
            move |time, probe| streams::load(streamed, time, probe),
        ));
        if self.bytes <= MOST_WHOLE_BYTES {
            participants.push(participant("floor, whole", "floor-bodies", whole));
            participants.push(participant("auto, whole", "auto", whole));
        }
        participants
    }
}

impl Workload for Bodies {
    fn name(&self) -> String {
        let direction = format!("{:?}", self.direction).to_lowercase();
        format!("{direction}/{}", bytes(self.bytes).replace(' ', ""))
    }

    fn run(&self, setup: &Setup) -> Results {
        let mut settings = ServerSettings::new(setup.burn);
        if self.direction == Direction::Upload && self.bytes > Limits::default().message_limit_bytes
        {
            settings.message_bytes_limit = Some(self.bytes);
        }
        let measured = interleave(setup, &self.participants(), settings);
        let way = match self.direction {
            Direction::Upload => "to the server",
            Direction::Download => "from the server",
        };
        let title = format!("1×1 in flight, {} {way}", bytes(self.bytes));
        let plot = body_plot(&self.name(), &title, self.bytes, &measured);
        let mut table = body_table(title, self.bytes, &measured);
        table.note("A round has whole messages only, at least one.");
        if !settings.note().is_empty() {
            table.note(settings.note());
        }
        Results::from(table).with(plot)
    }
}
