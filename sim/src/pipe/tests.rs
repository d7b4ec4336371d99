use super::*;
use crate::faults::{Fault, FaultAtByte};
use crate::rng::Seed;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pipe(faults: LinkFaults) -> Pipe {
    Pipe::new(faults, Seed(1).stream())
}

fn read(pipe: &mut Pipe, now: Duration) -> (Read, Vec<u8>) {
    let mut bytes = Vec::new();
    let read = pipe.read(now, 1 << 20, |piece| bytes.extend_from_slice(piece));
    (read, bytes)
}

#[test]
fn bytes_arrive_after_the_latency_and_not_before() {
    let mut pipe = pipe(LinkFaults {
        latency_ms: 10,
        ..LinkFaults::default()
    });
    pipe.write(ms(1), b"abc");
    assert_eq!(read(&mut pipe, ms(10)).0, Read::Nothing(Some(ms(11))));
    assert_eq!(read(&mut pipe, ms(11)).1, b"abc");
    assert_eq!(read(&mut pipe, ms(11)).0, Read::Nothing(None));
}

#[test]
fn bytes_never_overtake_each_other_whatever_the_jitter() {
    let mut pipe = pipe(LinkFaults {
        latency_ms: 1,
        jitter_ms: 50,
        ..LinkFaults::default()
    });
    for byte in 0..100_u8 {
        pipe.write(ms(u64::from(byte)), &[byte]);
    }
    let mut seen = Vec::new();
    for now in 0..300 {
        seen.extend(read(&mut pipe, ms(now)).1);
    }
    assert_eq!(seen, (0..100).collect::<Vec<u8>>());
}

#[test]
fn a_full_buffer_takes_nothing_until_the_reader_has_read() {
    let mut pipe = pipe(LinkFaults {
        buffer_bytes: 4,
        ..LinkFaults::default()
    });
    let four = Written::Taken {
        bytes: 4,
        reset: None,
    };
    assert_eq!(pipe.write(ms(0), b"abcdef"), four);
    assert_eq!(pipe.write(ms(0), b"ef"), Written::Full);
    assert_eq!(read(&mut pipe, ms(0)).1, b"abcd");
    assert!(matches!(
        pipe.write(ms(0), b"ef"),
        Written::Taken { bytes: 2, .. }
    ));
}

#[test]
fn bandwidth_spreads_bytes_over_time() {
    let mut pipe = pipe(LinkFaults {
        bytes_per_second: Some(1000),
        ..LinkFaults::default()
    });
    pipe.write(ms(0), &[0; 100]);
    pipe.write(ms(0), &[0; 100]);
    assert_eq!(read(&mut pipe, ms(99)).0, Read::Nothing(Some(ms(100))));
    assert_eq!(read(&mut pipe, ms(100)).0, Read::Bytes(100));
    assert_eq!(read(&mut pipe, ms(100)).0, Read::Nothing(Some(ms(200))));
}

#[test]
fn a_fault_at_a_byte_strikes_exactly_there() {
    for byte in 0..6 {
        let fault = Fault::Corrupt { xor: 0xff };
        let mut pipe = pipe(LinkFaults {
            at_bytes: vec![FaultAtByte { byte, fault }],
            ..LinkFaults::default()
        });
        let mut rest: &[u8] = b"abcdef";
        while !rest.is_empty() {
            let Written::Taken { bytes, .. } = pipe.write(ms(0), rest) else {
                panic!("there is room")
            };
            rest = &rest[bytes..];
        }
        let mut expected = b"abcdef".to_vec();
        expected[usize::try_from(byte).unwrap()] ^= 0xff;
        assert_eq!(read(&mut pipe, ms(0)).1, expected);
    }
}

#[test]
fn truncation_ends_the_stream_for_the_reader_alone() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.write(ms(0), b"ab");
    pipe.strike(Fault::Truncate, ms(0));
    assert!(matches!(
        pipe.write(ms(0), b"cd"),
        Written::Taken { bytes: 2, .. }
    ));
    assert_eq!(read(&mut pipe, ms(0)).1, b"ab");
    assert_eq!(read(&mut pipe, ms(0)).0, Read::EndOfStream);
}

#[test]
fn silent_death_swallows_until_the_buffer_is_full() {
    let mut pipe = pipe(LinkFaults {
        buffer_bytes: 4,
        ..LinkFaults::default()
    });
    pipe.strike(Fault::SilentDeath, ms(0));
    assert!(matches!(
        pipe.write(ms(0), b"abcdef"),
        Written::Taken { bytes: 4, .. }
    ));
    assert_eq!(pipe.write(ms(0), b"ef"), Written::Full);
    assert_eq!(read(&mut pipe, ms(99)).0, Read::Nothing(None));
}

#[test]
fn a_cut_holds_everything_back_and_loses_nothing() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.set_hold(Hold::Held, ms(0));
    pipe.write(ms(0), b"ab");
    pipe.finish(ms(0));
    assert_eq!(read(&mut pipe, ms(9)).0, Read::Nothing(None));
    pipe.set_hold(Hold::Released, ms(2));
    assert_eq!(read(&mut pipe, ms(9)).1, b"ab");
    assert_eq!(read(&mut pipe, ms(9)).0, Read::EndOfStream);
}

#[test]
fn the_end_takes_the_latency_too_and_does_not_come_before_the_bytes() {
    let mut pipe = pipe(LinkFaults {
        latency_ms: 10,
        ..LinkFaults::default()
    });
    pipe.finish(ms(1));
    assert!(!pipe.had_ended(ms(10)));
    assert_eq!(read(&mut pipe, ms(10)).0, Read::Nothing(Some(ms(11))));
    assert_eq!(read(&mut pipe, ms(11)).0, Read::EndOfStream);
    assert!(pipe.had_ended(ms(11)));
}

#[test]
fn corruption_meets_one_write_alone() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.strike(Fault::Corrupt { xor: 0x20 }, ms(0));
    pipe.write(ms(0), b"ab");
    pipe.write(ms(0), b"cd");
    assert_eq!(read(&mut pipe, ms(0)).1, b"Abcd");
}

#[test]
fn an_end_that_a_cut_or_a_stall_keeps_back_has_not_come() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.finish(ms(0));
    pipe.set_hold(Hold::Held, ms(0));
    assert!(!pipe.had_ended(ms(1)));
    pipe.set_hold(Hold::Released, ms(2));
    pipe.strike(Fault::Stall { ms: 5 }, ms(0));
    assert!(!pipe.had_ended(ms(4)) && pipe.had_ended(ms(5)));
}

#[test]
fn what_was_ended_stays_so_when_the_network_dies() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.strike(Fault::HalfClose, ms(0));
    pipe.strike(Fault::SilentDeath, ms(1));
    assert_eq!(pipe.write(ms(2), b"a"), Written::Closed);
}

#[test]
fn a_reset_loses_what_has_not_arrived_and_no_more() {
    let mut pipe = pipe(LinkFaults {
        latency_ms: 10,
        ..LinkFaults::default()
    });
    pipe.write(ms(0), b"ab");
    pipe.write(ms(5), b"cd");
    pipe.cut_off(ms(12));
    let mut rest = Vec::new();
    assert_eq!(pipe.read_rest(8, |piece| rest.extend_from_slice(piece)), 2);
    assert_eq!((rest.as_slice(), pipe.buffered_bytes()), (&b"ab"[..], 0));
}

#[test]
fn what_is_held_back_has_not_arrived_before_it_is_released() {
    let mut pipe = pipe(LinkFaults::default());
    pipe.set_hold(Hold::Held, ms(0));
    pipe.write(ms(1), b"ab");
    pipe.finish(ms(1));
    assert!(!pipe.had_ended(ms(2)));
    pipe.set_hold(Hold::Released, ms(9));
    assert!(!pipe.had_ended(ms(8)), "not at any time before");
    assert!(pipe.had_ended(ms(9)));
    assert_eq!(read(&mut pipe, ms(9)).1, b"ab");
}
