//! A user's own server, with a bug in its cancel handling, found over seeds and
//! made small.
//!
//! The server sells seats: a task reserves one, waits for the payment, and then
//! sells it or lets it go. A client that gives up in the middle cancels the task:
//! the server drops its run function where it waits. What stands behind the wait
//! never runs, and the seat stays reserved for ever.
//!
//!     cargo run -p asyncserver-sim --example reservations
//!     cargo run -p asyncserver-sim --example reservations -- timeline.html

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asyncserver::client::Client;
use asyncserver::server::{Server, ServerBuilder, TaskError};
use asyncserver::wire::{ErrorCode, TaskCode};
use asyncserver_sim::{Check, Rng, Simulated};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const BUY: TaskCode = TaskCode(1);

/// The answer where a seat cannot be sold.
fn not_sold(why: &'static str) -> TaskError {
    TaskError::coded(ErrorCode(1), why)
}

/// How long the bank takes.
const PAYMENT: Duration = Duration::from_millis(40);

/// What is known of each seat that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Reserved,
    Sold,
}

/// What happens to a reservation whose task is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCancel {
    /// It stays: the bug.
    Forget,
    /// It goes with the task: the remedy.
    Release,
}

/// The state of a run, which the tasks share, and which the check looks at.
#[derive(Debug)]
pub(crate) struct BoxOffice {
    seats: Mutex<BTreeMap<u8, Seat>>,
    on_cancel: OnCancel,
}

/// What a client does: it buys a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buy {
    seat: u8,
}

impl BoxOffice {
    /// An office with every seat free.
    const fn new(on_cancel: OnCancel) -> Self {
        Self {
            seats: Mutex::new(BTreeMap::new()),
            on_cancel,
        }
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<u8, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, seat: u8) {
        let mut seats = self.seats();
        if seats.get(&seat) == Some(&Seat::Reserved) {
            seats.remove(&seat);
        }
    }

    /// The task function's work.
    async fn buy(self: Arc<Self>, message: Bytes) -> Result<Bytes, TaskError> {
        let seat = message.first().copied().unwrap_or_default();
        if self.seats().contains_key(&seat) {
            return Err(not_sold("it is taken"));
        }
        self.seats().insert(seat, Seat::Reserved);
        let _reservation = (self.on_cancel == OnCancel::Release).then(|| Reservation {
            office: Arc::clone(&self),
            seat,
        });
        tokio::time::sleep(PAYMENT).await;
        // A card is refused now and then.
        if seat % 4 == 3 {
            self.release(seat);
            return Err(not_sold("the card is refused"));
        }
        self.seats().insert(seat, Seat::Sold);
        Ok(message)
    }
}

/// Lets go of a seat that is not sold when it is dropped, at whatever point.
struct Reservation {
    office: Arc<BoxOffice>,
    seat: u8,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.office.release(self.seat);
    }
}

impl Simulated for BoxOffice {
    type Step = Buy;

    fn server(self: Arc<Self>, builder: ServerBuilder) -> Server {
        builder
            .task(BUY, "buy", move |_, message: Bytes| {
                let office = Arc::clone(&self);
                office.buy(message)
            })
            .build()
    }

    fn draw(&self, rng: &mut Rng) -> Buy {
        let seat = rng.below(6) as u8;
        Buy { seat }
    }

    fn simpler(&self, buy: &Buy) -> Vec<Buy> {
        (0..buy.seat).map(|seat| Buy { seat }).collect()
    }

    async fn act(self: Arc<Self>, client: Client, buy: Buy) {
        let bought = client.call(BUY, vec![buy.seat]).await;
        if bought.is_ok() {
            let is_sold = self.seats().get(&buy.seat) == Some(&Seat::Sold);
            assert!(is_sold, "seat {} was bought and is not sold", buy.seat);
        }
    }

    /// No task is left: nobody will ever let go of what is reserved now.
    fn at_rest(&self) -> Result<(), String> {
        let seats = self.seats();
        let mut seats = seats.iter();
        match seats.find(|(_, seat)| **seat == Seat::Reserved) {
            Some((seat, _)) => Err(format!("seat {seat} is reserved, and no task is there")),
            None => Ok(()),
        }
    }
}

/// The check, of the office with the bug or without it.
pub(crate) fn check(on_cancel: OnCancel) -> Check<BoxOffice> {
    Check::new(move || BoxOffice::new(on_cancel)).seeds(0..200)
}

#[allow(dead_code, reason = "the tests of the example have no use for it")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broken = check(OnCancel::Forget).run();
    let broken = broken.expect_err("the bug is found");
    println!("{broken}\n");
    if let Some(file) = std::env::args_os().nth(1) {
        std::fs::write(&file, broken.html())?;
    }
    let passed = check(OnCancel::Release).run()?;
    println!("with the remedy, {} cases pass", passed.cases);
    Ok(())
}
