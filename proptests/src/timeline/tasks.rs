//! Which task an event is about. Ids are used again: the n-th task of an id is
//! told from the others by what came before.

use std::collections::BTreeMap;

use asyncserver::wire::TaskCode;

use super::Note;
use crate::history::{Call, Observed, What};
use crate::oracle::received::Reply;

/// The tasks that events were about so far.
#[derive(Default)]
pub(super) struct Tasks {
    by_id: BTreeMap<u32, Vec<Task>>,
    /// The names of the tasks whose functions have these numbers.
    runs: BTreeMap<u32, String>,
}

/// How much was seen of a task: each of it comes once.
#[derive(Default)]
struct Task {
    code: u8,
    request: Seen,
    function: Seen,
    answer: Seen,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    No,
    Yes,
}

impl Tasks {
    /// The names of the tasks that an event is about.
    pub(super) fn of(&mut self, what: &What, notes: &[Note]) -> Vec<String> {
        let name = match what {
            What::Sent(_) | What::Received(_) => {
                return notes.iter().filter_map(|note| self.noted(note)).collect();
            }
            What::Called {
                what: Call::Cancel { id },
                ..
            } => self.present(*id),
            What::FunctionStarted { id, code } => self.function(*id, *code),
            What::FunctionEnded { id, .. } => self.present(*id),
            What::RunStarted { run, id, .. } => {
                let name = self.present(*id);
                self.runs.insert(*run, name.clone());
                name
            }
            What::RunEnded { run, .. }
            | What::BodyEnded { run, .. }
            | What::BodyDropped { run } => {
                return self.runs.get(run).cloned().into_iter().collect();
            }
            What::Observed(
                Observed::Started { id, .. }
                | Observed::Cancelled { id, .. }
                | Observed::Finished { id, .. }
                | Observed::Stuck { id },
            ) => self.present(*id),
            _ => return Vec::new(),
        };
        vec![name]
    }

    fn noted(&mut self, note: &Note) -> Option<String> {
        match note {
            Note::Request(code, id, _) if *code == TaskCode::CANCEL.0 => Some(self.present(*id)),
            Note::Request(code, id, _) => Some(self.request(*id, *code)),
            Note::Reply(Reply::Ok { id, .. } | Reply::Error { id, .. }) => Some(self.answer(*id)),
            Note::Reply(Reply::Processing(id)) => Some(self.present(*id)),
            Note::Reply(Reply::Goodbye(_)) | Note::Partial(_) => None,
        }
    }

    /// A request is one whose function was seen before its last byte, or a new task.
    fn request(&mut self, id: u32, code: u8) -> String {
        let is_it = |task: &Task| task.request == Seen::No && task.code == code;
        self.first(id, code, is_it, |task| task.request = Seen::Yes)
    }

    fn function(&mut self, id: u32, code: u8) -> String {
        let is_it = |task: &Task| task.function == Seen::No && task.code == code;
        self.first(id, code, is_it, |task| task.function = Seen::Yes)
    }

    fn first(
        &mut self,
        id: u32,
        code: u8,
        is_it: impl Fn(&Task) -> bool,
        see: impl Fn(&mut Task),
    ) -> String {
        let tasks = self.by_id.entry(id).or_default();
        let number = tasks.iter().position(is_it).unwrap_or(tasks.len());
        if number == tasks.len() {
            tasks.push(Task {
                code,
                ..Task::default()
            });
        }
        see(&mut tasks[number]);
        name(id, number)
    }

    /// Answers come in the order of an id's tasks.
    fn answer(&mut self, id: u32) -> String {
        let tasks = self.by_id.entry(id).or_default();
        let open = tasks.iter().position(|task| task.answer == Seen::No);
        if let Some(number) = open {
            tasks[number].answer = Seen::Yes;
        }
        name(id, open.unwrap_or(tasks.len().saturating_sub(1)))
    }

    /// The last task of the id that the server has seen.
    fn present(&self, id: u32) -> String {
        let tasks = self.by_id.get(&id).map_or(&[][..], Vec::as_slice);
        let seen = tasks.iter().rposition(|task| task.function == Seen::Yes);
        name(id, seen.unwrap_or(tasks.len().saturating_sub(1)))
    }
}

fn name(id: u32, number: usize) -> String {
    match number {
        0 => id.to_string(),
        number => format!("{id}/{}", number + 1),
    }
}
