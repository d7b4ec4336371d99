//! Progress, rest, and what is left over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::World;
use super::outcome::{Residue, Stalled};
use crate::executor::SeededExecutor;
use crate::host::Host;
use crate::net::NetworkUsage;

/// How long a world may take to come to rest once its code has ended.
const REST: Duration = Duration::from_secs(60);

impl World {
    /// What `work` comes to, unless for `budget` of virtual time no byte
    /// arrives, no task ends and no connection is made or closed.
    ///
    /// # Errors
    /// [`Stalled`], with what there was.
    pub async fn while_progressing<T>(
        &self,
        budget: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let mut work = pin!(work);
        let mut watch = pin!(self.until_stalled(budget));
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            watch.as_mut().poll(cx).map(Err)
        })
        .await
    }

    /// Waits until nothing is left over of anything.
    ///
    /// # Errors
    /// [`Stalled`] when for `budget` of virtual time nothing went on.
    pub async fn at_rest(&self, budget: Duration) -> Result<(), Stalled> {
        let empty = async {
            let mut pause = Duration::from_millis(1);
            while !self.residue().is_empty() && self.probe().livelock().is_none() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        };
        self.while_progressing(budget, empty).await?;
        let residue = self.residue();
        if residue.is_empty() {
            return Ok(());
        }
        Err(self.stalled(budget))
    }

    /// What is left when all has come to rest, or has had its time to.
    pub(super) async fn residue_at_rest(&self) -> Residue {
        // Its result is looked at again: progress without end is no rest, either.
        drop(tokio::time::timeout(REST * 60, self.at_rest(REST)).await);
        self.residue()
    }

    /// What is there still.
    #[must_use]
    pub fn residue(&self) -> Residue {
        let NetworkUsage {
            links,
            held,
            listening,
            unaccepted,
            ..
        } = self.network().usage();
        let hosts = self.hosts();
        let tasks = hosts.iter();
        Residue {
            tasks: tasks
                .flat_map(|host| host.executor().live_task_names())
                .collect(),
            links,
            buffered_bytes: held.buffered_bytes,
            wakers: held.wakers,
            unaccepted,
            listening,
            counted_by_servers: hosts.iter().filter_map(Host::counted).collect(),
        }
    }

    async fn until_stalled(&self, budget: Duration) -> Stalled {
        let mut seen = self.progress();
        loop {
            tokio::time::sleep(budget).await;
            let now = self.progress();
            if now == seen {
                return self.stalled(budget);
            }
            seen = now;
        }
    }

    fn stalled(&self, budget: Duration) -> Stalled {
        Stalled {
            budget,
            at: self.probe().elapsed(),
            residue: self.residue(),
        }
    }

    /// Changes whenever anything has come of anything.
    fn progress(&self) -> (u64, usize, usize, u64) {
        let usage = self.network().usage();
        let hosts = self.hosts();
        let executors = || hosts.iter().map(Host::executor);
        let live = executors().map(SeededExecutor::live_tasks).sum();
        let spawned = executors().map(SeededExecutor::spawned_tasks).sum();
        (usage.bytes_read, usage.links.len(), live, spawned)
    }
}
