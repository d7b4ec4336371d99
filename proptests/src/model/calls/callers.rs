//! What callers ask for (PROTOCOL C3, C5, C7).

use super::*;

impl Calls {
    /// # Errors
    /// [`NotStarted`]: nothing has changed.
    pub fn start(
        &mut self,
        code: u8,
        id: Option<u32>,
        message: Option<Vec<u8>>,
        (response_is_streamed, timeout): (bool, Nanos),
        now: Nanos,
    ) -> Result<u32, NotStarted> {
        if self.places() == 0 {
            return Err(NotStarted::NoPlace);
        }
        // C7: a longer message fails at once, unsent.
        let length = message.as_ref().map_or(0, Vec::len) as u64;
        if length > self.message_limit() {
            return Err(NotStarted::TooLong(length));
        }
        let id = match id {
            // N7.
            Some(id) if self.by_id(id).is_some() => return Err(NotStarted::IdInUse),
            Some(id) => id,
            None => self.free_id(),
        };
        let number = self.insert(code, id, Owner::Caller, message, timeout, now);
        if let Some(call) = self.call_mut(number) {
            call.response_is_streamed = response_is_streamed;
        }
        self.queue.push(number);
        if self.last_keep_alive == Some(id) {
            self.reached.push("a call has the id that a KeepAlive had");
        }
        self.unused_since = None;
        Ok(id)
    }

    pub(super) fn free_id(&mut self) -> u32 {
        while self.by_id(self.next_id).is_some() {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    pub(super) fn insert(
        &mut self,
        code: u8,
        id: u32,
        owner: Owner,
        message: Option<Vec<u8>>,
        timeout: Nanos,
        now: Nanos,
    ) -> usize {
        let number = self.numbers;
        self.numbers += 1;
        self.calls.push(Call {
            number,
            id,
            code,
            owner,
            progress: Progress::Queued,
            message,
            response_is_streamed: false,
            timeout,
            deadline: later(now, timeout),
            cancel: Cancel::NotAsked,
        });
        number
    }

    /// A request of the connection's own goes before any call's.
    pub(super) fn start_own(&mut self, code: u8, owner: Owner, message: Vec<u8>, now: Nanos) {
        let (id, timeout) = (self.free_id(), self.settings.own_response);
        let number = self.insert(code, id, owner, Some(message), timeout, now);
        if owner == Owner::KeepAlive {
            self.last_keep_alive = Some(id);
        }
        self.queue.insert(0, number);
    }

    /// C5: whether it had a caller.
    pub fn give_up(&mut self, id: u32, now: Nanos) -> bool {
        let Some(number) = self.disown(id, now) else {
            return false;
        };
        if self.call(number).map(|call| call.progress) == Some(Progress::Queued) {
            // Not begun: never sent.
            self.queue.retain(|queued| *queued != number);
            self.calls.retain(|call| call.number != number);
        } else {
            self.ask_cancel(number);
        }
        true
    }

    /// Takes the caller off: the response is discarded from here on.
    pub(super) fn disown(&mut self, id: u32, now: Nanos) -> Option<usize> {
        let number = self
            .by_id(id)
            .filter(|call| call.owner == Owner::Caller)?
            .number;
        let streams = self.streams(number);
        if let Some(call) = self.call_mut(number) {
            call.owner = Owner::GivenUp;
            // A streamed message may not stay unfinished for ever.
            if !streams {
                call.deadline = None;
            }
        }
        if let Some((current, body)) = &mut self.current
            && *current == number
        {
            *body = Body::Discarded;
        }
        self.note_unused(now);
        Some(number)
    }

    pub(super) fn note_unused(&mut self, now: Nanos) {
        if self.pending() == 0 && self.unused_since.is_none() {
            self.unused_since = Some(now);
        }
    }

    /// Whether its streamed message is going out, and its end has not come.
    pub(super) fn streams(&self, number: usize) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| {
            outgoing.number == Some(number) && outgoing.open_block.is_some()
        })
    }

    /// C5: E2 if the server answered Negotiate, behind the message's end, once.
    pub(super) fn ask_cancel(&mut self, number: usize) {
        if self.told.is_none() || self.standing != Standing::Open {
            return;
        }
        let Some(call) = self.call_mut(number) else {
            return;
        };
        match (call.cancel, call.progress) {
            (Cancel::NotAsked, Progress::Sending(_)) => call.cancel = Cancel::WhenSent,
            (Cancel::NotAsked, Progress::Sent(..)) => {
                call.cancel = Cancel::Asked;
                let id = call.id;
                self.cancels.push(id);
            }
            _ => {}
        }
    }

    /// The caller asks for a cancel, and waits on: `None`; where the server
    /// cannot be asked the call is given up: whether it may have run.
    pub fn cancel(&mut self, id: u32, now: Nanos) -> Option<bool> {
        let call = self.by_id(id)?;
        let number = call.number;
        // What has begun is sent to its end, and may run yet.
        let has_begun = call.progress != Progress::Queued;
        if has_begun && self.told.is_some() && self.standing == Standing::Open {
            self.ask_cancel(number);
            return None;
        }
        self.give_up(id, now).then_some(has_begun)
    }

    /// C8: whether it had a caller.
    pub fn discard_response(&mut self, id: u32, now: Nanos) -> bool {
        // *Choice*: of one that has not begun there is nothing to discard but itself.
        if self.by_id(id).map(|call| call.progress) == Some(Progress::Queued) {
            return self.give_up(id, now);
        }
        self.disown(id, now).is_some()
    }

    /// C3: what was lost with the connection: calls, and whether each may have run.
    #[must_use]
    pub fn lost(&self) -> Vec<(usize, u32, bool)> {
        let callers = self.calls.iter().filter(|call| call.owner == Owner::Caller);
        callers
            .map(|call| (call.number, call.id, self.may_have_run(call)))
            .collect()
    }

    pub(super) fn end(&mut self, number: usize, outcome: Outcome, now: Nanos) {
        let Some(at) = self.calls.iter().position(|call| call.number == number) else {
            return;
        };
        let call = self.calls.remove(at);
        // E2 for an id that is not live could meet the id's next task.
        if call.cancel == Cancel::Asked {
            if self.cancels.contains(&call.id) {
                self.reached.push("answered before its E2 was sent");
            }
            self.cancels.retain(|id| *id != call.id);
        }
        if call.owner == Owner::Caller {
            self.finished.push((number, call.id, outcome));
            self.note_unused(now);
        }
    }
}
