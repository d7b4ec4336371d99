//! Patterns: operations that show something only together, which chance alone
//! hardly ever puts behind one another. A seed picks some kinds of them, as it
//! does of everything else, and draws what is free in them: pauses, ends, sizes.
//!
//! A new one is a variant of [`Pattern`], its steps, and the settings that it needs.

mod steps;

use oracle::{Config, Limits, Op, Timeouts};

use self::steps::Steps;
use super::Profile;
use super::requests::Wire;
use crate::Rng;

pub(super) use self::steps::negotiate;

/// Operations that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// A task is cancelled; in its grace or behind it, its id is used again or it ends (T10, T11, T13).
    Cancelled,
    /// A task is cancelled while its message comes (T3, T5, T10).
    CancelledInReceiving,
    /// A body stalls, and something else is to be written meanwhile (N8, T7, E5, L15).
    StalledBody,
    /// The bytes of a message earn time, which runs out (L2).
    Credit,
    /// A connection error while tasks run that cooperate (T10, D8).
    ErrorBeside,
    /// A disconnect inside a header or a message (D1, E4).
    DisconnectInside,
    /// A disconnect, and what comes behind it while a task runs (D2, D4, D5, D8).
    Draining,
    /// The client does not read while results come, and then it does (L3, L7).
    Unread,
    /// Several requests in one write, one of which cancels another (L13, T10).
    OneBatch,
    /// Tasks that keep places which connections share (L6, L16, N9).
    Shared,
}

use Pattern::*;

impl Pattern {
    #[cfg(test)]
    const ALL: [Self; 10] = [
        Cancelled,
        CancelledInReceiving,
        StalledBody,
        Credit,
        ErrorBeside,
        DisconnectInside,
        Draining,
        Unread,
        OneBatch,
        Shared,
    ];

    /// All, and those twice in which much has to meet.
    const OF_ALL: [Self; 13] = [
        Cancelled,
        Cancelled,
        CancelledInReceiving,
        StalledBody,
        StalledBody,
        Credit,
        Credit,
        ErrorBeside,
        DisconnectInside,
        Draining,
        Unread,
        OneBatch,
        Shared,
    ];

    /// Those from which a profile picks.
    const fn of(profile: Profile) -> &'static [Self] {
        match profile {
            Profile::Default | Profile::Calm | Profile::Storm => &Self::OF_ALL,
            Profile::Drain => &[
                DisconnectInside,
                Draining,
                Draining,
                StalledBody,
                ErrorBeside,
            ],
            Profile::Cancel => &[
                Cancelled,
                Cancelled,
                CancelledInReceiving,
                OneBatch,
                ErrorBeside,
            ],
            Profile::TinyLimits => &[
                Credit,
                Unread,
                StalledBody,
                CancelledInReceiving,
                Cancelled,
                Shared,
            ],
        }
    }

    /// What the patterns of a seed are.
    pub(super) fn pick(profile: Profile, rng: &mut Rng) -> Vec<Self> {
        let count = *rng.pick(&[0, 1, 2, 2, 3, 4]);
        let one = |_| *rng.pick(Self::of(profile));
        (0..count).map(one).collect()
    }

    /// Makes room for what it shows.
    pub(super) fn set(self, config: &mut Config, rng: &mut Rng) {
        let (limits, timeouts) = (&mut config.limits, &mut config.timeouts);
        match self {
            Cancelled | ErrorBeside | OneBatch | Draining => {
                limits.in_flight = limits.in_flight.max(3);
                limits.tasks = limits.tasks.max(3);
            }
            CancelledInReceiving | DisconnectInside => {
                limits.message_bytes = limits.message_bytes.max(300);
                limits.tasks = limits.tasks.max(2);
            }
            StalledBody => {
                timeouts.processing_ms = rng.between(50, 300);
                if rng.chance(300) {
                    timeouts.body_ms = rng.between(50, 800);
                }
                limits.in_flight = limits.in_flight.max(3);
                limits.tasks = limits.tasks.max(3);
            }
            Shared => match rng.below(3) {
                0 => limits.tasks = rng.between(2, 4) as usize,
                1 => limits.server_held_bytes = rng.between(20, 60) as usize,
                _ => {}
            },
            Credit => {
                timeouts.read_ms = rng.between(50, 400);
                limits.message_bytes = Limits::default().message_bytes;
                limits.held_bytes = Limits::default().held_bytes;
            }
            Unread => {
                limits.unsent_bytes = *rng.pick(&[1, 100, 5000]);
                if rng.chance(500) {
                    timeouts.write_ms = Timeouts::default().write_ms;
                }
            }
        }
    }

    /// What happens, each with the pause before it. `id` gives ids that nothing else has.
    pub(super) fn steps(
        self,
        config: &Config,
        wire: &Wire,
        rng: &mut Rng,
        id: u32,
    ) -> Vec<(u64, Op)> {
        let mut steps = Steps(Vec::new());
        match self {
            Cancelled => steps.cancelled(wire, rng, id),
            CancelledInReceiving => steps.cancelled_in_receiving(rng, id),
            StalledBody => steps.stalled_body(config, wire, rng, id),
            Credit => steps.credit(config, wire, rng, id),
            ErrorBeside => steps.error_beside(wire, rng, id),
            DisconnectInside => steps.disconnect_inside(wire, rng, id),
            Draining => steps.draining(wire, rng, id),
            Unread => steps.unread(wire, rng, id),
            OneBatch => steps.one_batch(rng, id),
            Shared => steps.shared(wire, rng, id),
        }
        steps.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn every_pattern_is_in_plans_of_the_default_profile() {
        for pattern in Pattern::ALL {
            let has_it = |seed: &u64| {
                let rng = &mut Seed(*seed).child("patterns", 0).stream();
                Pattern::pick(Profile::Default, rng).contains(&pattern)
            };
            let seeds = (0..300).filter(has_it).count();
            assert!(seeds >= 30, "{pattern:?} is in {seeds} of 300");
        }
    }

    #[test]
    fn the_steps_of_a_pattern_are_those_of_its_own_stream() {
        let (config, wire) = (Config::default(), Wire::of(usize::MAX));
        for pattern in Pattern::ALL {
            let steps = |seed| pattern.steps(&config, &wire, &mut Seed(seed).stream(), 100);
            assert_eq!(steps(1), steps(1));
            let all: Vec<_> = (0..50).map(steps).collect();
            assert!(all.iter().any(|other| *other != all[0]), "{pattern:?}");
        }
    }
}
