//! The task function (PROTOCOL T1–T3, L14).

use super::*;

impl Connection {
    /// Whether a task function reads, or what it returned waits for the end.
    #[must_use]
    pub fn reading(&self) -> Option<usize> {
        match &self.current {
            Current::Task {
                number,
                is_streamed: true,
                reader: Reader::Reads,
                ..
            } => Some(*number),
            _ => None,
        }
    }

    /// It took bytes.
    pub fn taken(&mut self, bytes: usize) {
        self.untaken = self.untaken.saturating_sub(bytes);
    }

    /// L14: it asked for bytes, or waits for some, or neither.
    pub fn progress(&mut self, has_asked: bool, waits: bool, now: Nanos) {
        if self.reading().is_none() || waits {
            self.reader_deadline = None;
        } else if has_asked || self.reader_deadline.is_none() {
            self.reader_deadline = later(now, self.settings.task_function);
        }
    }

    /// T3, T9: it has returned.
    pub fn returned(&mut self, returned: Returned, now: Nanos) {
        let Some(number) = self.reading() else {
            return;
        };
        match returned {
            Returned::Run(kind) => {
                self.ledger.set_kind(number, kind);
                self.reader_is(Reader::Run, now);
            }
            Returned::Nothing => self.reader_is(Reader::Nothing, now),
            Returned::Panicked => self.reader_is(Reader::Failed(254), now),
            Returned::Error => {
                let task = self.ledger.task(number).cloned();
                self.stop_reader();
                // T3: not accepted, unless a Goodbye has counted it.
                if !self.said_goodbye {
                    if task.as_ref().is_some_and(|task| task.accepted) {
                        self.counts.accepted -= 1;
                    }
                    self.current = Current::Between;
                    self.retire(number, Ending::Silent);
                }
                if let Some(task) = task {
                    let (id, code) = (task.id, task.code);
                    self.fail(Reason::TaskFunction { id, code }, now);
                }
            }
        }
    }

    pub(super) fn stop_reader(&mut self) {
        self.untaken = 0;
        self.reader_deadline = None;
    }

    pub(super) fn reader_is(&mut self, is: Reader, now: Nanos) {
        self.stop_reader();
        if let Current::Task {
            reader, payload, ..
        } = &mut self.current
        {
            *reader = is;
            payload.clear();
            self.conclude(now);
        }
    }

    /// T3: what is due once the message has ended and the function has returned,
    /// whichever is later.
    pub(super) fn conclude(&mut self, now: Nanos) {
        let Current::Task {
            number,
            has_ended: true,
            reader,
            ..
        } = self.current
        else {
            return;
        };
        if reader == Reader::Reads {
            return;
        }
        self.current = Current::Between;
        let cancelled = match reader {
            Reader::Failed(error_code) => return self.answer_own(number, error_code, now),
            Reader::Run => self.start(number, now),
            // No run function: none starts.
            _ => self.ledger.start(number, now),
        };
        match (cancelled, reader) {
            (Some(cause), _) => self.answer_own(number, cause.error_code(), now),
            (None, Reader::Run) => self.events.push(Event::StartsReturned(number)),
            // T6: no run function.
            (None, _) => {
                if let Some(task) = self.ledger.task(number) {
                    self.outbox.push_ok(task.id, task.code, &[]);
                }
                self.retire(number, Ending::Ok);
            }
        }
    }
}
