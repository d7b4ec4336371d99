//! Lists that are empty between two polls of a driver, and a box: the thread lends
//! them, so that a connection has none of its own.

use std::cell::Cell;
use std::sync::Arc;

use crate::proto::TaskKey;
use crate::server::registration::Registered;
use crate::server::run::{BoxRunFuture, IdleGroup, IdleRunner, NewGroup, RunningTask, Single};
use crate::server::session::{Batch, Ended, Finished};

thread_local! {
    static KEPT: Cell<Option<Box<Lists>>> = const { Cell::new(None) };
}

/// A thread keeps no lists with room for more.
const MOST_KEPT: usize = 1024;

#[derive(Default)]
pub(super) struct Lists {
    /// Inputs, and results of what ran in place, committed with the next inputs.
    pub(super) batch: Batch,
    /// What pended in place and goes to the executor at the end of the turn: in
    /// groups of one registration each, or by itself.
    pub(super) groups: Vec<NewGroup>,
    pub(super) singles: Vec<(Arc<Registered>, RunningTask)>,
    /// Executor tasks for these, as they are handed out.
    pub(super) idle: Vec<IdleRunner<Single>>,
    pub(super) idle_groups: Vec<IdleGroup>,
    /// Memory for the members of new groups, which idle groups have left.
    pub(super) rooms: Vec<Vec<Option<RunningTask>>>,
    /// What pended in place and stays. Some of it goes on at once, and needs no
    /// place among what waits.
    pub(super) new_local: Vec<RunningTask>,
    /// The box of a run function that has ended, for the next one.
    pub(super) spare: Option<BoxRunFuture>,
}

impl Lists {
    /// How a task's run function ended.
    pub(super) fn end(&mut self, key: TaskKey, ended: Ended) {
        self.batch.ended.push(Finished::new(key, ended));
    }

    fn are_empty(&self) -> bool {
        self.batch.ended.is_empty()
            && self.groups.is_empty()
            && self.singles.is_empty()
            && self.idle.is_empty()
            && self.idle_groups.is_empty()
            && self.new_local.is_empty()
    }

    fn are_small(&self) -> bool {
        let rooms = [
            self.batch.ended.capacity(),
            self.singles.capacity(),
            self.idle.capacity(),
            self.new_local.capacity(),
        ];
        rooms.into_iter().all(|room| room <= MOST_KEPT)
    }
}

/// A thread's lists, while it polls the driver.
#[derive(Default)]
pub(super) struct LentLists(Option<Box<Lists>>);

impl LentLists {
    /// Takes those of this thread, if it has any left.
    pub(super) fn borrow(&mut self) {
        if self.0.is_none() {
            self.0 = KEPT.try_with(Cell::take).ok().flatten();
        }
    }

    #[inline]
    pub(super) fn get(&mut self) -> &mut Lists {
        match &mut self.0 {
            Some(lists) => lists,
            none => Self::new_in(none),
        }
    }

    #[cold]
    fn new_in(none: &mut Option<Box<Lists>>) -> &mut Lists {
        none.insert(Box::default())
    }

    /// Leaves them to the next driver, unless they hold what it must not find.
    pub(super) fn give_back(&mut self) {
        let Some(mut lists) = self.0.take_if(|lists| lists.are_empty()) else {
            return;
        };
        lists.batch.inputs.forget();
        if lists.are_small() {
            let _ = KEPT.try_with(|kept| kept.set(Some(lists)));
        }
    }
}
