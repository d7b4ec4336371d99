//! A value that is changed by one and waited for by several.
//!
//! Tokio's `watch` is the same, but wakes those who wait in an order that it
//! draws from numbers without a seed; here it is that in which they began to wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The value. A clone is the same.
#[derive(Clone)]
pub(super) struct Told<T>(Arc<Shared<T>>);

struct Shared<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy + PartialEq> Told<T> {
    pub(super) fn new(value: T) -> Self {
        let value = Mutex::new(value);
        let changed = Notify::new();
        Self(Arc::new(Shared { value, changed }))
    }

    pub(super) fn get(&self) -> T {
        *self.locked()
    }

    pub(super) fn tell(&self, value: T) {
        *self.locked() = value;
        self.0.changed.notify_waiters();
    }

    /// Waits until it is something else than `known`, and tells what.
    pub(super) async fn other_than(&self, known: T) -> T {
        self.wait(|value| *value != known).await
    }

    pub(super) async fn until(&self, expected: T) {
        self.wait(|value| *value == expected).await;
    }

    async fn wait(&self, is_it: impl Fn(&T) -> bool) -> T {
        loop {
            // Before the look: what is told from now on wakes it.
            let changed = self.0.changed.notified();
            let value = self.get();
            if is_it(&value) {
                return value;
            }
            changed.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began_to() {
        let (told, woken) = (Told::new(0), Arc::new(Mutex::new(Vec::new())));
        let mut waiting = Vec::new();
        for number in 0..20 {
            let (told, woken) = (told.clone(), Arc::clone(&woken));
            waiting.push(tokio::spawn(async move {
                told.until(1).await;
                woken.lock().unwrap().push(number);
            }));
            tokio::task::yield_now().await;
        }
        told.tell(1);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_told_before_the_wait_is_not_missed() {
        let told = Told::new(0);
        told.tell(3);
        assert_eq!(told.other_than(0).await, 3);
    }
}
