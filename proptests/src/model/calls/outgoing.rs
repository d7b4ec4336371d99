//! What goes out (PROTOCOL C2, C5, C6).

use super::*;

impl Calls {
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.cancels.is_empty()
            && self.outgoing.is_none()
            && self.put_out <= self.taken
    }

    /// The bytes that the library put out: the model would have put out the
    /// same. How many is the library's choice, but no fewer than there are and
    /// have room. What it says otherwise is returned.
    pub fn put_out(&mut self, bytes: &[u8], room: Room, now: Nanos) -> Option<String> {
        let is_full = bytes.len() >= room.bytes;
        let was_idle = self.put_out <= self.taken;
        let mut rest = bytes;
        if self.standing == Standing::Draining {
            // C2: no further request is sent.
            return (!bytes.is_empty()).then(|| "bytes after Goodbye".to_owned());
        }
        loop {
            if let Some(outgoing) = &mut self.outgoing {
                // Its message goes on if there is room behind its header.
                let header = std::mem::take(&mut outgoing.header);
                let goes_on = bytes.len() - rest.len() + header < room.bytes;
                let take = rest.len().min(outgoing.bytes.len());
                let expected: Vec<u8> = outgoing.bytes.drain(..take).collect();
                if expected != rest[..take] {
                    return Some(format!("expected {expected:?}, not {rest:?}"));
                }
                self.put_out += take as u64;
                rest = &rest[take..];
                if goes_on {
                    self.count_as_sign(room.leaves_piece, now);
                }
                if !self.end_outgoing(now) {
                    break;
                }
            } else if (rest.is_empty() && is_full) || !self.begin_next() {
                break;
            }
        }
        if was_idle && !bytes.is_empty() {
            self.output_since = now;
        }
        if !rest.is_empty() {
            return Some(format!("{rest:?} from nowhere"));
        }
        let left = self.outgoing.as_ref().map_or(0, |out| out.bytes.len());
        (left > 0 && !is_full).then(|| format!("{left} bytes are held back"))
    }

    /// C4: its being sent is a sign of it.
    pub(super) fn count_as_sign(&mut self, leaves_piece: bool, now: Nanos) {
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        let at_hand = outgoing.has_piece;
        outgoing.has_piece &= leaves_piece;
        let streams = outgoing.open_block.is_some();
        let number = outgoing.number;
        if let Some(call) = number.and_then(|number| self.call_mut(number))
            && at_hand
            && (streams || call.owner != Owner::GivenUp)
        {
            call.deadline = later(now, call.timeout);
        }
    }

    /// Whether the request that goes out is out.
    pub(super) fn end_outgoing(&mut self, now: Nanos) -> bool {
        match &self.outgoing {
            Some(outgoing) if outgoing.bytes.is_empty() && outgoing.open_block.is_none() => {}
            _ => return false,
        }
        let number = self.outgoing.take().and_then(|outgoing| outgoing.number);
        let end = self.put_out;
        if let Some(call) = number.and_then(|number| self.call_mut(number)) {
            if let Progress::Sending(sequence) = call.progress {
                call.progress = Progress::Sent(sequence, end);
            }
            call.deadline = match call.owner {
                Owner::GivenUp => None,
                _ => later(now, call.timeout),
            };
            if call.cancel == Cancel::WhenSent {
                call.cancel = Cancel::Asked;
                let id = call.id;
                self.cancels.push(id);
            }
        }
        true
    }

    /// E2 goes between two requests, before those that wait.
    pub(super) fn begin_next(&mut self) -> bool {
        let order = self.order();
        if !self.cancels.is_empty() {
            let id = self.cancels.remove(0);
            let mut bytes = codec::header(order, 251, id);
            bytes.push(0);
            self.begun += 1;
            self.reached.push("E2 is sent");
            self.outgoing = Some(Outgoing {
                number: None,
                bytes,
                header: 0,
                open_block: None,
                has_piece: false,
                length: 0,
            });
            return true;
        }
        if self.queue.is_empty() {
            return false;
        }
        let number = self.queue.remove(0);
        let sequence = self.begun;
        self.begun += 1;
        let Some(call) = self.call_mut(number) else {
            return false;
        };
        call.progress = Progress::Sending(sequence);
        let mut bytes = codec::header(order, call.code, call.id);
        // *Choice*: a short one is out in one step, which ends it anyway.
        let is_long = call
            .message
            .as_ref()
            .is_some_and(|message| message.len() > IN_ONE_STEP);
        let open_block = match &call.message {
            Some(message) => {
                bytes.extend(codec::message(message));
                None
            }
            None => Some(Vec::new()),
        };
        self.outgoing = Some(Outgoing {
            number: Some(number),
            bytes,
            header: 5,
            open_block,
            has_piece: is_long,
            length: 0,
        });
        true
    }

    /// Whether a streamed message could go on now.
    #[must_use]
    pub fn streaming(&self) -> Option<u32> {
        let outgoing = self.outgoing.as_ref()?;
        outgoing.open_block.as_ref()?;
        self.call(outgoing.number?).map(|call| call.id)
    }

    /// It goes on; C7: the length at which it is too long.
    pub fn push_piece(&mut self, piece: &[u8]) -> Option<u64> {
        let limit = self.message_limit();
        let outgoing = self.outgoing.as_mut()?;
        let length = outgoing.length + piece.len() as u64;
        if length > limit {
            return Some(length);
        }
        outgoing.length = length;
        let open = outgoing.open_block.as_mut()?;
        open.extend(piece);
        let left = open.len() % 255;
        outgoing.bytes.extend(codec::full_blocks(open));
        *open = open.split_off(open.len() - left);
        outgoing.has_piece = !piece.is_empty();
        None
    }

    /// It ends.
    pub fn end_message(&mut self) {
        if let Some(outgoing) = &mut self.outgoing
            && let Some(open) = outgoing.open_block.take()
        {
            outgoing.bytes.extend(codec::message(&open));
        }
    }

    /// The transport took bytes.
    pub fn taken(&mut self, bytes: usize, now: Nanos) {
        if self.standing == Standing::Draining && bytes > 0 {
            self.reached.push("what was out at Goodbye is taken");
        }
        self.taken += bytes as u64;
        self.moved = now;
    }
}
