//! What is shown of a run.

mod costs;
mod format;
mod machine;
mod plot;
mod results;
mod table;

pub(crate) use costs::{body_plot, body_table, cost_plot, cost_table, server_micros, unknown};
pub(crate) use format::{Spread, bytes, share, time};
pub(crate) use plot::{Kind, Plot};
pub(crate) use results::Results;
pub(crate) use table::Table;
