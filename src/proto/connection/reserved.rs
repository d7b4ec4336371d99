//! Requests that are no tasks: KeepAlive, Cancel, Negotiate, and what nobody
//! takes (PROTOCOL E1–E3, E6, T4).

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::current::{After, Current, Discarding};
use super::{Action, Admission, Connection, Watching};
use crate::proto::ledger::CancelCause;
use crate::wire::{ErrorCode, Features, NEGOTIATE_VERSION, Negotiate, Negotiated, RequestHeader};

/// A value that stands for "no limit" in an answer to Negotiate (E3).
const NO_LIMIT: u32 = u32::MAX;

impl<T> Connection<T> {
    pub(super) fn discard(&mut self, header: RequestHeader, after: After) {
        self.discard_up_to(header, after, self.settings.limits.message_limit_bytes);
    }

    pub(super) fn discard_up_to(
        &mut self,
        header: RequestHeader,
        after: After,
        limit_bytes: usize,
    ) {
        // A limit below Negotiate's own length does not make it an error.
        let least = match after {
            After::Negotiate { .. } => Negotiate::LENGTH,
            _ => 0,
        };
        self.current = Current::Discarding(Discarding {
            header,
            after,
            payload_len: 0,
            limit_bytes: limit_bytes.max(least),
        });
    }

    pub(super) fn finish_discarded(
        &mut self,
        request: Discarding,
        admission: &impl Admission<T>,
        now: Instant,
    ) {
        let RequestHeader { code, id } = request.header;
        self.count_accepted(request.header);
        match request.after {
            After::KeepAlive => self.outbox.push_ok(id, code, &[]),
            After::Error(error) => self.push_own_error(id, code, error, now),
            After::Cancel => {
                self.counts.cancels += 1;
                if let Some(key) = self.ledger.find(id) {
                    self.cancel(key, CancelCause::Requested, now);
                }
            }
            After::Negotiate { prefix, length } => {
                match Negotiate::decode(&prefix[..length], self.settings.order) {
                    Ok(asked) => self.negotiate(request.header, asked, admission),
                    Err(_) => self.push_own_error(id, code, ErrorCode::MALFORMED, now),
                }
            }
        }
    }

    /// A request, of any code, has been accepted (T3).
    pub(super) fn count_accepted(&mut self, header: RequestHeader) {
        self.counts.accepted += 1;
        self.active = true;
        if self.watching == Watching::Requests {
            self.actions.push(Action::Accepted(header.id, header.code));
        }
    }

    fn negotiate(
        &mut self,
        header: RequestHeader,
        asked: Negotiate,
        admission: &impl Admission<T>,
    ) {
        self.granted = asked.features.intersection(Features::SUPPORTED);
        let count = |limit: usize| u32::try_from(limit).unwrap_or(NO_LIMIT);
        let answer = Negotiated {
            version: NEGOTIATE_VERSION,
            granted: self.granted,
            max_in_flight: count(self.settings.limits.in_flight_limit.max(1)),
            max_message_bytes: count(admission.largest_message()),
            idle_limit_s: seconds(self.settings.timeouts.wait),
            processing_interval_s: seconds(self.processing_interval()),
        };
        let mut payload = BytesMut::with_capacity(Negotiated::LENGTH);
        answer.encode(self.settings.order, &mut payload);
        self.outbox.push_ok(header.id, header.code, &payload);
    }
}

/// A duration as E3 states it: whole seconds, rounded up.
fn seconds(time: Duration) -> u32 {
    let rounded_up = time
        .as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0));
    u32::try_from(rounded_up).unwrap_or(NO_LIMIT)
}
