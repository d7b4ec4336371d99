//! What is shown of a run.

mod costs;
mod format;
mod table;

pub(crate) use costs::cost_table;
pub(crate) use format::{Spread, bytes, share, time};
pub(crate) use table::Table;
