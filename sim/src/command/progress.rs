//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where there is no terminal, a line comes each time that so much has passed.
const LINE_EACH: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    started: Instant,
    /// When the next line is due; `None` on a terminal, which has the bar.
    next_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// Of so many steps, where that is known.
    pub(crate) fn new(length: Option<u64>, unit: &'static str) -> Self {
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let done = length.map_or("{spinner} {pos}", |_| "{bar:30} {pos}/{len}");
        let style = format!("{done} {unit}, {{per_sec}} {{msg}} [{{elapsed_precise}}]");
        if let Ok(style) = ProgressStyle::with_template(&style) {
            bar.set_style(style);
        }
        let is_shown = std::io::stderr().is_terminal();
        Self {
            bar,
            unit,
            started: Instant::now(),
            next_line: (!is_shown).then(|| Mutex::new(Instant::now() + LINE_EACH)),
        }
    }

    /// A step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
        let Some(next) = &self.next_line else { return };
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= *next {
            *next = Instant::now() + LINE_EACH;
            let done = self.bar.position();
            let of = self.bar.length().map(|length| format!(" of {length}"));
            let each_second = done as f64 / self.started.elapsed().as_secs_f64();
            let (of, unit) = (of.unwrap_or_default(), self.unit);
            eprintln!(
                "sim: {done}{of} {unit}, {each_second:.0}/s {}",
                self.bar.message()
            );
        }
    }

    /// What is said beside it.
    pub(crate) fn say(&self, words: String) {
        self.bar.set_message(words);
    }

    /// Prints something above it.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
