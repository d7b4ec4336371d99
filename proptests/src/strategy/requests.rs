//! Requests by chance.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::request::{Ask, Blocks, Request};

/// Ids: few.
pub fn ids() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..6u32, 1 => any::<u32>()]
}

pub(super) fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..20usize,
        2 => 250..260usize,
        2 => 500..2000usize,
        1 => Just(4096),
        1 => 60_000..70_000usize,
    ]
}

pub(super) fn times() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 4 => 1..400u32, 1 => 400..4000u32]
}

pub(super) type AskStrategy = BoxedStrategy<Ask>;

/// Every kind of request; a swarm picks some.
pub(super) fn asks() -> Vec<AskStrategy> {
    let scripted =
        || (20..=27u8, 0..40usize).prop_map(|(code, bytes)| Ask::Scripted { code, bytes });
    let negotiate = (0..4u8, 0..8u32, select(vec![0, 4, 5, 5, 5, 5, 9])).prop_map(
        |(version, features, bytes)| Ask::Negotiate {
            version,
            features,
            bytes,
        },
    );
    let unknown = (select(vec![0, 99, 249, 253, 254, 255]), sizes())
        .prop_map(|(code, bytes)| Ask::Unknown { code, bytes });
    vec![
        scripted().boxed(),
        scripted().boxed(),
        scripted().boxed(),
        sizes().prop_map(Ask::Echo).boxed(),
        (times(), sizes())
            .prop_map(|(ms, rest)| Ask::Sleep { ms, rest })
            .boxed(),
        any::<u8>().prop_map(Ask::Fail).boxed(),
        sizes().prop_map(|n| Ask::Produce(n as u32)).boxed(),
        (60_000..400_000u32).prop_map(Ask::Produce).boxed(),
        Just(Ask::Panic).boxed(),
        sizes().prop_map(Ask::Nothing).boxed(),
        sizes().prop_map(Ask::Reject).boxed(),
        Just(Ask::Break).boxed(),
        sizes().prop_map(|n| Ask::Tear(n as u32)).boxed(),
        sizes().prop_map(Ask::Digest).boxed(),
        sizes().prop_map(Ask::First).boxed(),
        times().prop_map(Ask::Tidy).boxed(),
        Just(Ask::Tasks).boxed(),
        times().prop_map(Ask::Limited).boxed(),
        unknown.boxed(),
        sizes().prop_map(Ask::KeepAlive).boxed(),
        (0..3usize).prop_map(Ask::Cancel).boxed(),
        (0..3usize).prop_map(Ask::Cancel).boxed(),
        negotiate.boxed(),
        (1..16u8, vec(any::<u8>(), 0..6))
            .prop_map(|(code, mut message)| {
                // Four bytes would ask for gigabytes of a body.
                let most = if [4, 9].contains(&code) { 3 } else { 6 };
                message.truncate(most);
                let message = message.into();
                Ask::Raw { code, message }
            })
            .boxed(),
    ]
}

/// Requests, of any kind and cut into any blocks.
pub fn requests() -> impl Strategy<Value = Request> {
    requests_of(&asks())
}

pub(super) fn requests_of(asks: &[AskStrategy]) -> BoxedStrategy<Request> {
    let blocks = prop_oneof![
        3 => Just(Blocks::Full),
        1 => vec(1..=255u8, 1..4).prop_map(Blocks::Sizes),
    ];
    let ask = select(asks.to_vec()).prop_flat_map(|ask| ask);
    (ids(), ask, blocks)
        .prop_map(|(id, ask, blocks)| Request { id, ask, blocks })
        .boxed()
}
