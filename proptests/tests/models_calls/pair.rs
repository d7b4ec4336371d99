//! Each step is done to model and library.

use asyncserver::proto::{self, Expired, NewCall, ProtocolViolation, StartError};
use asyncserver::wire::{TaskCode, TaskId};
use bytes::{Buf, Bytes};
use oracle::model::calls::{End, NotStarted, Room};
use oracle::model::codec;
use oracle::model::connection::pattern;
use oracle::model::suite::{Compared, Run, same};
use oracle::model::time::{Jump, duration};

use crate::cases::{Op, Response, Start};
use crate::{Pair, order};

impl Pair {
    pub(crate) fn line(&self) -> String {
        let calls = self.model.calls.iter();
        let calls: Vec<_> = calls
            .map(|call| format!("{}:{:?}/{:?}", call.id, call.owner, call.progress))
            .collect();
        format!("{:>18} {} {:?}", "->", calls.join(", "), self.end)
    }

    pub(crate) fn id(&self, back: usize) -> Option<u32> {
        let calls = &self.model.calls;
        let at = calls.len().checked_sub(back % calls.len().max(1) + 1)?;
        Some(calls[at].id)
    }

    pub(crate) fn apply(&mut self, op: &Op, run: &mut Run) -> Compared {
        let at = self.clock.at(self.now);
        match op {
            Op::Pass(jump) => self.now = jump.from(self.now, self.model.next_deadline()),
            Op::Timeout => self.timeout(run)?,
            Op::Start(start) => self.start(start, run)?,
            Op::GiveUp(back) => {
                if let Some(id) = self.id(*back) {
                    self.reach_given_up(id, run);
                    let had_caller = self.model.give_up(id, self.now);
                    let theirs = self.library.give_up(TaskId(id), at).is_some();
                    same("C5", &had_caller, &theirs)?;
                }
            }
            Op::Cancel(back) => {
                if let Some(id) = self.id(*back) {
                    let given_up = self.model.cancel(id, self.now);
                    let theirs = self.library.cancel(TaskId(id), at);
                    let theirs = theirs.map(|(_, started)| started == proto::Started::Perhaps);
                    same("C5", &given_up, &theirs)?;
                    run.reach(match given_up {
                        None => "cancel asked",
                        Some(_) => "cancel could not be asked",
                    });
                }
            }
            Op::Discard | Op::DiscardOf(_) => {
                let id = match op {
                    Op::DiscardOf(back) => self.id(*back),
                    _ => self.model.id_read(),
                };
                if let Some(id) = id {
                    let had_caller = self.model.discard_response(id, self.now);
                    let theirs = self.library.discard_response(TaskId(id), at).is_some();
                    same("C8", &had_caller, &theirs)?;
                    run.reach_if(had_caller, "response discarded");
                }
            }
            Op::PutOut(most) => self.put_out(*most)?,
            Op::Taken(hundredths) => self.taken(*hundredths)?,
            Op::Flush => {
                self.put_out(1 << 20)?;
                self.taken(100)?;
            }
            Op::Piece(length) => self.piece(*length, run)?,
            Op::EndMessage => {
                if self.library.wanted_piece().is_some() {
                    self.model.end_message();
                    self.library.end_message();
                }
            }
            Op::Arrive(most) => self.arrive(*most, run)?,
            Op::RespondInPart(back, response, missing) => {
                self.serve(&Op::Respond(*back, response.clone()));
                self.arrive(self.on_the_way.len().saturating_sub(*missing), run)?;
            }
            Op::TakePiece => {
                let theirs = self.library.take_piece();
                let theirs = theirs.map(|(_, number, piece)| (*number, piece.to_vec()));
                let ours = self.model.take_piece();
                run.reach_if(ours.is_some(), "piece taken");
                same("C8: what has come", &ours, &theirs)?;
            }
            Op::Stall(jump) => self.stall(*jump, run)?,
            _ => self.serve(op),
        }
        Ok(())
    }

    /// C8: reading stops for a while.
    fn stall(&mut self, jump: Jump, run: &mut Run) -> Compared {
        run.reach("reading stalled");
        let at = self.clock.at(self.now);
        self.library.pause_reading(at);
        same("C8", &None, &self.library.next_deadline())?;
        let from = self.now;
        self.now = jump.from(self.now, self.model.next_deadline());
        self.model.stalled(from, self.now);
        self.library.resume_reading(self.clock.at(self.now));
        Ok(())
    }

    /// What the server sends.
    pub(crate) fn serve(&mut self, op: &Op) {
        let order = order(&self.settings);
        match op {
            Op::Agree {
                granted,
                in_flight,
                message,
                idle,
                kept,
            } => {
                let asked = self.model.calls.iter();
                let asked = asked.filter(|call| self.model.may_have_run(call));
                let mut asked = asked.filter(|_| self.model.is_negotiating());
                if let Some(call) = asked.next()
                    && self.answered.insert(call.number)
                {
                    let fields = [*granted, *in_flight, *message, *idle, 15];
                    let mut payload = codec::negotiated(order, fields);
                    payload.resize(*kept, 7);
                    self.on_the_way.extend(codec::ok(order, call.id, &payload));
                }
            }
            Op::Respond(back, response) => {
                let known = self.model.calls.iter().filter(|call| {
                    self.model.may_have_run(call) && !self.answered.contains(&call.number)
                });
                let known: Vec<_> = known.map(|call| (call.number, call.id)).collect();
                if known.is_empty() {
                    return;
                }
                let (number, id) = known[back % known.len()];
                if !matches!(response, Response::Processing) {
                    self.answered.insert(number);
                }
                self.on_the_way.extend(response.bytes(order, id));
            }
            Op::RespondTo(id, response) => self.on_the_way.extend(response.bytes(order, *id)),
            Op::RespondEarly(back, response) => {
                if let Some(id) = self.id(*back) {
                    self.on_the_way.extend(response.bytes(order, id));
                }
            }
            Op::Goodbye(missing) => {
                let begun = self.model.begun();
                let accepted = begun.saturating_add_signed(-i64::from(*missing));
                self.on_the_way
                    .extend(codec::goodbye(order, accepted as u32));
            }
            Op::Garbage(bytes) => self.on_the_way.extend(bytes),
            _ => {}
        }
    }

    pub(crate) fn timeout(&mut self, run: &mut Run) -> Compared {
        let next = self.model.next_deadline();
        run.reach_if(next == Some(self.now), "at the very nanosecond");
        run.reach_if(next == Some(self.now + 1), "one nanosecond before");
        let ours = self.model.timeout(self.now);
        let theirs = self.library.handle_timeout(self.clock.at(self.now));
        let theirs = theirs.map_err(|expired| match expired {
            Expired::Write { .. } => End::Write,
            Expired::KeepAlive { .. } => End::KeepAlive,
            Expired::Negotiate { .. } => End::Negotiate,
            Expired::Message { id, .. } => End::Message(id.0),
            _ => End::Unused,
        });
        same("C4", &ours, &theirs)?;
        self.end = ours.err();
        if self.end.is_none() {
            let next = self.clock.deadline(self.library.next_deadline());
            let is_later = next.is_none_or(|next| next > self.now);
            same("a judged clock is not due", &true, &is_later)?;
        }
        Ok(())
    }

    pub(crate) fn start(&mut self, start: &Start, run: &mut Run) -> Compared {
        let message = (!start.is_streamed).then(|| pattern(start.length));
        let how = (start.response_is_streamed, start.timeout);
        let ours = self
            .model
            .start(start.code, start.id, message.clone(), how, self.now);
        let number = ours.ok().and_then(|id| self.model.by_id(id));
        let call = NewCall {
            code: TaskCode(start.code),
            id: start.id.map(TaskId),
            message: match message {
                Some(message) => proto::RequestMessage::Whole(message.into()),
                None => proto::RequestMessage::Streamed,
            },
            response: if start.response_is_streamed {
                proto::ResponseMode::Streamed
            } else {
                proto::ResponseMode::Whole
            },
            response_timeout: duration(start.timeout),
            context: number.map_or(usize::MAX, |call| call.number),
        };
        let theirs = self.library.start(call, self.clock.at(self.now));
        let theirs = theirs.map(|id| id.0).map_err(|(error, _)| match error {
            StartError::TooLong { length_bytes, .. } => NotStarted::TooLong(length_bytes),
            StartError::IdInUse { .. } => NotStarted::IdInUse,
            _ => NotStarted::NoPlace,
        });
        match ours {
            Ok(_) => {}
            Err(NotStarted::NoPlace) => run.reach("no place"),
            Err(NotStarted::TooLong(_)) => run.reach("message too long"),
            Err(NotStarted::IdInUse) => run.reach("id in use"),
        }
        same("N7, C7", &ours, &theirs)
    }

    pub(crate) fn reach_given_up(&self, id: u32, run: &mut Run) {
        use oracle::model::calls::Progress;
        run.reach(match self.model.by_id(id).map(|call| call.progress) {
            Some(Progress::Queued) => "given up before it was sent",
            Some(Progress::Sending(_)) => "given up while it is sent",
            _ => "given up behind its end",
        });
    }

    pub(crate) fn put_out(&mut self, most: usize) -> Compared {
        let before = self.unsent.len();
        let at = self.clock.at(self.now);
        self.library.poll_output(&mut self.unsent, most, at);
        let bytes = self.unsent[before..].to_vec();
        let room = Room {
            bytes: most.saturating_sub(before),
            leaves_piece: self.library.wanted_piece().is_none(),
        };
        let wrong = self.model.put_out(&bytes, room, self.now);
        same("C2, C5, C6: what goes out", &None, &wrong)
    }

    pub(crate) fn taken(&mut self, hundredths: usize) -> Compared {
        let bytes = self.unsent.len() * hundredths / 100;
        if bytes == 0 {
            return Ok(());
        }
        self.unsent.advance(bytes);
        self.model.taken(bytes, self.now);
        self.library.handle_written(bytes, self.clock.at(self.now));
        Ok(())
    }

    pub(crate) fn piece(&mut self, length: usize, run: &mut Run) -> Compared {
        let wanted = self.library.wanted_piece().map(|id| id.0);
        if wanted.is_none() {
            return Ok(());
        }
        same("whose message goes on", &self.model.streaming(), &wanted)?;
        let piece = pattern(length);
        let too_long = self.model.push_piece(&piece);
        let theirs = self.library.push_piece(Bytes::from(piece));
        let theirs = theirs.err().map(|error| match error {
            StartError::TooLong { length_bytes, .. } => length_bytes,
            _ => 0,
        });
        run.reach_if(too_long.is_some(), "streamed message too long");
        same("C7", &too_long, &theirs)
    }

    pub(crate) fn arrive(&mut self, most: usize, run: &mut Run) -> Compared {
        let most = most.min(self.on_the_way.len());
        let bytes: Vec<u8> = self.on_the_way.drain(..most).collect();
        run.reach_if(!self.on_the_way.is_empty(), "response in parts");
        let ours = self.model.input(&bytes, self.now);
        let theirs = self.library.handle_input(&bytes, self.clock.at(self.now));
        let theirs = theirs.map_err(|violation| match violation {
            ProtocolViolation::UnknownCode(error) => End::UnknownCode(error.code, error.offset),
            ProtocolViolation::NotLive { id, offset } => End::NotLive(id.0, offset),
            ProtocolViolation::TooEarly { id } => End::TooEarly(id.0),
            ProtocolViolation::NotGranted { extension } => End::NotGranted(extension),
            ProtocolViolation::AcceptedTooMany { accepted, sent } => {
                End::AcceptedTooMany(accepted, sent)
            }
            _ => End::Unused,
        });
        same("C1", &ours, &theirs)?;
        self.end = ours.err();
        Ok(())
    }
}
