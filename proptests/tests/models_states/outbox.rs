//! What is queued for the wire (PROTOCOL N8, L7, D8, D9).

use asyncserver::proto;
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode, TaskId};
use bytes::BytesMut;
use oracle::model::outbox::{Answer, Outbox, Taken};
use oracle::model::suite::{self, Compared, Run, Suite, same};
use oracle::model::time::Clock;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Put {
    Ok {
        id: u32,
        length: usize,
    },
    Error {
        id: u32,
        error_code: u8,
        sent: u8,
    },
    Goodbye(u32),
    Processing(u32),
    Begin(u32),
    Body(usize),
    EndBody,
    Break,
    Close,
    Abandon,
    Fetch,
    /// So many hundredths of what was fetched; 0: one byte.
    Taken(usize),
    Shrink,
}

fn puts() -> impl Strategy<Value = Put> {
    let id = 0..3_u32;
    let length = prop_oneof![0..4_usize, 250..260_usize, 500..520_usize];
    let error_code = prop_oneof![Just(255_u8), Just(253), 0..3_u8];
    prop_oneof![
        3 => (id.clone(), length.clone()).prop_map(|(id, length)| Put::Ok { id, length }),
        3 => (id.clone(), error_code, any::<u8>())
            .prop_map(|(id, error_code, sent)| Put::Error { id, error_code, sent }),
        1 => any::<u32>().prop_map(Put::Goodbye),
        3 => id.clone().prop_map(Put::Processing),
        3 => id.prop_map(Put::Begin),
        4 => length.prop_map(Put::Body),
        2 => Just(Put::EndBody),
        1 => Just(Put::Break),
        1 => Just(Put::Close),
        1 => Just(Put::Abandon),
        6 => Just(Put::Fetch),
        6 => (0..=100_usize).prop_map(Put::Taken),
        1 => Just(Put::Shrink),
    ]
}

#[test]
fn outbox_sends_whole_responses_in_order() {
    let suite = Suite {
        name: "outbox",
        cases: 4_000,
        reach: &[
            "a response waits behind a body",
            "a body is longer than a block",
            "broken with answers behind",
            "broken",
            "abandoned inside a response",
            "a second sign of life is queued",
            "closed with bytes fetched",
            "answered behind the end",
            "sign of life taken",
            "all taken",
            "answered OK",
            "answered Error",
            "answered CANCELLED",
            "part of a response taken",
        ],
    };
    let strategy = (any::<bool>(), prop::collection::vec(puts(), 1..40));
    suite::run(&suite, strategy, check_puts);
}

fn check_puts((is_little, puts): &(bool, Vec<Put>), run: &mut Run) -> Compared {
    let order = if *is_little {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    };
    let mut ledger = proto::Ledger::new();
    let mut pair = Pair {
        model: Outbox::new(order),
        library: proto::Outbox::new(order),
        tasks: [0, 1, 2].map(|id| key(&mut ledger, id)),
        is_broken: false,
        is_closed: false,
    };
    for put in puts {
        pair.apply(put, run)?;
        run.note(|| format!("{put:?} -> {} bytes unsent", pair.model.unsent()));
        pair.compare()?;
        // What the driver has fetched, it does not write either.
        if matches!(put, Put::Abandon) {
            break;
        }
    }
    Ok(())
}

struct Pair {
    model: Outbox,
    library: proto::Outbox,
    tasks: [proto::TaskKey; 3],
    is_broken: bool,
    is_closed: bool,
}

impl Pair {
    fn apply(&mut self, put: &Put, run: &mut Run) -> Compared {
        let code = TaskCode(9);
        let before = self.model.unsent();
        match put {
            // D8: behind a response that was broken nothing is queued any more.
            Put::Ok { .. }
            | Put::Error { .. }
            | Put::Goodbye(_)
            | Put::Processing(_)
            | Put::Begin(_)
                if self.is_broken || self.is_closed => {}
            Put::Body(_) | Put::EndBody | Put::Break if self.is_closed => {}
            Put::Ok { id, length } => {
                let payload: Vec<u8> = (0..*length).map(|at| at as u8).collect();
                self.model.push_ok(*id, 9, &payload);
                self.library.push_ok(TaskId(*id), code, &payload);
                let waits = self.model.id_under_way().is_some();
                run.reach_if(waits, "a response waits behind a body");
            }
            Put::Error {
                id,
                error_code,
                sent,
            } => {
                self.model.push_own_error(*id, 9, *error_code, *sent);
                let (error, sent) = (ErrorCode(*error_code), ErrorCode(*sent));
                self.library.push_own_error(TaskId(*id), code, error, sent);
            }
            Put::Goodbye(accepted) => {
                self.model.push_goodbye(*accepted);
                self.library.push_goodbye(*accepted);
            }
            Put::Processing(id) => {
                let again = self.model.has_processing_of(*id as usize);
                run.reach_if(again, "a second sign of life is queued");
                self.model.push_processing(*id, 9, *id as usize);
                self.library
                    .push_processing(self.tasks[*id as usize], TaskId(*id), code);
            }
            // N8: one at a time.
            Put::Begin(_) if self.model.id_under_way().is_some() => {}
            Put::Begin(id) => {
                let key = self.tasks[*id as usize];
                self.model.begin_body(*id, 9);
                self.library.begin_body(key, TaskId(*id), code);
                same("under way", &Some(key), &self.library.under_way())?;
            }
            Put::Body(length) => {
                let payload: Vec<u8> = (0..*length).map(|at| at as u8).collect();
                self.model.push_body(&payload);
                self.library.push_body(&payload);
                let longer = self.model.unsent() > before;
                run.reach_if(longer, "a body is longer than a block");
            }
            Put::EndBody => {
                self.model.end_body();
                self.library.end_body();
            }
            Put::Break | Put::Close | Put::Abandon => self.give_up(put, run)?,
            Put::Fetch => {
                let mut fetched = BytesMut::new();
                self.library.fetch(&mut fetched);
                same("N8: the wire", &self.model.fetch(), &fetched.to_vec())?;
            }
            Put::Taken(hundredths) => self.taken(*hundredths, run)?,
            Put::Shrink => self.library.shrink(),
        }
        Ok(())
    }

    /// What the transport has not taken is lost, some or all of it.
    fn give_up(&mut self, put: &Put, run: &mut Run) -> Compared {
        match put {
            Put::Break => {
                self.is_broken |= self.model.id_under_way().is_some();
                run.reach_if(self.is_broken, "broken");
                let lost = self.model.break_under_way();
                run.reach_if(!lost.is_empty(), "broken with answers behind");
                same(
                    "D8: lost behind it",
                    &lost,
                    &named(self.library.break_under_way()),
                )?;
            }
            Put::Close => {
                run.reach_if(self.model.fetched > 0, "closed with bytes fetched");
                let lost = self.model.close();
                same("D5: lost for certain", &lost, &named(self.library.close()))?;
                self.is_closed = true;
            }
            Put::Abandon => {
                run.reach_if(self.model.unsent() > 0, "abandoned inside a response");
                let lost = self.model.abandon();
                same("D9: lost", &lost, &named(self.library.abandon()))?;
                same("L7", &0, &self.library.unsent())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn taken(&mut self, hundredths: usize, run: &mut Run) -> Compared {
        let most = self.model.fetched;
        let bytes = (most * hundredths / 100).max(1).min(most);
        let mut theirs = Vec::new();
        self.library.taken(bytes, |whole| {
            theirs.push(match whole {
                proto::Taken::Answer(terminal) => Taken::Answer(answer(terminal)),
                proto::Taken::Processing(key) => {
                    let number = self.tasks.iter().position(|task| *task == key);
                    Taken::Processing(number.unwrap_or(usize::MAX))
                }
            });
        });
        let taken = self.model.taken(bytes);
        same("D9, E5: what was taken", &taken, &theirs)?;
        run.reach_if(
            self.is_closed && !taken.is_empty(),
            "answered behind the end",
        );
        reach_taken(&self.model, &taken, bytes, run);
        Ok(())
    }

    fn compare(&self) -> Compared {
        same("L7: unsent", &self.model.unsent(), &self.library.unsent())?;
        same(
            "has output",
            &self.model.has_output(),
            &self.library.has_output(),
        )?;
        same("is empty", &self.model.is_empty(), &self.library.is_empty())?;
        same(
            "L3: writable",
            &self.model.writable(),
            &self.library.writable(),
        )?;
        let unanswered = self.library.unanswered().collect();
        same("D9", &self.model.unanswered(), &named(unanswered))?;
        let is_under_way = self.library.under_way().is_some();
        same(
            "under way",
            &self.model.id_under_way().is_some(),
            &is_under_way,
        )
    }
}

fn reach_taken(model: &Outbox, taken: &[Taken], bytes: usize, run: &mut Run) {
    run.reach_if(bytes > 0 && model.is_empty(), "all taken");
    run.reach_if(
        bytes > 0 && taken.is_empty() && model.unsent() > 0,
        "part of a response taken",
    );
    for whole in taken {
        run.reach(match whole {
            Taken::Answer(Answer::Ok) => "answered OK",
            Taken::Answer(Answer::Error) => "answered Error",
            Taken::Answer(Answer::Cancelled) => "answered CANCELLED",
            Taken::Processing(_) => "sign of life taken",
        });
    }
}

fn key(ledger: &mut proto::Ledger<()>, id: u32) -> proto::TaskKey {
    let policy = proto::Policy::new(proto::OnCancel::Drop, proto::FunctionKind::Async);
    ledger.begin(TaskId(id), TaskCode(9), policy, (), Clock::default().at(0))
}

fn named(lost: Vec<(TaskId, TaskCode)>) -> Vec<(u32, u8)> {
    lost.into_iter().map(|(id, code)| (id.0, code.0)).collect()
}

fn answer(terminal: proto::Terminal) -> Answer {
    match terminal {
        proto::Terminal::Ok => Answer::Ok,
        proto::Terminal::Error => Answer::Error,
        proto::Terminal::Cancelled => Answer::Cancelled,
    }
}
