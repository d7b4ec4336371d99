//! How to simulate your own server and clients.
//!
//! A [`Check`](crate::Check) runs your task functions and your clients in a
//! [`World`](crate::World), over and over: each seed is another case, with other
//! steps at other times, clients that give up in the middle, tasks interleaved in
//! another order, and a network that delays, splits, cuts and resets. You say what
//! must hold; it finds a case in which it does not, and takes away everything that
//! is not needed for it.
//!
//! # What you write
//!
//! In the `[dev-dependencies]` of your package, besides `asyncserver`:
//!
//! ```toml
//! asyncserver-sim = { path = "…/asyncserver/sim" }
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! and what your task functions use: mostly `bytes = "1"` for messages, and `tokio`
//! with the feature `time`. Nothing else: no flags for the compiler, no runtime of
//! Tokio's in the test, no `#[tokio::test]`.
//!
//! An implementation of [`Simulated`](crate::Simulated), which has
//!
//! | | |
//! |---|---|
//! | a type | the state that your task functions share; each case begins with a new one |
//! | `Step` | what a client does, as data |
//! | `server` | registers your task functions, as your program does |
//! | `draw` | a step by chance |
//! | `act` | does it, with the real client |
//! | `always`, `at_rest` | what must hold at any time, and when all is over |
//! | `simpler` | optional: steps that may do as well, for smaller cases |
//!
//! and a test:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use asyncserver::{client::Client, server::{Server, ServerBuilder}, wire::TaskCode};
//! # use asyncserver_sim::{Check, Rng, Simulated, Weather};
//! # #[derive(Default)] struct BoxOffice;
//! # impl Simulated for BoxOffice {
//! #     type Step = u8;
//! #     fn server(self: Arc<Self>, builder: ServerBuilder) -> Server {
//! #         builder.task(TaskCode(1), "buy", async |_, seat: bytes::Bytes| Ok(seat)).build()
//! #     }
//! #     fn draw(&self, rng: &mut Rng) -> u8 { rng.below(6) as u8 }
//! #     async fn act(self: Arc<Self>, client: Client, seat: u8) {
//! #         drop(client.call(TaskCode(1), vec![seat]).await);
//! #     }
//! # }
//! # /*
//! #[test]
//! # */
//! fn no_seat_stays_reserved() {
//!     Check::new(BoxOffice::default)
//!         .seeds(0..100)
//!         .clients(3)
//!         .weather(Weather::Storm)
//!         .run()
//!         .unwrap();
//! }
//! # no_seat_stays_reserved();
//! ```
//!
//! `sim/examples/reservations.rs` is such a server as a whole. A task of it reserves
//! a seat, waits for the payment, and sells it; what it forgets is that a cancelled
//! task is dropped where it waits. A failed `unwrap` then says, of that server:
//!
//! ```text
//! seed 0x2: seat 0 is reserved, and no task is there
//! found in case 3; what is needed, 1 of 6 steps and faults:
//!        0 ms      client-0  Buy { seat: 0 }, gives up after 1 ms
//! what happened then:
//!        0.000 ms  client-0  Buy { seat: 0 }
//!        0.000 ms  network   faults are over
//!        0.000 ms  server-0  takes client-0 1->server-0
//!        0.000 ms  server-0  task 2 of client-0 1 (code 1) starts
//!        1.000 ms  client-0  gives up Buy { seat: 0 }
//!        1.000 ms  server-0  task 2 of client-0 1 (code 1) is cancelled: Requested
//!        1.000 ms  server-0  task 2 of client-0 1 (code 1) ends: Error(ErrorCode(255))
//!        1.000 ms  server-0  closes client-0 1->server-0: ClientClosed
//!        2.000 ms  BROKEN    seat 0 is reserved, and no task is there
//! run it alone with ASYNCSERVER_SIM_SEED=0x2
//! ```
//!
//! # What is done with a case that broke
//!
//! - `ASYNCSERVER_SIM_SEED=0x2a cargo test no_seat` runs that seed alone.
//! - [`Broken::html`](crate::Broken::html) is a page with lanes for clients, network,
//!   server and tasks.
//! - [`Case::to_json`](crate::Case::to_json) of [`Broken::small`](crate::Broken::small)
//!   goes into a folder of your tests; [`Check::kept`](crate::Check::kept) runs what
//!   lies there first, for ever after.
//!
//! # What breaks a case besides your invariants
//!
//! A panic, of `act` or of the server's own code (a panic of a task function is
//! caught by the server, and answered); a step, a client or a server that does not
//! come to its end once faults are over; a task, a connection or a byte that is left
//! over; a loop that never lets time go on.
//!
//! # What a seed cannot decide
//!
//! A seed means the same run on every machine as long as nothing from outside gets
//! in. Your code must take
//!
//! - time from `tokio::time`, or the server's clock, never from `SystemTime::now()`;
//! - random numbers from the [`Rng`](crate::Rng) of `draw`, through the step;
//! - order from ordered maps, never from the iteration of a `HashMap`;
//! - no threads of its own. `tokio::spawn` works, but its tasks are not interleaved by
//!   the seed, and outlive a crash of their host; `tokio::select!` should be `biased`.
//!
//! Whether nothing gets in can be tested: run the check in two processes, and compare
//! the [`trace_hash`](crate::Passed::trace_hash) of what they say.
//! `sim/tests/check_processes.rs` does that.
//!
//! # Without a check
//!
//! A [`World`](crate::World) is the same with your own hands: hosts, crashes, cuts and
//! connections, in the order in which a test says them. The page of the crate begins
//! with one.
