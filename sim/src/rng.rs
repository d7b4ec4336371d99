//! Random numbers: one stream for each thing that needs any.
//!
//! A stream is keyed by the seed and the *stable id* of its user (`link` 3,
//! `client-2`, …), never by the order in which it is asked for: removing one
//! event from a scenario leaves the draws of all others as they were, without
//! which shrinking would chase a failure that moves.
//!
//! The generator is xoshiro256++ of `rand_xoshiro`, whose output is part of its
//! contract; the hash that keys it is FNV-1a with `SplitMix64` behind it, written
//! out here so that a seed from another machine, build or year means the same.

use std::time::Duration;

use rand_core::{Rng as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A seed, from which everything random of a world comes.
///
/// ```
/// use asyncserver_sim::Seed;
/// let world = Seed(7);
/// let first = world.child("client", 0).stream().next_u64();
/// assert_eq!(first, world.child("client", 0).stream().next_u64());
/// assert_ne!(first, world.child("client", 1).stream().next_u64());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a part of this one's world, by the part's kind and number.
    #[must_use]
    pub fn child(self, kind: &str, number: u64) -> Self {
        let mut hash = Fnv::new();
        hash.write(&self.0.to_le_bytes());
        hash.write(kind.as_bytes());
        // No name can run into the number behind it.
        hash.write(&[0xff]);
        hash.write(&number.to_le_bytes());
        Self(mix(hash.value()))
    }

    /// The random numbers of this seed.
    #[must_use]
    pub fn stream(self) -> Rng {
        Rng(Xoshiro256PlusPlus::seed_from_u64(self.0))
    }
}

/// A stream of random numbers.
///
/// ```
/// let mut rng = asyncserver_sim::Seed(1).stream();
/// assert!(rng.below(10) < 10);
/// assert!(!rng.chance(0));
/// ```
#[derive(Clone, Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which counts as 1 where it is 0. Uneven by less
    /// than `end / 2^64`, so that each draw takes exactly one number.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end.max(1));
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// A size from 1 to `most`, small ones often: as likely a 1 as a number above half.
    pub fn size(&mut self, most: u64) -> u64 {
        let bits = 64 - most.max(1).leading_zeros();
        let bits = self.between(1, u64::from(bits));
        let longest = 1_u64.checked_shl(u32::try_from(bits).unwrap_or(63));
        self.between(1, longest.map_or(u64::MAX, |end| end - 1).min(most.max(1)))
    }

    /// Whether something happens that does so in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u16) -> bool {
        self.below(1000) < u64::from(permille)
    }

    /// A duration of whole milliseconds, at most `longest_ms`.
    pub fn up_to_ms(&mut self, longest_ms: u32) -> Duration {
        Duration::from_millis(self.below(u64::from(longest_ms) + 1))
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).unwrap_or(0)]
    }
}

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// The output step of `SplitMix64`: FNV alone leaves near inputs near.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_on_every_machine() {
        assert_eq!(Seed(0).child("link", 0), Seed(PINNED_CHILD));
        let mut rng = Seed(42).child("link", 3).stream();
        let draws = [rng.next_u64(), rng.below(1000), rng.size(64)];
        assert_eq!(draws, PINNED_DRAWS);
    }

    const PINNED_CHILD: u64 = 7_959_721_866_943_593_910;
    const PINNED_DRAWS: [u64; 3] = [11_743_657_500_600_978_760, 345, 2];

    #[test]
    fn asking_for_one_stream_does_not_change_another() {
        let alone: Vec<_> = draws(Seed(9).child("b", 0).stream());
        let mut other = Seed(9).child("a", 0).stream();
        other.next_u64();
        assert_eq!(alone, draws(Seed(9).child("b", 0).stream()));
        assert_ne!(alone, draws(Seed(9).child("b", 1).stream()));
    }

    fn draws(mut rng: Rng) -> Vec<u64> {
        (0..8).map(|_| rng.next_u64()).collect()
    }

    #[test]
    fn sizes_are_within_their_bounds_and_often_small() {
        let mut rng = Seed(5).stream();
        let sizes: Vec<_> = (0..1000).map(|_| rng.size(1024)).collect();
        assert!(sizes.iter().all(|size| (1..=1024).contains(size)));
        assert!(sizes.iter().filter(|size| **size < 8).count() > 200);
        assert!(sizes.iter().any(|size| *size > 512));
    }
}
