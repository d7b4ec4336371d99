//! Lists that are empty between two polls of a driver, and a box: the thread lends
//! them, so that a connection has none of its own.

use std::cell::Cell;
use std::sync::Arc;

use crate::server::registration::Registered;
use crate::server::run::{BoxRunFuture, RunningTask};
use crate::server::session::Batch;

thread_local! {
    static KEPT: Cell<Option<Lists>> = const { Cell::new(None) };
}

/// A thread keeps no lists with room for more.
const MOST_KEPT: usize = 1024;

/// Run functions of one registration, which will share an executor task.
pub(super) struct NewGroup {
    pub(super) registered: Arc<Registered>,
    pub(super) members: Vec<RunningTask>,
    /// The orders that had been given when the first of them began.
    pub(super) seen_orders: u32,
}

#[derive(Default)]
pub(super) struct Lists {
    /// Inputs, and results of what ran in place, committed with the next inputs.
    pub(super) batch: Batch,
    /// What pended in place and goes to the executor at the end of the turn: in
    /// groups of one registration each, or by itself.
    pub(super) groups: Vec<NewGroup>,
    pub(super) singles: Vec<(Arc<Registered>, RunningTask)>,
    /// The box of a run function that has ended, for the next one.
    pub(super) spare: Option<BoxRunFuture>,
}

impl Lists {
    /// Those of this thread, unless it is about to end.
    pub(super) fn lent() -> Self {
        KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Leaves none here, unless they hold what another connection must not find.
    pub(super) fn give_back(&mut self) {
        self.batch.inputs.forget();
        let are_empty =
            self.batch.ended.is_empty() && self.groups.is_empty() && self.singles.is_empty();
        if !are_empty {
            return;
        }
        let lists = std::mem::take(self);
        let rooms = [lists.batch.ended.capacity(), lists.singles.capacity()];
        if rooms.into_iter().all(|room| room <= MOST_KEPT) {
            let _ = KEPT.try_with(|kept| kept.set(Some(lists)));
        }
    }
}
