//! The order of tasks within a host comes from the seed, and from nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::runtime::Executor;
use asyncserver_sim::{Interleaving, World};

/// The order in which five tasks do three things each.
fn order(seed: u64, interleaving: Interleaving) -> Vec<u64> {
    let run = World::builder(seed)
        .interleaving(interleaving)
        .run(async |world| {
            let log = Arc::new(Mutex::new(Vec::new()));
            let host = world.host("host");
            for task in 0..5 {
                let log = Arc::clone(&log);
                host.executor().spawn_as("step", async move {
                    for _ in 0..3 {
                        log.lock().unwrap().push(task);
                        tokio::task::yield_now().await;
                    }
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            std::mem::take(&mut *log.lock().unwrap())
        });
    run.expect_clean()
}

#[test]
fn two_hundred_seeds_give_at_least_190_orders_and_each_always_the_same() {
    let orders = |_| -> BTreeSet<_> {
        (0..200)
            .map(|seed| order(seed, Interleaving::default()))
            .collect()
    };
    let first = orders(());
    assert!(first.len() >= 190, "{}", first.len());
    assert_eq!(first, orders(()));
}

#[test]
fn without_yields_there_is_one_order() {
    let calm = Interleaving {
        put_off_permille: 0,
        ..Interleaving::default()
    };
    let orders: BTreeSet<_> = (0..50).map(|seed| order(seed, calm)).collect();
    assert_eq!(orders.len(), 1);
}

#[test]
fn a_blocking_function_runs_once_at_a_moment_that_the_seed_decides() {
    let at = |seed| {
        let run = World::builder(seed).run(async |world| {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let probe = world.probe().clone();
            let executor = world.host("host").executor().clone();
            executor.spawn_blocking(Box::new(move || sender.send(probe.elapsed()).unwrap()));
            receiver.await.unwrap()
        });
        run.expect_clean()
    };
    let moments: BTreeSet<_> = (0..40).map(at).collect();
    assert!(moments.len() > 5, "{moments:?}");
    assert!(moments.iter().all(|at| *at <= Duration::from_millis(20)));
    assert_eq!(at(3), at(3));
}

#[test]
fn what_one_kind_of_task_spawns_changes_nothing_for_another() {
    let moment = |others: usize| {
        let run = World::builder(5).run(async move |world| {
            let executor = world.host("host").executor().clone();
            for _ in 0..others {
                executor.spawn_as("other", async {});
            }
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let probe = world.probe().clone();
            executor.spawn_blocking(Box::new(move || sender.send(probe.elapsed()).unwrap()));
            receiver.await.unwrap()
        });
        run.expect_clean()
    };
    assert_eq!(moment(0), moment(7));
}
