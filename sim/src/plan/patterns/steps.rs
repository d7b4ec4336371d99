//! What happens in each pattern.

use oracle::{Ask, BodyEnd, Config, Op, Piece, Request, RunEnd, Then};

use crate::Rng;
use crate::plan::requests::{Wire, after_ms, body_end, run_end};

/// Operations with the pause before each, in milliseconds.
pub(super) struct Steps(pub(super) Vec<(u64, Op)>);

impl Steps {
    fn add(&mut self, pause_ms: u64, op: Op) {
        self.0.push((pause_ms, op));
    }

    fn send(&mut self, pause_ms: u64, id: u32, ask: Ask) {
        let (request, pieces) = (Request::new(id, ask), Vec::new());
        self.add(pause_ms, Op::Send { request, pieces });
    }

    /// By the server's program, once or of all, or by the client.
    fn cancel(&mut self, pause_ms: u64, rng: &mut Rng, id: u32) {
        match rng.below(5) {
            0..2 => self.add(pause_ms, Op::Cancel { id }),
            2 => self.add(pause_ms, Op::CancelAll),
            _ => self.send(pause_ms, id, Ask::Cancel(0)),
        }
    }

    fn complete(&mut self, pause_ms: u64, id: u32, how: RunEnd) {
        self.add(pause_ms, Op::Complete { id, how });
    }

    pub(super) fn cancelled(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        let code = *rng.pick(&[20, 21, 22, 27, 27]);
        let ask = match rng.below(8) {
            0 => Ask::Limited(rng.between(100, 600) as u32),
            _ => scripted(code, rng),
        };
        self.send(0, id, ask);
        // A function on a thread may take a while to start.
        self.cancel(*rng.pick(&[0, 1, 30, 60]), rng, id);
        if rng.chance(250) {
            self.cancel(*rng.pick(&[0, 10]), rng, id);
        }
        let pause = *rng.pick(&[0, 0, 20, 150, 400, 1100]);
        let what_follows = rng.below(5);
        if what_follows < 3 {
            let bytes = rng.below(20) as usize;
            let how = [RunEnd::Whole { bytes }, run_end(rng, wire)];
            let how = *rng.pick(&how);
            self.complete(pause, id, how);
        }
        if what_follows >= 2 {
            let again = *rng.pick(&[20, 21, 26]);
            self.send(pause, id, scripted(again, rng));
        }
    }

    pub(super) fn cancelled_in_receiving(&mut self, rng: &mut Rng, id: u32) {
        let length = rng.between(20, 250) as usize;
        let ask = match rng.below(4) {
            0 => Ask::Digest(length),
            1 => Ask::Echo(length),
            2 => scripted_of(*rng.pick(&[20, 23, 25]), length),
            _ => Ask::First(length),
        };
        let pieces = (0..rng.between(1, 2)).map(|_| Piece {
            bytes: rng.between(5, 15) as usize,
            then_ms: rng.between(20, 200),
        });
        let (request, pieces) = (Request::new(id, ask), pieces.collect());
        self.add(0, Op::Send { request, pieces });
        let pause = rng.between(1, 30);
        match rng.below(4) {
            0 => self.add(pause, Op::CancelAll),
            1 => self.add(
                pause,
                Op::Disconnect {
                    after_ms: after_ms(rng),
                },
            ),
            _ => self.add(pause, Op::Cancel { id }),
        }
    }

    pub(super) fn stalled_body(&mut self, config: &Config, wire: &Wire, rng: &mut Rng, id: u32) {
        let features = *rng.pick(&[3, 3, 2, 0]);
        self.send(0, id + 1, negotiate(features));
        let (code, bytes) = match rng.below(8) {
            0 => (20, rng.between(0, 2000)),
            1 => (20, 66_000),
            _ => (26, rng.between(0, 300)),
        };
        let then = BodyEnd::Stalls;
        let bytes = (bytes as usize).min(wire.most_bytes);
        self.send(0, id, scripted(code, rng));
        self.complete(*rng.pick(&[0, 0, 60]), id, RunEnd::Streamed { bytes, then });
        let interval = config.timeouts.processing_ms.min(400);
        for other in 2..rng.between(2, 4) as u32 {
            let pause = *rng.pick(&[0, 1, interval / 2]);
            match rng.below(6) {
                0 => self.send(pause, id + other, Ask::KeepAlive(0)),
                1 | 2 => self.send(pause, id + other, Ask::Fail(rng.next_u64() as u8)),
                3 => self.cancel(pause, rng, id),
                4 => {
                    let after_ms = after_ms(rng);
                    self.add(pause, Op::Disconnect { after_ms });
                }
                _ => {
                    self.send(pause, id + other, scripted(*rng.pick(&[20, 26]), rng));
                    self.complete(0, id + other, run_end(rng, wire));
                }
            }
        }
        if rng.chance(700) {
            let pause = rng.between(1, 5 * interval / 2);
            let how = body_end(rng);
            self.add(pause, Op::CompleteBody { id, how });
        }
    }

    pub(super) fn credit(&mut self, config: &Config, wire: &Wire, rng: &mut Rng, id: u32) {
        let length = rng.between(300, 4000).min(wire.most_bytes as u64);
        let read_ms = config.timeouts.read_ms.min(800);
        let ask = match rng.below(3) {
            0 => Ask::Digest(length as usize),
            1 => Ask::Echo(length as usize),
            _ => scripted_of(23, length as usize),
        };
        let first = rng.between(length / 2, length);
        let mut pieces = vec![Piece {
            bytes: first as usize,
            // Past the limit, not always past what was earned without one.
            then_ms: read_ms * rng.between(4, 12) / 4,
        }];
        for _ in 0..rng.below(3) {
            pieces.push(Piece {
                bytes: rng.between(1, 100) as usize,
                then_ms: read_ms * rng.between(1, 6) / 4,
            });
        }
        let request = Request::new(id, ask);
        self.add(0, Op::Send { request, pieces });
    }

    pub(super) fn error_beside(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        let ask = match rng.below(4) {
            0 => Ask::Tidy(rng.between(300, 3000) as u32),
            1 => scripted(22, rng),
            _ => scripted(21, rng),
        };
        self.send(0, id, ask);
        let pause = *rng.pick(&[0, 1, 50]);
        match rng.below(5) {
            0 => self.send(pause, id + 1, Ask::Break),
            1 => self.send(pause, id + 1, Ask::Reject(3)),
            2 => self.send(pause, id, Ask::Echo(1)),
            3 => {
                self.send(pause, id + 1, scripted(20, rng));
                self.complete(1, id + 1, RunEnd::Uncoded);
            }
            _ => self.add(pause, Op::HalfClose),
        }
        if rng.chance(600) {
            let pause = *rng.pick(&[1, 100, 400]);
            self.complete(pause, id, run_end(rng, wire));
        }
    }

    pub(super) fn disconnect_inside(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        if rng.chance(600) {
            self.send(0, id + 1, negotiate(1));
        }
        if rng.chance(600) {
            self.send(0, id + 2, scripted(*rng.pick(&[20, 21]), rng));
            self.complete(rng.below(3), id + 2, run_end(rng, wire));
        }
        let request = Request::new(id, Ask::Echo(9));
        let (bytes, then) = (rng.below(8) as usize, Then::Silence);
        self.add(
            rng.below(20),
            Op::Cut {
                request,
                bytes,
                then,
            },
        );
        let after_ms = after_ms(rng);
        let pause = *rng.pick(&[1, 1, 30]);
        match rng.below(5) {
            0 => self.add(pause, Op::ServerDisconnect { after_ms }),
            1 => self.add(pause, Op::EndContext),
            _ => self.add(pause, Op::Disconnect { after_ms }),
        }
    }

    pub(super) fn draining(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        if rng.chance(600) {
            self.send(0, id + 1, negotiate(3));
        }
        self.send(0, id, scripted(*rng.pick(&[20, 20, 21, 22, 26]), rng));
        let after_ms = rng.between(200, 3000);
        let pause = *rng.pick(&[1, 40]);
        match rng.below(6) {
            0 => self.add(pause, Op::ServerDisconnect { after_ms }),
            1 => self.add(pause, Op::EndContext),
            _ => self.add(pause, Op::Disconnect { after_ms }),
        }
        let pause = *rng.pick(&[0, 1, 100]);
        match rng.below(8) {
            0 => self.complete(pause, id, RunEnd::Uncoded),
            1 => self.add(pause, Op::Reset),
            2 | 3 => self.add(pause, Op::Close),
            4 | 5 => {
                let after_ms = *rng.pick(&[0, 100, 5000]);
                self.add(pause, Op::Disconnect { after_ms });
            }
            6 => self.send(pause, id + 2, Ask::Echo(4)),
            _ => self.cancel(pause, rng, id),
        }
        if rng.chance(700) {
            let pause = *rng.pick(&[1, 100, 700]);
            self.complete(pause, id, run_end(rng, wire));
        }
    }

    pub(super) fn unread(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        self.add(0, Op::StopReading);
        let length = *rng.pick(&[300, 6000, 80_000]);
        for number in 0..rng.between(2, 5) as u32 {
            let bytes = wire.most_bytes.min(length);
            let id = id + number;
            match rng.below(5) {
                0 => self.send(rng.below(5), id, Ask::Echo(bytes)),
                1 | 2 => self.send(rng.below(5), id, Ask::Produce(bytes as u32)),
                3 => {
                    self.send(0, id, scripted(20, rng));
                    self.complete(rng.below(5), id, RunEnd::Whole { bytes });
                }
                _ => self.send(rng.below(5), id, Ask::KeepAlive(0)),
            }
        }
        let pause = rng.between(20, 1500);
        match rng.below(4) {
            0 => self.add(
                pause,
                Op::ReadSlowly {
                    bytes: 100,
                    every_ms: 20,
                },
            ),
            1 => self.add(
                pause,
                Op::Disconnect {
                    after_ms: after_ms(rng),
                },
            ),
            _ => {}
        }
        self.add(pause, Op::ReadAll);
        self.send(rng.below(5), id + 9, Ask::Echo(1));
    }

    pub(super) fn shared(&mut self, wire: &Wire, rng: &mut Rng, id: u32) {
        let code = *rng.pick(&[20, 21, 26, 26]);
        let count = rng.between(2, 4) as u32;
        for number in 0..count {
            self.send(rng.below(20), id + number, scripted(code, rng));
        }
        for number in 0..count {
            let pause = *rng.pick(&[0, 10, 300]);
            self.complete(pause, id + number, run_end(rng, wire));
        }
        self.send(1, id + count, scripted(code, rng));
    }

    pub(super) fn one_batch(&mut self, rng: &mut Rng, id: u32) {
        let code = *rng.pick(&[20, 21, 22, 23, 27]);
        let mut requests = vec![
            Request::new(id, scripted(code, rng)),
            Request::new(id, Ask::Cancel(0)),
        ];
        for number in 1..rng.between(1, 4) as u32 {
            let ask = match rng.below(4) {
                0 => Ask::Echo(3),
                1 => Ask::Tasks,
                2 => Ask::Panic,
                _ => scripted(20, rng),
            };
            let at = rng.below(requests.len() as u64 + 1) as usize;
            requests.insert(at, Request::new(id + number, ask));
        }
        if rng.chance(300) {
            requests.push(Request::new(id, scripted(20, rng)));
        }
        self.add(0, Op::SendTogether { requests });
        if rng.chance(500) {
            self.complete(*rng.pick(&[0, 1, 50]), id, RunEnd::Whole { bytes: 3 });
        }
    }
}

fn scripted(code: u8, rng: &mut Rng) -> Ask {
    scripted_of(code, rng.below(20) as usize)
}

const fn scripted_of(code: u8, bytes: usize) -> Ask {
    Ask::Scripted { code, bytes }
}

pub(in super::super) const fn negotiate(features: u32) -> Ask {
    Ask::Negotiate {
        version: 1,
        features,
        bytes: 5,
    }
}
