//! What each transport does, by expectation, and why where that differs.

use Transport::{Adapted, Duplex, Simulated, Turmoil, Wrapped};

use crate::transports::{Ends, Observing, Transport};
use crate::{closing, reading, resetting, writing};

pub(crate) struct Expectation {
    pub(crate) name: &'static str,
    pub(crate) sizes: Sizes,
    pub(crate) observe: fn(Ends) -> Observing,
    /// What real TCP does, and with it all that are not among the differences.
    pub(crate) tcp: &'static str,
    pub(crate) differences: &'static [Difference],
}

/// Whether random sizes of reads and writes show in what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    Matter,
    DoNotMatter,
}

/// A difference that must stay.
pub(crate) struct Difference {
    pub(crate) of: &'static [Transport],
    pub(crate) seen: &'static str,
    pub(crate) why: &'static str,
}

impl Expectation {
    /// What is expected of `transport`.
    pub(crate) fn of(&self, transport: Transport) -> &'static str {
        let listed_as = match transport {
            Transport::Delayed(_) => Simulated,
            other => other,
        };
        let own = |difference: &&Difference| difference.of.contains(&listed_as);
        let difference = self.differences.iter().find(own);
        difference.map_or(self.tcp, |difference| difference.seen)
    }
}

pub(crate) const TABLE: &[Expectation] = &[
    Expectation {
        name: "small_write",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(writing::small_write(ends)),
        tcp: "took 3",
        differences: &[],
    },
    Expectation {
        name: "empty_write",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::empty_write(ends)),
        tcp: "took 0",
        differences: &[],
    },
    Expectation {
        name: "empty_write_when_full",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::empty_write_when_full(ends)),
        tcp: "waits",
        differences: &[Difference {
            of: &[Duplex, Turmoil],
            seen: "took 0",
            why: "neither looks for room when there is nothing to write",
        }],
    },
    Expectation {
        name: "empty_write_after_shutdown",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::empty_write_after_shutdown(ends)),
        tcp: "BrokenPipe",
        differences: &[],
    },
    Expectation {
        name: "vectored_write",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(writing::vectored_write(ends)),
        tcp: "took 4",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "took 2",
            why: "turmoil has no vectored writes: the first slice alone",
        }],
    },
    Expectation {
        name: "write_larger_than_the_room",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::write_larger_than_the_room(ends)),
        tcp: "took a part",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "took all",
            why: "turmoil counts segments, not bytes",
        }],
    },
    Expectation {
        name: "writer_waits_while_nobody_reads",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::writer_waits_while_nobody_reads(ends)),
        tcp: "waits",
        differences: &[],
    },
    Expectation {
        name: "waiting_writer_goes_on",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::waiting_writer_goes_on(ends)),
        tcp: "waits; all arrives; goes on",
        differences: &[],
    },
    Expectation {
        name: "flush_at_every_stage",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::flush_at_every_stage(ends)),
        tcp: "done; done; done",
        differences: &[],
    },
    Expectation {
        name: "flush_after_the_peer_closed",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::flush_after_the_peer_closed(ends)),
        tcp: "done",
        differences: &[],
    },
    Expectation {
        name: "large_transfers_with_tiny_buffers",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(writing::large_transfers_with_tiny_buffers(ends)),
        tcp: "whole; whole",
        differences: &[],
    },
    Expectation {
        name: "read_brings_what_was_written",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(reading::read_brings_what_was_written(ends)),
        tcp: "\"abc\"",
        differences: &[],
    },
    Expectation {
        name: "writes_come_in_one_read",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(reading::writes_come_in_one_read(ends)),
        tcp: "\"abcd\"",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "\"ab\"",
            why: "turmoil reads segment by segment",
        }],
    },
    Expectation {
        name: "small_room_leaves_the_rest",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(reading::small_room_leaves_the_rest(ends)),
        tcp: "\"ab\"; \"cdef\"",
        differences: &[],
    },
    Expectation {
        name: "no_room_with_bytes",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(reading::no_room_with_bytes(ends)),
        tcp: "\"\"; \"ab\"",
        differences: &[],
    },
    Expectation {
        name: "no_room_without_bytes",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::no_room_without_bytes(ends)),
        tcp: "waits",
        differences: &[Difference {
            of: &[Duplex, Turmoil],
            seen: "\"\"",
            why: "neither looks for bytes when there is nowhere to put them",
        }],
    },
    Expectation {
        name: "read_waits_for_bytes",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::read_waits_for_bytes(ends)),
        tcp: "waits",
        differences: &[],
    },
    Expectation {
        name: "bytes_wake_the_reader",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::bytes_wake_the_reader(ends)),
        tcp: "waits; woken; \"x\"",
        differences: &[],
    },
    Expectation {
        name: "the_end_wakes_the_reader",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::the_end_wakes_the_reader(ends)),
        tcp: "waits; woken; end",
        differences: &[],
    },
    Expectation {
        name: "the_last_waker_counts",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::the_last_waker_counts(ends)),
        tcp: "new woken",
        differences: &[],
    },
    Expectation {
        name: "room_wakes_the_writer",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::room_wakes_the_writer(ends)),
        tcp: "waits; all arrives; woken; took 1",
        differences: &[],
    },
    Expectation {
        name: "reader_and_writer_wait_on_their_own",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(reading::reader_and_writer_wait_on_their_own(ends)),
        tcp: "waits, waits; \"y\", waits; woken, woken",
        differences: &[],
    },
    Expectation {
        name: "half_close_leaves_the_other_direction",
        sizes: Sizes::Matter,
        observe: |ends| Box::pin(closing::half_close_leaves_the_other_direction(ends)),
        tcp: "\"ask\", end; \"answer\"",
        differences: &[],
    },
    Expectation {
        name: "half_close_both_ways",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::half_close_both_ways(ends)),
        tcp: "done, done; \"ab\", end; \"cd\", end",
        differences: &[],
    },
    Expectation {
        name: "bytes_before_a_close_arrive",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::bytes_before_a_close_arrive(ends)),
        tcp: "\"last\", end",
        differences: &[],
    },
    Expectation {
        name: "the_end_comes_again",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::the_end_comes_again(ends)),
        tcp: "end; end",
        differences: &[],
    },
    Expectation {
        name: "shutdown_twice",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::shutdown_twice(ends)),
        tcp: "done; done",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "done; NotConnected",
            why: "a second shutdown is an error there: see turmoil_traps.rs",
        }],
    },
    Expectation {
        name: "write_after_shutdown",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::write_after_shutdown(ends)),
        tcp: "BrokenPipe",
        differences: &[],
    },
    Expectation {
        name: "shutdown_when_full",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::shutdown_when_full(ends)),
        tcp: "done; all arrives; end",
        differences: &[],
    },
    Expectation {
        name: "close_when_full",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::close_when_full(ends)),
        tcp: "all arrives; end",
        differences: &[],
    },
    Expectation {
        name: "first_write_after_the_peer_closed",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::first_write_after_the_peer_closed(ends)),
        tcp: "took 1",
        differences: &[Difference {
            of: &[Duplex],
            seen: "BrokenPipe",
            why: "duplex has no acknowledgements and no resets: closing ends it at once",
        }],
    },
    Expectation {
        name: "later_writes_after_the_peer_closed",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::later_writes_after_the_peer_closed(ends)),
        tcp: "BrokenPipe; end",
        differences: &[Difference {
            of: &[Wrapped, Adapted],
            seen: "took 1; end",
            why: "the wrapper acknowledges, and closes what it wraps as any user would: in order",
        }],
    },
    Expectation {
        name: "write_after_the_peers_half_close",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::write_after_the_peers_half_close(ends)),
        tcp: "end; took 1; \"x\"",
        differences: &[],
    },
    Expectation {
        name: "shutdown_after_the_peer_closed",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::shutdown_after_the_peer_closed(ends)),
        tcp: "done",
        differences: &[],
    },
    Expectation {
        name: "close_while_the_peer_waits_to_write",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(closing::close_while_the_peer_waits_to_write(ends)),
        tcp: "BrokenPipe; Ok(0)",
        differences: &[Difference {
            of: &[Turmoil, Adapted],
            seen: "waits; Ok(0)",
            why: "a writer that waits hears of no reset there: see turmoil_traps.rs",
        }],
    },
    Expectation {
        name: "reset_wakes_the_reader",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::reset_wakes_the_reader(ends)),
        tcp: "waits; woken; ConnectionReset",
        differences: &[Difference {
            of: &[Duplex, Wrapped, Adapted],
            seen: "waits; woken; end",
            why: "a duplex knows no reset, and a wrapper cannot cause one: it becomes the end",
        }],
    },
    Expectation {
        name: "reset_wakes_the_writer",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::reset_wakes_the_writer(ends)),
        tcp: "waits; woken; ConnectionReset",
        differences: &[
            Difference {
                of: &[Duplex],
                seen: "waits; woken; BrokenPipe",
                why: "duplex has no acknowledgements and no resets: closing ends it at once",
            },
            Difference {
                of: &[Turmoil],
                seen: "waits; asleep; waits",
                why: "a writer that waits hears of no reset there: see turmoil_traps.rs",
            },
        ],
    },
    Expectation {
        name: "reset_wakes_both_halves",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::reset_wakes_both_halves(ends)),
        tcp: "woken, woken",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "woken, asleep",
            why: "a writer that waits hears of no reset there: see turmoil_traps.rs",
        }],
    },
    Expectation {
        name: "bytes_before_a_reset",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::bytes_before_a_reset(ends)),
        tcp: "\"bye\", ConnectionReset",
        differences: &[Difference {
            of: &[Duplex, Wrapped, Adapted],
            seen: "\"bye\", end",
            why: "a duplex knows no reset, and a wrapper cannot cause one: it becomes the end",
        }],
    },
    Expectation {
        name: "read_again_after_a_reset",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::read_again_after_a_reset(ends)),
        tcp: "ConnectionReset; end",
        differences: &[
            Difference {
                of: &[Duplex, Wrapped, Adapted],
                seen: "end; end",
                why: "a duplex knows no reset, and a wrapper cannot cause one: it becomes the end",
            },
            Difference {
                of: &[Turmoil],
                seen: "ConnectionReset; ConnectionReset",
                why: "turmoil knows resets, and tells each half of them in its own words",
            },
        ],
    },
    Expectation {
        name: "write_after_a_reset_that_a_read_told",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::write_after_a_reset_that_a_read_told(ends)),
        tcp: "ConnectionReset; BrokenPipe",
        differences: &[
            Difference {
                of: &[Duplex],
                seen: "end; BrokenPipe",
                why: "duplex has no acknowledgements and no resets: closing ends it at once",
            },
            Difference {
                of: &[Wrapped, Adapted],
                seen: "end; took 1",
                why: "the wrapper acknowledges, and closes what it wraps as any user would: in order",
            },
        ],
    },
    Expectation {
        name: "read_after_a_reset_that_a_write_told",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::read_after_a_reset_that_a_write_told(ends)),
        tcp: "ConnectionReset; end",
        differences: &[
            Difference {
                of: &[Duplex],
                seen: "BrokenPipe; end",
                why: "duplex has no acknowledgements and no resets: closing ends it at once",
            },
            Difference {
                of: &[Wrapped, Adapted],
                seen: "took 1; end",
                why: "the wrapper acknowledges, and closes what it wraps as any user would: in order",
            },
            Difference {
                of: &[Turmoil],
                seen: "BrokenPipe; ConnectionReset",
                why: "turmoil knows resets, and tells each half of them in its own words",
            },
        ],
    },
    Expectation {
        name: "shutdown_after_a_reset",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::shutdown_after_a_reset(ends)),
        tcp: "done",
        differences: &[Difference {
            of: &[Turmoil],
            seen: "BrokenPipe",
            why: "turmoil knows resets, and tells each half of them in its own words",
        }],
    },
    Expectation {
        name: "flush_after_a_reset",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::flush_after_a_reset(ends)),
        tcp: "done",
        differences: &[],
    },
    Expectation {
        name: "reset_behind_a_half_close",
        sizes: Sizes::DoNotMatter,
        observe: |ends| Box::pin(resetting::reset_behind_a_half_close(ends)),
        tcp: "end; BrokenPipe",
        differences: &[Difference {
            of: &[Wrapped, Adapted],
            seen: "end; took 1",
            why: "the wrapper acknowledges, and closes what it wraps as any user would: in order",
        }],
    },
];
