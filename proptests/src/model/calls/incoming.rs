//! What comes in (PROTOCOL C1, C2, C6, C8).

use super::*;

impl Calls {
    /// Bytes from the server.
    ///
    /// # Errors
    /// [`End`]: C1.
    pub fn input(&mut self, input: &[u8], now: Nanos) -> Result<(), End> {
        self.moved = now;
        let mut rest = input;
        while !rest.is_empty() {
            if !self.in_message {
                self.header.push(rest[0]);
                // C1: an unknown response code.
                if self.header[0] > 3 {
                    return Err(End::UnknownCode(rest[0], self.heard));
                }
                self.heard += 1;
                rest = &rest[1..];
                if self.header.len() == if self.header[0] == 1 { 6 } else { 5 } {
                    self.response(now)?;
                }
            } else if self.block == 0 {
                self.block = usize::from(rest[0]);
                self.heard += 1;
                rest = &rest[1..];
                if self.block == 0 {
                    self.in_message = false;
                    self.message_end(now);
                }
            } else {
                let (piece, behind) = rest.split_at(self.block.min(rest.len()));
                self.block -= piece.len();
                self.heard += piece.len() as u64;
                self.payload(piece, now);
                rest = behind;
            }
        }
        // C4: any sign of a response.
        if let Some(number) = self.current.as_ref().map(|(number, _)| *number) {
            self.sign_of(number, now);
        }
        Ok(())
    }

    pub(super) fn sign_of(&mut self, number: usize, now: Nanos) {
        if let Some(call) = self.call_mut(number)
            && call.owner != Owner::GivenUp
        {
            call.deadline = later(now, call.timeout);
        }
    }

    /// C1: the live request that a response is for.
    pub(super) fn awaited(&self, id: u32) -> Result<usize, End> {
        match self.by_id(id) {
            Some(call) if self.may_have_run(call) => Ok(call.number),
            // T5: none is queued before the request's end has been looked at.
            Some(call) if call.progress != Progress::Queued => Err(End::TooEarly(id)),
            _ => Err(End::NotLive(id, self.heard)),
        }
    }

    pub(super) fn response(&mut self, now: Nanos) -> Result<(), End> {
        let header = std::mem::take(&mut self.header);
        let integer = codec::as_integer(self.order(), &header[1..5]);
        match header[0] {
            0 => {
                let number = self.awaited(integer)?;
                let Some(call) = self.call(number) else {
                    return Ok(());
                };
                let body = match call.owner {
                    Owner::Negotiate => Body::Negotiated(Vec::new()),
                    Owner::Caller if call.response_is_streamed => Body::Pieces(Vec::new()),
                    Owner::Caller => Body::Whole(Vec::new()),
                    Owner::GivenUp | Owner::KeepAlive => Body::Discarded,
                };
                self.current = Some((number, body));
                self.in_message = true;
            }
            1 => {
                let number = self.awaited(integer)?;
                if self.call(number).map(|call| call.owner) == Some(Owner::Negotiate) {
                    // C6: a base server.
                    self.standing = Standing::Open;
                    self.reached.push("a base server");
                }
                self.end(number, Outcome::Error(header[5]), now);
            }
            2 => self.goodbye(integer, now)?,
            _ => {
                if !self.granted(2) {
                    return Err(End::NotGranted("Processing"));
                }
                let number = self.awaited(integer)?;
                self.reached.push("Processing");
                self.sign_of(number, now);
            }
        }
        Ok(())
    }

    pub(super) fn payload(&mut self, piece: &[u8], now: Nanos) {
        let limit = self.settings.response_limit;
        let Some((number, body)) = &mut self.current else {
            return;
        };
        match body {
            Body::Whole(message) if message.len() + piece.len() > limit => {
                // C8: discarded, *too long*; the id is live until its end.
                let length = (message.len() + piece.len()) as u64;
                let number = *number;
                if let Some(id) = self.call(number).map(|call| call.id) {
                    self.disown(id, now);
                    self.finished.push((number, id, Outcome::TooLong(length)));
                }
            }
            Body::Whole(message) | Body::Pieces(message) | Body::Negotiated(message) => {
                message.extend(piece);
            }
            Body::Discarded => {}
        }
    }

    pub(super) fn message_end(&mut self, now: Nanos) {
        let Some((number, body)) = self.current.take() else {
            return;
        };
        let message = match body {
            Body::Whole(message) | Body::Pieces(message) => message,
            Body::Negotiated(message) => {
                self.negotiated(&message);
                Vec::new()
            }
            Body::Discarded => Vec::new(),
        };
        self.end(number, Outcome::Ok(message), now);
    }

    /// C6; an answer that is none is a base server's.
    pub(super) fn negotiated(&mut self, message: &[u8]) {
        self.standing = Standing::Open;
        if message.len() >= 21 && message[0] != 0 {
            let field = |at: usize| codec::as_integer(self.order(), &message[at..at + 4]);
            self.told = Some(Told {
                granted: field(1) & 3,
                max_in_flight: field(5),
                max_message: field(9),
                idle_limit: field(13),
            });
        }
    }

    /// What has come of a streamed response.
    pub fn take_piece(&mut self) -> Option<(usize, Vec<u8>)> {
        match &mut self.current {
            Some((number, Body::Pieces(piece))) if !piece.is_empty() => {
                Some((*number, std::mem::take(piece)))
            }
            _ => None,
        }
    }

    /// C2.
    pub(super) fn goodbye(&mut self, accepted: u32, now: Nanos) -> Result<(), End> {
        if !self.granted(1) {
            return Err(End::NotGranted("Goodbye"));
        }
        // *Choice*: a second one changes nothing.
        if self.standing == Standing::Draining {
            return Ok(());
        }
        // A case never sends 2³² requests.
        if u64::from(accepted) > self.begun {
            return Err(End::AcceptedTooMany(accepted, self.begun));
        }
        self.reached.push(match u64::from(accepted) {
            0 => "Goodbye, none accepted",
            all if all == self.begun => "Goodbye, all accepted",
            _ => "Goodbye, some accepted",
        });
        self.standing = Standing::Draining;
        if self.outgoing.is_some() {
            self.reached.push("Goodbye inside a request");
        }
        self.queue.clear();
        self.cancels.clear();
        self.outgoing = None;
        let refused: Vec<usize> = self
            .calls
            .iter()
            .filter(|call| match call.progress {
                Progress::Sent(sequence, _) => sequence >= u64::from(accepted),
                Progress::Queued | Progress::Sending(_) => true,
            })
            .map(|call| call.number)
            .collect();
        for number in refused {
            self.end(number, Outcome::NotAccepted(accepted), now);
        }
        Ok(())
    }
}
