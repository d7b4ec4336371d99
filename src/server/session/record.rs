//! What the server keeps for a task, and what its run function is told through it.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use crate::proto::TaskKey;
use crate::server::registration::Registered;
use crate::server::registry::Table;
use crate::server::response::{Payload, Response};
use crate::server::run::{BoxRunFuture, drop_quietly};
use crate::server::task::{BlockingFunction, RunData};
use crate::wire::{ErrorCode, TaskCode};

/// What the server keeps for a task, which holds places of the server's limits for
/// as long as the ledger has it.
#[derive(Default)]
pub(crate) struct TaskRecord {
    /// Few tasks need any of these.
    pub(super) attachments: Option<Box<Attachments>>,
}

#[derive(Default)]
pub(super) struct Attachments {
    /// What its header found, where the connection's table no longer shows it.
    replaced: Option<Arc<Registered>>,
    pub(super) run_data: Option<RunData>,
    /// The task's tracing span, once somebody has asked for it; counted here,
    /// for a span's own clone is the subscriber's code.
    pub(super) span: Option<Arc<tracing::Span>>,
    pub(super) order: RunnerOrder,
    pub(super) is_told: bool,
    /// Those who wait to be told.
    pub(super) listeners: Slab<Waker>,
    /// A blocking function that waits for a thread: here a cancel can drop it.
    pub(super) waiting: Option<BlockingFunction>,
}

impl TaskRecord {
    /// What the header of this task, which has this code, has found.
    pub(crate) fn registered<'a>(
        &'a self,
        table: &'a Table,
        code: TaskCode,
    ) -> Option<&'a Arc<Registered>> {
        let replaced = self.attachments.as_ref();
        let replaced = replaced.and_then(|some| some.replaced.as_ref());
        replaced.or_else(|| registered_in(table, code))
    }

    /// Its connection has another table from now on. What its header has found is kept
    /// unless that shows it, too.
    pub(super) fn keep_registered(&mut self, before: &Table, now: &Table, code: TaskCode) {
        let Some(found) = self.registered(before, code) else {
            return;
        };
        if registered_in(now, code).is_none_or(|other| !Arc::ptr_eq(other, found)) {
            let replaced = Some(Arc::clone(found));
            self.attach().replaced = replaced;
        }
    }

    /// Whether nothing is dropped with it.
    pub(super) const fn is_bare(&self) -> bool {
        self.attachments.is_none()
    }

    /// What its run function's wrapper has to do.
    pub(super) fn order(&self) -> RunnerOrder {
        let attachments = self.attachments.as_ref();
        attachments.map(|some| some.order).unwrap_or_default()
    }

    pub(super) fn attach(&mut self) -> &mut Attachments {
        self.attachments.get_or_insert_default()
    }
}

fn registered_in(table: &Table, code: TaskCode) -> Option<&Arc<Registered>> {
    table.get(usize::from(code.0))?.as_ref()
}

/// What a run function's wrapper has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunnerOrder {
    /// Go on.
    #[default]
    GoOn,
    /// Drop the function.
    Drop,
    /// Its connection has ended: drop it then, by its own timer.
    DropAt(Instant),
}

/// How a run function ended.
#[derive(Default)]
pub(crate) enum Ended {
    Response(Response),
    /// A whole response that is short.
    Short(ShortBytes),
    /// An error with a code.
    Error(ErrorCode),
    /// An error without one, in its own words.
    Fatal(Box<str>),
    Panicked,
    #[default]
    Dropped,
}

impl Ended {
    /// What there is to be queued at once.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Response(Response(Payload::Whole(bytes))) => bytes.len(),
            Self::Short(bytes) => bytes.length.into(),
            _ => 0,
        }
    }

    #[inline]
    pub(super) fn whole_response(&self) -> Option<&[u8]> {
        match self {
            Self::Response(Response(Payload::Whole(bytes))) => Some(bytes),
            Self::Short(bytes) => Some(bytes.as_slice()),
            _ => None,
        }
    }

    /// Gives the memory of a short response back at once: the next request of the batch
    /// has the same, which the allocator has at hand, and the processor in its cache.
    #[inline]
    pub(crate) fn shorten(&mut self) {
        if let Self::Response(Response(Payload::Whole(bytes))) = &*self
            && let Some(short) = ShortBytes::new(bytes)
        {
            // Its owner may be the application's.
            drop_quietly(std::mem::replace(self, Self::Short(short)));
        }
    }
}

/// No more bytes than fit where a longer response has its [`Bytes`](bytes::Bytes).
// Copied word by word, as what it stands for.
#[repr(align(8))]
pub(crate) struct ShortBytes {
    length: u8,
    bytes: [u8; Self::MOST],
}

const _: () = assert!(size_of::<Ended>() == size_of::<Response>() + size_of::<usize>());

impl ShortBytes {
    const MOST: usize = 31;

    #[inline]
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            length: from.len() as u8,
            bytes,
        })
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The result of a run function.
#[derive(Default)]
pub(crate) struct Finished {
    pub(crate) key: TaskKey,
    pub(crate) ended: Ended,
    /// The box in which it ran, which can be used again.
    pub(crate) function: Option<BoxRunFuture>,
}

impl Finished {
    pub(crate) const fn new(key: TaskKey, ended: Ended) -> Self {
        Self {
            key,
            ended,
            function: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_short_response_is_shortened_to_the_same_bytes_and_a_longer_one_is_left() {
        for length in 1..=ShortBytes::MOST + 1 {
            let bytes: Vec<u8> = (0..length as u8).collect();
            let owner = Bytes::from(bytes.clone());
            let mut ended = Ended::Response(owner.clone().into());
            ended.shorten();
            assert_eq!(ended.whole_response(), Some(&*bytes));
            assert_eq!(ended.bytes(), length);
            assert_eq!(owner.is_unique(), length <= ShortBytes::MOST);
        }
    }
}
