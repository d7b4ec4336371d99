//! The bodies of one connection that are being produced: one has the wire, up
//! to sixteen others are produced ahead of their turn (PROTOCOL T7, N8, L7).

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::error::TaskError;
use super::response::{Body, PIECE};
use super::run::{drop_quietly, unless_task_panics};
use super::session::Session;
use crate::proto::{BodyStep, TaskKey};

/// How many bodies are produced ahead of their turn (PROTOCOL section 7).
const AHEAD: usize = 16;

struct Pulled {
    key: TaskKey,
    /// `None` once it has ended.
    body: Option<Box<dyn Body>>,
    /// Produced and not queued.
    produced: BytesMut,
    /// What must have been produced before the response begins (T7).
    begin_after: usize,
    has_begun: bool,
}

/// What a step of a body came to.
enum Step {
    /// It goes on.
    On,
    /// It waits for its source.
    Waiting,
    /// It failed; the session has been told.
    Over,
}

#[derive(Default)]
pub(crate) struct Bodies {
    /// In the order in which their run functions ended.
    bodies: Vec<Pulled>,
}

impl Bodies {
    pub(crate) fn add(&mut self, key: TaskKey, body: Box<dyn Body>, begin_after: usize) {
        self.bodies.push(Pulled {
            key,
            body: Some(body),
            produced: BytesMut::new(),
            begin_after,
            has_begun: false,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    pub(crate) fn drop_body(&mut self, key: TaskKey) {
        if let Some(place) = self.bodies.iter().position(|pulled| pulled.key == key) {
            drop_quietly(self.bodies.remove(place));
        }
    }

    pub(crate) fn drop_all(&mut self) {
        for pulled in self.bodies.drain(..) {
            drop_quietly(pulled);
        }
    }

    /// One turn: moves up to 64 KiB of the body that has the wire, and produces
    /// others ahead. Whether anything moved.
    pub(crate) fn pull(&mut self, session: &Session, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.bodies.is_empty() || !session.drive(|state| state.connection.wants_bodies()) {
            self.nothing_wanted(session, now);
            return false;
        }
        let mut moved = self.produce_ahead(session, cx, now);
        let mut budget = PIECE;
        while budget > 0 {
            let Some(place) = self.with_the_wire(session) else {
                break;
            };
            let before = budget;
            self.send(place, session, cx, now, &mut budget);
            if budget == before {
                break;
            }
            moved = true;
        }
        moved
    }

    /// L15 counts only while bytes are wanted.
    fn nothing_wanted(&self, session: &Session, now: Instant) {
        if self.bodies.is_empty() {
            return;
        }
        session.drive(|state| {
            for pulled in &self.bodies {
                state.connection.body(pulled.key, BodyStep::NotWaiting, now);
            }
        });
    }

    fn produce_ahead(&mut self, session: &Session, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        let mut places = 0..AHEAD;
        let mut at = 0;
        while at < self.bodies.len() {
            let pulled = &mut self.bodies[at];
            if pulled.has_begun {
                at += 1;
                continue;
            }
            if places.next().is_none() {
                break;
            }
            let before = pulled.produced.len();
            let step = pulled.produce(pulled.begin_after, session, cx, now);
            moved |= pulled.produced.len() != before;
            match step {
                Step::Over => drop_quietly(self.bodies.remove(at)),
                Step::On | Step::Waiting => at += 1,
            }
        }
        moved
    }

    /// The body whose response is under way; if there is none, the first one
    /// that is ready takes its turn.
    fn with_the_wire(&mut self, session: &Session) -> Option<usize> {
        if let Some(place) = self.bodies.iter().position(|pulled| pulled.has_begun) {
            return Some(place);
        }
        let place = self.bodies.iter().position(Pulled::is_ready)?;
        let pulled = &mut self.bodies[place];
        let key = pulled.key;
        pulled.has_begun = session.drive(|state| state.connection.begin_body(key));
        pulled.has_begun.then_some(place)
    }

    /// Queues what has been produced of the body that has the wire, then produces more.
    fn send(
        &mut self,
        place: usize,
        session: &Session,
        cx: &mut Context<'_>,
        now: Instant,
        budget: &mut usize,
    ) {
        let pulled = &mut self.bodies[place];
        let room = session.drive(|state| state.connection.body_room());
        if room == 0 {
            session.drive(|state| state.connection.body(pulled.key, BodyStep::NotWaiting, now));
            return;
        }
        let wanted = room.min(PIECE).min(*budget);
        if pulled.produced.is_empty()
            && let Step::Over = pulled.produce(1, session, cx, now)
        {
            drop_quietly(self.bodies.remove(place));
            *budget -= 1;
            return;
        }
        let piece = pulled.produced.split_to(wanted.min(pulled.produced.len()));
        *budget -= piece.len();
        let is_whole = pulled.body.is_none() && pulled.produced.is_empty();
        let key = pulled.key;
        session.drive(|state| {
            if !piece.is_empty() {
                state.connection.body(key, BodyStep::Bytes(&piece), now);
            }
            if is_whole {
                state.connection.body(key, BodyStep::End, now);
            }
        });
        if is_whole {
            drop_quietly(self.bodies.remove(place));
            *budget = budget.saturating_sub(1);
        }
    }
}

impl Pulled {
    /// T7: all of it has been produced, or as much as its registration asks for.
    fn is_ready(&self) -> bool {
        self.body.is_none() || self.produced.len() >= self.begin_after
    }

    /// Produces until `enough` bytes wait to be queued.
    fn produce(
        &mut self,
        enough: usize,
        session: &Session,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Step {
        while self.produced.len() < enough {
            let Some(body) = &mut self.body else {
                break;
            };
            let step = match unless_task_panics(session, self.key, || body.poll_piece(cx)) {
                Some(Poll::Pending) => BodyStep::Waiting,
                Some(Poll::Ready(Some(Ok(piece)))) => {
                    self.keep(piece);
                    continue;
                }
                Some(Poll::Ready(None)) => {
                    // The reader is dropped once copying stops (T7).
                    let body = self.body.take();
                    match unless_task_panics(session, self.key, || drop(body)) {
                        Some(()) => continue,
                        None => BodyStep::Panicked,
                    }
                }
                Some(Poll::Ready(Some(Err(error)))) => failed(&error),
                None => BodyStep::Panicked,
            };
            let is_waiting = matches!(step, BodyStep::Waiting);
            session.drive(|state| state.connection.body(self.key, step, now));
            return if is_waiting {
                Step::Waiting
            } else {
                Step::Over
            };
        }
        session.drive(|state| state.connection.body(self.key, BodyStep::NotWaiting, now));
        Step::On
    }

    fn keep(&mut self, piece: Bytes) {
        if !self.produced.is_empty() {
            return self.produced.extend_from_slice(&piece);
        }
        // A piece that nobody shares need not be copied.
        match piece.try_into_mut() {
            Ok(piece) => self.produced = piece,
            Err(shared) => self.produced.extend_from_slice(&shared),
        }
    }
}

fn failed(error: &TaskError) -> BodyStep<'static> {
    BodyStep::Failed {
        code: error.code(),
        error: error.to_string().into(),
    }
}
