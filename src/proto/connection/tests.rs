//! What takes four billion requests to reach.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::*;
use crate::proto::Limits;
use crate::wire::{ByteOrder, Response};

/// PROTOCOL E4: the count is modulo 2³².
#[test]
fn goodbye_counts_on_behind_four_billion_requests() {
    let now = Instant::now();
    for (accepted, told) in [
        ((1 << 32) - 1, u32::MAX),
        (1 << 32, 0),
        ((5 << 32) + 7, 7_u32),
    ] {
        let settings = Settings {
            order: ByteOrder::Big,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            on_half_close: OnHalfClose::default(),
            error_answers: ErrorAnswers::default(),
        };
        let mut connection = Connection::<()>::new(settings, now);
        connection.granted = Features::GOODBYE;
        connection.counts.accepted = accepted;
        connection.disconnect(Duration::from_secs(1), now);
        let (mut output, mut expected) = (BytesMut::new(), BytesMut::new());
        connection.poll_output(&mut output);
        Response::Goodbye { accepted: told }.encode(ByteOrder::Big, &mut expected);
        assert_eq!(output, expected);
    }
}
