//! Reads, and who is woken by what.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use crate::transports::Ends;
use crate::words::{Woken, poll_read, poll_write};

pub(crate) async fn read_brings_what_was_written(mut ends: Ends) -> String {
    ends.near.write_all(b"abc").await.unwrap();
    ends.pace.settle().await;
    ends.pace.read(&mut ends.far, 8).await
}

pub(crate) async fn writes_come_in_one_read(mut ends: Ends) -> String {
    ends.near.write_all(b"ab").await.unwrap();
    ends.near.write_all(b"cd").await.unwrap();
    ends.pace.settle().await;
    ends.pace.read(&mut ends.far, 8).await
}

pub(crate) async fn small_room_leaves_the_rest(mut ends: Ends) -> String {
    ends.near.write_all(b"abcdef").await.unwrap();
    ends.pace.settle().await;
    let first = ends.pace.read(&mut ends.far, 2).await;
    let rest = ends.pace.read(&mut ends.far, 8).await;
    format!("{first}; {rest}")
}

pub(crate) async fn no_room_with_bytes(mut ends: Ends) -> String {
    ends.near.write_all(b"ab").await.unwrap();
    ends.pace.settle().await;
    let none = ends.pace.read(&mut ends.far, 0).await;
    let rest = ends.pace.read(&mut ends.far, 8).await;
    format!("{none}; {rest}")
}

pub(crate) async fn no_room_without_bytes(mut ends: Ends) -> String {
    ends.pace.settle().await;
    ends.pace.read(&mut ends.far, 0).await
}

pub(crate) async fn read_waits_for_bytes(mut ends: Ends) -> String {
    ends.pace.read(&mut ends.far, 8).await
}

pub(crate) async fn bytes_wake_the_reader(mut ends: Ends) -> String {
    let woken = Arc::new(Woken::default());
    let first = poll_read(&mut ends.far, &woken);
    ends.near.write_all(b"x").await.unwrap();
    ends.pace.settle().await;
    let word = woken.word();
    let then = ends.pace.read(&mut ends.far, 8).await;
    format!("{first}; {word}; {then}")
}

pub(crate) async fn the_end_wakes_the_reader(mut ends: Ends) -> String {
    let woken = Arc::new(Woken::default());
    let first = poll_read(&mut ends.far, &woken);
    drop(ends.near);
    ends.pace.settle().await;
    let word = woken.word();
    let then = ends.pace.read(&mut ends.far, 8).await;
    format!("{first}; {word}; {then}")
}

pub(crate) async fn the_last_waker_counts(mut ends: Ends) -> String {
    let (old, new) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    poll_read(&mut ends.far, &old);
    poll_read(&mut ends.far, &new);
    ends.near.write_all(b"x").await.unwrap();
    ends.pace.settle().await;
    format!("new {}", new.word())
}

pub(crate) async fn room_wakes_the_writer(mut ends: Ends) -> String {
    let filled = ends.pace.fill(&mut ends.near).await;
    let woken = Arc::new(Woken::default());
    let first = poll_write(&mut ends.near, &woken);
    let drained = ends.pace.drain(&mut ends.far, filled).await;
    ends.pace.settle().await;
    let word = woken.word();
    let then = ends.pace.write(&mut ends.near, b"x").await;
    format!("{first}; {drained}; {word}; {then}")
}

pub(crate) async fn reader_and_writer_wait_on_their_own(mut ends: Ends) -> String {
    let (reader, writer) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let filled = ends.pace.fill(&mut ends.near).await;
    let reads = poll_read(&mut ends.near, &reader);
    let writes = poll_write(&mut ends.near, &writer);
    // Bytes come while the write still waits.
    ends.far.write_all(b"y").await.unwrap();
    ends.pace.settle().await;
    let got = ends.pace.read(&mut ends.near, 8).await;
    let still = ends.pace.write(&mut ends.near, b"x").await;
    // Room comes while the read waits.
    let again = Arc::new(Woken::default());
    poll_read(&mut ends.near, &again);
    poll_write(&mut ends.near, &writer);
    ends.pace.drain(&mut ends.far, filled).await;
    ends.pace.settle().await;
    let wakes = format!("{}, {}", reader.word(), writer.word());
    format!("{reads}, {writes}; {got}, {still}; {wakes}")
}
