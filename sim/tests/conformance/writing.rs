//! Writes, flushes and back-pressure.

use std::io::IoSlice;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::transports::Ends;
use crate::words::{LOTS, pattern};

pub(crate) async fn small_write(mut ends: Ends) -> String {
    ends.pace.write(&mut ends.near, b"abc").await
}

pub(crate) async fn empty_write(mut ends: Ends) -> String {
    ends.pace.write(&mut ends.near, b"").await
}

pub(crate) async fn empty_write_when_full(mut ends: Ends) -> String {
    ends.pace.fill(&mut ends.near).await;
    ends.pace.write(&mut ends.near, b"").await
}

pub(crate) async fn empty_write_after_shutdown(mut ends: Ends) -> String {
    ends.near.shutdown().await.unwrap();
    ends.pace.write(&mut ends.near, b"").await
}

pub(crate) async fn vectored_write(mut ends: Ends) -> String {
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b"cd")];
    let taken = ends.near.write_vectored(&slices).await.unwrap();
    format!("took {taken}")
}

pub(crate) async fn write_larger_than_the_room(mut ends: Ends) -> String {
    let taken = ends.near.write(&vec![0; LOTS]).await.unwrap();
    let word = if taken < LOTS { "a part" } else { "all" };
    format!("took {word}")
}

pub(crate) async fn writer_waits_while_nobody_reads(mut ends: Ends) -> String {
    ends.pace.fill(&mut ends.near).await;
    ends.pace.write(&mut ends.near, b"x").await
}

pub(crate) async fn waiting_writer_goes_on(mut ends: Ends) -> String {
    let filled = ends.pace.fill(&mut ends.near).await;
    let (mut near, mut far) = (ends.near, ends.far);
    let writing = tokio::spawn(async move { near.write(b"x").await });
    ends.pace.settle().await;
    let early = if writing.is_finished() {
        "early"
    } else {
        "waits"
    };
    let drained = ends.pace.drain(&mut far, filled).await;
    let late = timeout(ends.pace.transfer(), writing).await;
    let late = late.map_or("waits", |_| "goes on");
    format!("{early}; {drained}; {late}")
}

pub(crate) async fn flush_at_every_stage(mut ends: Ends) -> String {
    let fresh = ends.pace.flush(&mut ends.near).await;
    ends.pace.fill(&mut ends.near).await;
    let full = ends.pace.flush(&mut ends.near).await;
    ends.near.shutdown().await.unwrap();
    let shut_down = ends.pace.flush(&mut ends.near).await;
    format!("{fresh}; {full}; {shut_down}")
}

pub(crate) async fn flush_after_the_peer_closed(mut ends: Ends) -> String {
    drop(ends.far);
    ends.pace.settle().await;
    ends.pace.flush(&mut ends.near).await
}

pub(crate) async fn large_transfers_with_tiny_buffers(ends: Ends) -> String {
    let sent = pattern(0, 20_000);
    let (mut near_read, mut near_write) = tokio::io::split(ends.near);
    let (mut far_read, mut far_write) = tokio::io::split(ends.far);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let transfer = async {
        tokio::join!(
            async {
                for piece in sent.chunks(13) {
                    near_write.write_all(piece).await.unwrap();
                }
                near_write.shutdown().await.unwrap();
            },
            async {
                for piece in sent.chunks(1000) {
                    far_write.write_all(piece).await.unwrap();
                }
                far_write.shutdown().await.unwrap();
            },
            async {
                let mut room = [0; 7];
                while let read @ 1.. = far_read.read(&mut room).await.unwrap() {
                    there.extend_from_slice(&room[..read]);
                }
            },
            async {
                let mut room = [0; 1];
                while let 1 = near_read.read(&mut room).await.unwrap() {
                    back.push(room[0]);
                }
            },
        );
    };
    if timeout(ends.pace.transfer(), transfer).await.is_err() {
        return "waits".to_owned();
    }
    let word = |heard| if heard == sent { "whole" } else { "garbled" };
    format!("{}; {}", word(there), word(back))
}
