//! The bodies of one connection that are being produced: one has the wire, up
//! to sixteen others are produced ahead of their turn (PROTOCOL T7, N8, L7).

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::response::{Body, PIECE};
use super::run::{drop_quietly, unless_task_panics};
use super::session::Session;
use crate::proto::{BodyStep, TaskKey};

/// How many bodies are produced ahead of their turn (PROTOCOL section 7).
const AHEAD: usize = 16;

/// Polls of one body in a turn (L13).
const POLLS: usize = 256;

struct Pulled {
    key: TaskKey,
    /// `None` once it has ended.
    body: Option<Box<dyn Body>>,
    produced: Produced,
    /// What must have been produced before the response begins (T7).
    begin_after: usize,
    has_begun: bool,
}

/// What of a body has been produced and not queued.
#[derive(Default)]
struct Produced {
    /// As the body gave it: most need not be copied.
    first: Bytes,
    more: BytesMut,
}

/// What a step of a body came to.
enum Step {
    /// It goes on.
    On,
    /// It waits for its source.
    Waiting,
    /// It would go on, and has had its share of this turn.
    Unfinished,
    /// It failed; the session has been told.
    Over,
}

/// What a poll of a body came to.
enum Polled {
    /// More bytes, perhaps none, or its end.
    Piece,
    Pending,
    Failed(BodyStep<'static>),
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
            produced: Produced::default(),
            begin_after,
            has_begun: false,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    pub(crate) fn drop_body(&mut self, key: TaskKey) {
        if let Some(place) = self.bodies.iter().position(|pulled| pulled.key == key) {
            self.bodies.remove(place).end();
        }
    }

    pub(crate) fn drop_all(&mut self) {
        self.bodies.drain(..).for_each(Pulled::end);
    }

    /// One turn: moves up to 64 KiB of the body that has the wire, and produces
    /// others ahead. Whether anything moved.
    pub(crate) fn pull(&mut self, session: &Session, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.bodies.is_empty() {
            return false;
        }
        let mut moved = if session.drive(|state| state.connection.wants_bodies_ahead()) {
            self.produce_ahead(session, cx, now)
        } else {
            self.nothing_wanted(session, now);
            false
        };
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
                Step::Over => self.bodies.remove(at).end(),
                Step::On | Step::Waiting => at += 1,
                Step::Unfinished => {
                    moved = true;
                    at += 1;
                }
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
        if pulled.produced.is_empty() {
            match pulled.produce(1, session, cx, now) {
                Step::On | Step::Waiting => {}
                // As if it had moved a byte: it is polled again, in its turn.
                Step::Unfinished => return *budget -= 1,
                Step::Over => {
                    self.bodies.remove(place).end();
                    *budget -= 1;
                    return;
                }
            }
        }
        let piece = pulled.produced.take(wanted);
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
        // What owns its bytes may be the application's.
        drop_quietly(piece);
        if is_whole {
            self.bodies.remove(place).end();
            *budget = budget.saturating_sub(1);
        }
    }
}

impl Produced {
    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
        } else {
            self.more.extend_from_slice(&piece);
        }
    }

    /// The next bytes, at most so many; none only where there are none.
    fn take(&mut self, most: usize) -> Bytes {
        if self.first.is_empty() {
            self.first = self.more.split().freeze();
        }
        self.first.split_to(most.min(self.first.len()))
    }
}

impl Pulled {
    /// Each is the application's code: a second panic while the first one unwinds
    /// would end the process.
    fn end(self) {
        drop_quietly(self.body);
        drop_quietly(self.produced.first);
    }

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
        let before = self.produced.len();
        for _ in 0..POLLS {
            if self.body.is_none() || self.produced.len() >= enough {
                session.drive(|state| state.connection.body(self.key, BodyStep::NotWaiting, now));
                return Step::On;
            }
            let step = match self.poll_body(session, cx) {
                Polled::Piece => continue,
                Polled::Pending => BodyStep::Waiting,
                Polled::Failed(step) => {
                    session.drive(|state| state.connection.body(self.key, step, now));
                    return Step::Over;
                }
            };
            self.tell_waiting(step, before, session, now);
            return Step::Waiting;
        }
        // It is never done: others have their turn, and pieces of nothing are no bytes (L15).
        self.tell_waiting(BodyStep::Waiting, before, session, now);
        Step::Unfinished
    }

    /// L15 counts from the last bytes.
    fn tell_waiting(&self, step: BodyStep<'_>, before: usize, session: &Session, now: Instant) {
        let has_moved = self.produced.len() > before;
        session.drive(|state| {
            if has_moved {
                state.connection.body(self.key, BodyStep::NotWaiting, now);
            }
            state.connection.body(self.key, step, now);
        });
    }

    /// One poll of the body, all of it the application's code.
    fn poll_body(&mut self, session: &Session, cx: &mut Context<'_>) -> Polled {
        let (body, produced) = (&mut self.body, &mut self.produced);
        let polled = unless_task_panics(session, self.key, || {
            let Some(source) = body else {
                return Polled::Piece;
            };
            match source.poll_piece(cx) {
                Poll::Pending => Polled::Pending,
                Poll::Ready(Some(Ok(piece))) => {
                    produced.keep(piece);
                    Polled::Piece
                }
                // The reader is dropped once copying stops (T7).
                Poll::Ready(None) => {
                    drop(body.take());
                    Polled::Piece
                }
                Poll::Ready(Some(Err(error))) => Polled::Failed(BodyStep::Failed {
                    code: error.code(),
                    error: error.to_string().into(),
                }),
            }
        });
        polled.unwrap_or(Polled::Failed(BodyStep::Panicked))
    }
}
