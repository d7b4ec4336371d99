//! Shutdowns, half-closes and orderly ends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::transports::Ends;

pub(crate) async fn half_close_leaves_the_other_direction(mut ends: Ends) -> String {
    ends.near.write_all(b"ask").await.unwrap();
    ends.near.shutdown().await.unwrap();
    let asked = ends.pace.read_out(&mut ends.far).await;
    ends.far.write_all(b"answer").await.unwrap();
    ends.pace.settle().await;
    let answered = ends.pace.read(&mut ends.near, 8).await;
    format!("{asked}; {answered}")
}

pub(crate) async fn half_close_both_ways(mut ends: Ends) -> String {
    ends.near.write_all(b"ab").await.unwrap();
    ends.far.write_all(b"cd").await.unwrap();
    let near = ends.pace.shut_down(&mut ends.near).await;
    let far = ends.pace.shut_down(&mut ends.far).await;
    ends.pace.settle().await;
    let at_far = ends.pace.read_out(&mut ends.far).await;
    let at_near = ends.pace.read_out(&mut ends.near).await;
    format!("{near}, {far}; {at_far}; {at_near}")
}

pub(crate) async fn bytes_before_a_close_arrive(mut ends: Ends) -> String {
    ends.near.write_all(b"last").await.unwrap();
    drop(ends.near);
    ends.pace.settle().await;
    ends.pace.read_out(&mut ends.far).await
}

pub(crate) async fn the_end_comes_again(mut ends: Ends) -> String {
    ends.near.shutdown().await.unwrap();
    ends.pace.settle().await;
    let first = ends.pace.read(&mut ends.far, 8).await;
    let again = ends.pace.read(&mut ends.far, 8).await;
    format!("{first}; {again}")
}

pub(crate) async fn shutdown_twice(mut ends: Ends) -> String {
    let first = ends.pace.shut_down(&mut ends.near).await;
    let again = ends.pace.shut_down(&mut ends.near).await;
    format!("{first}; {again}")
}

pub(crate) async fn write_after_shutdown(mut ends: Ends) -> String {
    ends.near.shutdown().await.unwrap();
    ends.pace.write(&mut ends.near, b"x").await
}

pub(crate) async fn shutdown_when_full(mut ends: Ends) -> String {
    let filled = ends.pace.fill(&mut ends.near).await;
    let done = ends.pace.shut_down(&mut ends.near).await;
    let drained = ends.pace.drain(&mut ends.far, filled).await;
    ends.pace.settle().await;
    let end = ends.pace.read(&mut ends.far, 8).await;
    format!("{done}; {drained}; {end}")
}

pub(crate) async fn close_when_full(mut ends: Ends) -> String {
    let filled = ends.pace.fill(&mut ends.near).await;
    drop(ends.near);
    let drained = ends.pace.drain(&mut ends.far, filled).await;
    ends.pace.settle().await;
    let end = ends.pace.read(&mut ends.far, 8).await;
    format!("{drained}; {end}")
}

pub(crate) async fn first_write_after_the_peer_closed(mut ends: Ends) -> String {
    drop(ends.far);
    ends.pace.settle().await;
    ends.pace.write(&mut ends.near, b"x").await
}

pub(crate) async fn later_writes_after_the_peer_closed(mut ends: Ends) -> String {
    drop(ends.far);
    ends.pace.settle().await;
    // What is answered with a reset; or it fails at once.
    drop(ends.near.write(b"x").await);
    ends.pace.settle().await;
    let next = ends.pace.write(&mut ends.near, b"x").await;
    let read = ends.pace.read(&mut ends.near, 8).await;
    format!("{next}; {read}")
}

pub(crate) async fn write_after_the_peers_half_close(mut ends: Ends) -> String {
    ends.far.shutdown().await.unwrap();
    ends.pace.settle().await;
    let end = ends.pace.read(&mut ends.near, 8).await;
    let wrote = ends.pace.write(&mut ends.near, b"x").await;
    ends.pace.settle().await;
    let heard = ends.pace.read(&mut ends.far, 8).await;
    format!("{end}; {wrote}; {heard}")
}

pub(crate) async fn shutdown_after_the_peer_closed(mut ends: Ends) -> String {
    drop(ends.far);
    ends.pace.settle().await;
    ends.pace.shut_down(&mut ends.near).await
}

pub(crate) async fn close_while_the_peer_waits_to_write(mut ends: Ends) -> String {
    ends.pace.fill(&mut ends.near).await;
    let (mut near, far) = (ends.near, ends.far);
    // Half-closed first: the reader's end is orderly, the writer's is not.
    let closing = tokio::spawn(async move {
        let mut far = far;
        far.shutdown().await.unwrap();
        far
    });
    let far = closing.await.unwrap();
    ends.pace.settle().await;
    drop(far);
    let failed = ends.pace.write_until_it_fails(&mut near).await;
    let read = near.read(&mut [0; 8]).await;
    format!("{failed}; {:?}", read.map_err(|error| error.kind()))
}
