//! `proto`'s small state machines against their models, after every step.

mod disconnect;
mod outbox;
mod pace;
