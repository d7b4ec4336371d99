//! Futures that one task polls, each once it has been woken. Their wakers stay, for the
//! next ones as well: memory for each, which its end would free, takes longer than many a
//! function's whole poll.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::running::is_same;
use crate::sync::WokenSet;

/// Those who wait are moved together once they are one in so many: each is polled once more.
const SPARSE: usize = 4;

/// Up to [`WokenSet::MOST`] futures.
pub(super) struct Members<F> {
    /// At the places of their wakers; what has ended is gone.
    places: Vec<Option<F>>,
    wakers: Vec<Waker>,
    woken: Arc<WokenSet>,
    /// Whom they wake, as the set has it.
    poller: Option<Waker>,
    /// Places whose futures have not been polled yet.
    new: u64,
    left: usize,
}

impl<F> Default for Members<F> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            wakers: Vec::new(),
            woken: Arc::new(WokenSet::new()),
            poller: None,
            new: 0,
            left: 0,
        }
    }
}

impl<F: Future + Unpin> Members<F> {
    /// Fills it, once it is empty, with these: no more than there may be.
    pub(super) fn fill(&mut self, members: Vec<Option<F>>) {
        debug_assert!(self.left == 0, "those that are left would go");
        debug_assert!(members.len() <= WokenSet::MOST, "{} members", members.len());
        self.places = members;
        self.left = self.places.len();
        self.poll_all();
    }

    /// Its memory for members, if it is empty.
    pub(super) fn take_room(&mut self) -> Vec<Option<F>> {
        let mut room = std::mem::take(&mut self.places);
        room.clear();
        room
    }

    /// Each is polled next time, with the waker of its place.
    fn poll_all(&mut self) {
        for place in self.wakers.len()..self.places.len() {
            let woken = Arc::clone(&self.woken);
            let place = place as u32;
            self.wakers
                .push(Waker::from(Arc::new(Place { woken, place })));
        }
        self.new = u64::MAX;
    }

    /// Those who wait hold no memory of many who have ended.
    fn compact(&mut self) {
        self.places.retain(Option::is_some);
        self.wakers.truncate(self.places.len());
        self.shrink();
        self.poll_all();
    }

    /// Gives back what it does not need for those it has.
    pub(super) fn shrink(&mut self) {
        self.places.shrink_to_fit();
        self.wakers.shrink_to_fit();
    }

    /// Those that have not ended.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut F> {
        self.places.iter_mut().flatten()
    }

    /// Polls each that was woken, once, and hands out what they end with; ready: none is left.
    pub(super) fn poll(&mut self, cx: &Context<'_>, mut ended: impl FnMut(F::Output)) -> Poll<()> {
        // Before it looks: who comes later wakes it.
        if !is_same(self.poller.as_ref(), cx) {
            self.poller = Some(cx.waker().clone());
            self.woken.set_poller(cx.waker().clone());
        }
        self.poll_woken(&mut ended);
        while self.left > 0 && self.left * SPARSE <= self.places.len() {
            self.compact();
            self.poll_woken(&mut ended);
        }
        match self.left {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn poll_woken(&mut self, ended: &mut impl FnMut(F::Output)) {
        let woken = self.woken.take() | std::mem::take(&mut self.new);
        for (place, (member, waker)) in self.places.iter_mut().zip(&self.wakers).enumerate() {
            if woken & (1 << place) == 0 {
                continue;
            }
            let cx = &mut Context::from_waker(waker);
            if let Some(Poll::Ready(output)) = member.as_mut().map(|m| Pin::new(m).poll(cx)) {
                *member = None;
                self.left -= 1;
                ended(output);
            }
        }
    }
}

/// Wakes one of them.
struct Place {
    woken: Arc<WokenSet>,
    place: u32,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(poller) = self.woken.insert(self.place) {
            poller.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{Receiver, Sender, channel};

    use super::*;
    use crate::sync::atomic::{AtomicUsize, Ordering};

    /// Counts polls and wake-ups.
    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl Count {
        fn add(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn take(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.add();
        }
    }

    /// Ends with what it is sent.
    struct Waits {
        polls: Count,
        receiver: Receiver<usize>,
    }

    impl Future for Waits {
        type Output = usize;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            self.polls.add();
            Pin::new(&mut self.receiver).poll(cx).map(Result::unwrap)
        }
    }

    struct Scene {
        members: Members<Waits>,
        polls: Count,
        wake_ups: Count,
        senders: Vec<Option<Sender<usize>>>,
    }

    impl Scene {
        /// Of so many who wait and have been polled once.
        fn new(count: usize) -> Self {
            let mut scene = Self {
                members: Members::default(),
                polls: Count::default(),
                wake_ups: Count::default(),
                senders: Vec::new(),
            };
            scene.fill(count);
            scene
        }

        fn fill(&mut self, count: usize) {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
            let polls = &self.polls;
            let waits = receivers.into_iter().map(|receiver| {
                let polls = polls.clone();
                Some(Waits { polls, receiver })
            });
            self.members.fill(waits.collect());
            self.senders = senders.into_iter().map(Some).collect();
            self.polls.take();
            assert!(self.poll().is_empty());
            assert_eq!(self.polls.take(), count);
        }

        fn send(&mut self, number: usize) {
            self.senders[number].take().unwrap().send(number).unwrap();
        }

        fn poll(&mut self) -> Vec<usize> {
            let mut all = Vec::new();
            let waker = Waker::from(Arc::new(self.wake_ups.clone()));
            let polled = self
                .members
                .poll(&Context::from_waker(&waker), |ended| all.push(ended));
            assert_eq!(polled.is_ready(), self.members.iter_mut().count() == 0);
            all
        }
    }

    #[test]
    fn those_that_were_woken_are_polled_and_nobody_else() {
        let mut scene = Scene::new(WokenSet::MOST);
        for number in [63, 5, 0] {
            scene.send(number);
        }
        assert_eq!(scene.wake_ups.take(), 1, "for all three");
        assert_eq!(scene.poll(), [0, 5, 63]);
        assert_eq!(scene.polls.take(), 3);
        assert!(scene.poll().is_empty());
        assert_eq!(scene.polls.take(), 0);
        scene.send(1);
        assert_eq!(scene.wake_ups.take(), 1);
        assert_eq!(scene.poll(), [1]);
    }

    #[test]
    fn those_who_are_left_by_many_move_together_and_are_still_woken() {
        let mut scene = Scene::new(WokenSet::MOST);
        (0..48).for_each(|number| scene.send(number));
        assert_eq!(scene.poll().len(), 48);
        assert_eq!(
            scene.polls.take(),
            48 + 16,
            "each that has moved, once more"
        );
        assert_eq!(scene.members.places.capacity(), 16);
        assert_eq!(scene.members.wakers.capacity(), 16);
        scene.wake_ups.take();
        for number in 48..WokenSet::MOST {
            scene.send(number);
            assert_eq!(scene.wake_ups.take(), 1);
            assert_eq!(scene.poll(), [number]);
        }
    }

    #[test]
    fn a_wake_up_for_a_former_one_is_for_nobody() {
        let mut scene = Scene::new(2);
        let former = scene.members.wakers.clone();
        (0..2).for_each(|number| scene.send(number));
        assert_eq!(scene.poll(), [0, 1]);
        former.iter().for_each(Waker::wake_by_ref);
        assert_eq!(scene.members.take_room().capacity(), 2);
        scene.fill(1);
        scene.wake_ups.take();
        scene.polls.take();
        // One that has a new member has that polled for nothing, the other nobody.
        former.iter().for_each(Waker::wake_by_ref);
        assert!(scene.poll().is_empty());
        assert_eq!((scene.wake_ups.take(), scene.polls.take()), (1, 1));
        scene.send(0);
        assert_eq!(scene.wake_ups.take(), 1);
        assert_eq!(scene.poll(), [0]);
    }
}
