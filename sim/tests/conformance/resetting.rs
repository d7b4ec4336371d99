//! Resets, by the one way that every transport has: closing with input unread.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use crate::transports::{Ends, Pace, Stream};
use crate::words::{Woken, poll_read, poll_write};

/// The near end, its peer gone with input unread.
async fn reset(mut ends: Ends) -> (Box<dyn Stream>, Pace) {
    ends.near.write_all(b"never read").await.unwrap();
    ends.pace.settle().await;
    drop(ends.far);
    ends.pace.settle().await;
    (ends.near, ends.pace)
}

pub(crate) async fn reset_wakes_the_reader(mut ends: Ends) -> String {
    ends.near.write_all(b"never read").await.unwrap();
    ends.pace.settle().await;
    let woken = Arc::new(Woken::default());
    let first = poll_read(&mut ends.near, &woken);
    drop(ends.far);
    ends.pace.settle().await;
    let word = woken.word();
    let then = ends.pace.read(&mut ends.near, 8).await;
    format!("{first}; {word}; {then}")
}

pub(crate) async fn reset_wakes_the_writer(mut ends: Ends) -> String {
    ends.pace.fill(&mut ends.near).await;
    let woken = Arc::new(Woken::default());
    let first = poll_write(&mut ends.near, &woken);
    drop(ends.far);
    ends.pace.settle().await;
    let word = woken.word();
    let then = ends.pace.write(&mut ends.near, b"x").await;
    format!("{first}; {word}; {then}")
}

pub(crate) async fn reset_wakes_both_halves(mut ends: Ends) -> String {
    ends.pace.fill(&mut ends.near).await;
    let (reader, writer) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    poll_read(&mut ends.near, &reader);
    poll_write(&mut ends.near, &writer);
    drop(ends.far);
    ends.pace.settle().await;
    format!("{}, {}", reader.word(), writer.word())
}

pub(crate) async fn bytes_before_a_reset(mut ends: Ends) -> String {
    ends.far.write_all(b"bye").await.unwrap();
    let (mut near, pace) = reset(ends).await;
    pace.read_out(&mut near).await
}

pub(crate) async fn read_again_after_a_reset(ends: Ends) -> String {
    let (mut near, pace) = reset(ends).await;
    let first = pace.read(&mut near, 8).await;
    let again = pace.read(&mut near, 8).await;
    format!("{first}; {again}")
}

pub(crate) async fn write_after_a_reset_that_a_read_told(ends: Ends) -> String {
    let (mut near, pace) = reset(ends).await;
    let read = pace.read(&mut near, 8).await;
    let wrote = pace.write(&mut near, b"x").await;
    format!("{read}; {wrote}")
}

pub(crate) async fn read_after_a_reset_that_a_write_told(ends: Ends) -> String {
    let (mut near, pace) = reset(ends).await;
    let wrote = pace.write(&mut near, b"x").await;
    let read = pace.read(&mut near, 8).await;
    format!("{wrote}; {read}")
}

pub(crate) async fn shutdown_after_a_reset(ends: Ends) -> String {
    let (mut near, pace) = reset(ends).await;
    pace.shut_down(&mut near).await
}

pub(crate) async fn flush_after_a_reset(ends: Ends) -> String {
    let (mut near, pace) = reset(ends).await;
    pace.flush(&mut near).await
}

pub(crate) async fn reset_behind_a_half_close(mut ends: Ends) -> String {
    ends.far.shutdown().await.unwrap();
    let (mut near, pace) = reset(ends).await;
    let read = pace.read(&mut near, 8).await;
    let wrote = pace.write(&mut near, b"x").await;
    format!("{read}; {wrote}")
}
