//! What the models of asyncserver's sessions are made of.
//!
//! A model is one scenario: a real server with a clock, an executor and
//! transports of the model's own, its connections' futures on some threads and
//! handles on others. [`shim::explore`] runs it in every interleaving under
//! `--cfg asyncserver_loom`, and otherwise many times on std's threads.
//!
//! The models themselves are in `tests/models`.

pub mod answers;
pub mod clock;
pub mod executor;
pub mod shim;
pub mod tally;
pub mod wire;
pub mod world;
