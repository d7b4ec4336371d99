//! What becomes of a request once its header or its end has been looked at
//! (PROTOCOL E1–E3, T3, T4, L6).

use super::*;

impl Connection {
    pub(super) fn discard(&mut self, code: u8, id: u32, then: Then, limit: usize) {
        self.current = Current::Discarding {
            code,
            id,
            then,
            payload: Vec::new(),
            limit,
        };
    }

    /// L6: looked at once L5 has a place.
    pub(super) fn admit(&mut self, code: u8, id: u32, now: Nanos) {
        let registration = self.settings.registrations[usize::from(code)];
        let limit = registration.message_limit;
        if self.free_places == 0 {
            self.acts.push(Act::Limit("L6"));
            return self.discard(code, id, Then::Error(252), limit);
        }
        self.free_places -= 1;
        if self.outbox.has_answer_for(id) {
            self.reached.push("id used again before its answer is sent");
        }
        if self.ledger.tasks.iter().any(|task| task.id == id) {
            self.reached.push("id of a stuck task used again");
        }
        let number = self.ledger.begin(id, code, registration.policy, now);
        self.current = Current::Task {
            number,
            code,
            id,
            is_streamed: registration.is_streamed,
            limit,
            length: 0,
            payload: Vec::new(),
            has_ended: false,
            reader: Reader::Reads,
        };
        if registration.is_streamed {
            self.untaken = 0;
            self.events.push(Event::Begin(number));
        }
    }

    pub(super) fn on_end(&mut self, now: Nanos) {
        self.header.clear();
        self.offset = 0;
        match std::mem::replace(&mut self.current, Current::Between) {
            Current::Discarding {
                code,
                id,
                then,
                payload,
                ..
            } => {
                self.count_accepted(id, code);
                self.act_on_discarded(code, id, then, &payload, now);
            }
            Current::Task {
                number,
                is_streamed: false,
                payload,
                ..
            } => {
                self.accept(number, now);
                self.ledger.hold(number, payload.len());
                match self.start(number, now) {
                    Some(cause) => self.answer_own(number, cause.error_code(), now),
                    None => self.events.push(Event::Starts(number, payload)),
                }
            }
            mut task => {
                if let Current::Task {
                    number, has_ended, ..
                } = &mut task
                {
                    *has_ended = true;
                    let number = *number;
                    self.current = task;
                    self.accept(number, now);
                    self.conclude(now);
                }
            }
        }
    }

    pub(super) fn count_accepted(&mut self, id: u32, code: u8) {
        if self.is_watched {
            self.acts.push(Act::Accepted(id, code));
        }
        self.counts.accepted += 1;
        self.accepted_in_turn = true;
    }

    /// T3: the zero byte has been looked at.
    pub(super) fn accept(&mut self, number: usize, now: Nanos) {
        if let Some((id, code)) = self.identity(number) {
            self.count_accepted(id, code);
        }
        self.ledger.accept(number, now);
    }

    pub(super) fn act_on_discarded(
        &mut self,
        code: u8,
        id: u32,
        then: Then,
        payload: &[u8],
        now: Nanos,
    ) {
        match then {
            // E1: at once.
            Then::KeepAlive => self.outbox.push_ok(id, code, &[]),
            Then::Error(error_code) => self.send_own(id, code, error_code, now),
            Then::Cancel => {
                self.counts.cancels += 1;
                // E2: an id that is not live is ignored.
                match self.ledger.live(id).map(|task| task.number) {
                    Some(number) => {
                        self.reached.push("Cancel on the wire, live");
                        self.cancel(number, Cause::Requested, now);
                    }
                    None => self.reached.push("Cancel on the wire, not live"),
                }
            }
            // E3: shorter than 5 bytes, or of version 0.
            Then::Negotiate if payload.len() < 5 || payload[0] == 0 => {
                self.send_own(id, code, 250, now);
            }
            Then::Negotiate => {
                let order = self.settings.order();
                // E3: asked ∩ supported.
                self.granted = codec::as_integer(order, &payload[1..5]) & 3;
                let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
                let fields = [
                    self.granted,
                    number(self.settings.in_flight.max(1)),
                    number(self.settings.largest_message()),
                    whole_seconds(self.settings.wait),
                    whole_seconds(self.settings.interval.max(SHORTEST_INTERVAL)),
                ];
                let answer = codec::negotiated(order, fields);
                self.outbox.push_ok(id, code, &answer);
            }
        }
    }
}

/// E3: rounded up; `FFFFFFFF` is none, or one that does not fit.
pub(super) fn whole_seconds(nanos: Nanos) -> u32 {
    if nanos == NEVER {
        return u32::MAX;
    }
    u32::try_from(nanos.div_ceil(SECOND)).unwrap_or(u32::MAX)
}
