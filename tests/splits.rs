//! However the same bytes are cut, the outcome is the same (PROTOCOL N1–N5).

mod wire_client;

use asyncserver::server::*;
use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::io::AsyncReadExt;
use wire_client::*;

const ECHO: u8 = 1;
/// Reads its message as it arrives, and answers how long it is.
const COUNT: u8 = 2;
/// Answers the first byte.
const FIRST: u8 = 3;
const NONE: u8 = 4;
const FAIL: u8 = 5;
/// A body in pieces.
const PIECES: u8 = 6;

fn server() -> Server {
    let count = reading(|_, message| {
        Box::pin(async move {
            let mut length = 0;
            while let Some(chunk) = message.chunk().await {
                length += chunk.len();
            }
            Ok(Task::run(async move |_| Ok(length.to_string())))
        })
    });
    let first = reading(|_, message| {
        Box::pin(async move {
            let first = message.read_u8().await.ok();
            Ok(Task::run(async move |_| Ok(Bytes::from_iter(first))))
        })
    });
    Server::builder()
        .on_half_close(OnHalfClose::Finish)
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(COUNT), "count", count)
        .register(TaskCode(FIRST), "first", first)
        .register(
            TaskCode(NONE),
            "none",
            reading(|_, _| Box::pin(async { Ok(Task::nothing()) })),
        )
        .task(TaskCode(FAIL), "fail", async |_, message: Bytes| {
            Err::<(), _>(TaskError::code_only(message[0].into()))
        })
        .task(TaskCode(PIECES), "pieces", async |_, message: Bytes| {
            let pieces: Vec<_> = message.chunks(7).map(Bytes::copy_from_slice).collect();
            Ok(Response::stream(stream::iter(pieces.into_iter().map(Ok))))
        })
        .build()
}

fn requests(codes: &[u8], order: ByteOrder) -> BytesMut {
    let mut bytes = BytesMut::new();
    for (at, code) in codes.iter().enumerate() {
        let id = TaskId(0x0102_0300 + at as u32);
        encode_request_header(TaskCode(*code), id, order, &mut bytes);
        // Of none, one and two blocks, and with blocks that an encoder does not make.
        let length = [0, 1, 20, 255, 256][at % 5];
        if at % 7 == 6 {
            bytes.extend_from_slice(&[1, b'a', 3, b'b', b'c', b'd', 0]);
        } else {
            encode_message(
                &vec![*code; length.max(usize::from(*code == FAIL))],
                &mut bytes,
            );
        }
    }
    bytes
}

/// All that the server answers when it is sent these pieces, each by itself.
async fn answers<'a>(order: ByteOrder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let options = ConnectionOptions::default().byte_order(order);
    let mut client = WireClient::connect_with(&server(), 1 << 16, options);
    for piece in pieces {
        client.send(piece).await;
        settle().await;
    }
    client.end_of_stream().await;
    let rest = client.rest().await;
    let report = client.finish().await;
    assert_eq!(report.counts.interrupted, 0);
    rest
}

/// Tasks alone whose run functions end at once: their responses come in their order.
const TASKS: [u8; 14] = [
    ECHO, COUNT, FIRST, ECHO, ECHO, COUNT, FIRST, FIRST, COUNT, FAIL, FAIL, ECHO, COUNT, ECHO,
];

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_in_two_anywhere_is_answered_alike() {
    for order in [ByteOrder::Big, ByteOrder::Little] {
        let bytes = requests(&TASKS, order);
        let whole = answers(order, [&bytes[..]]).await;
        assert!(whole.len() > 500, "{} bytes", whole.len());
        for at in 1..bytes.len() {
            let (one, other) = bytes.split_at(at);
            assert_eq!(answers(order, [one, other]).await, whole, "cut at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_byte_by_byte_is_answered_alike() {
    for order in [ByteOrder::Big, ByteOrder::Little] {
        let bytes = requests(&TASKS, order);
        let whole = answers(order, [&bytes[..]]).await;
        assert_eq!(answers(order, bytes.chunks(1)).await, whole);
    }
}

/// Cuts at places that the seed decides.
fn cut(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    let longest = random.usize(1..200);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.usize(1..=longest).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_at_random_is_answered_alike() {
    for seed in 0..60 {
        let order = [ByteOrder::Big, ByteOrder::Little][seed as usize % 2];
        let bytes = requests(&TASKS, order);
        let whole = answers(order, [&bytes[..]]).await;
        assert_eq!(
            answers(order, cut(&bytes, seed)).await,
            whole,
            "seed {seed}"
        );
    }
}

/// The responses, in an order of their own: reserved and unknown codes are
/// answered where they are looked at, tasks where they end.
async fn sorted(order: ByteOrder, pieces: Vec<&[u8]>) -> Vec<Vec<u8>> {
    let bytes = answers(order, pieces).await;
    let mut rest = &bytes[..];
    let mut responses = Vec::new();
    while !rest.is_empty() {
        let mut length = 6;
        if rest[0] == 0 {
            length = 5;
            while rest[length] > 0 {
                length += 1 + usize::from(rest[length]);
            }
            length += 1;
        }
        responses.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    responses.sort();
    responses
}

#[tokio::test(start_paused = true)]
async fn reserved_and_unknown_codes_and_bodies_are_answered_alike() {
    let codes = [
        ECHO, 250, PIECES, 99, COUNT, 252, PIECES, 253, 250, PIECES, FIRST, 252,
    ];
    for seed in 0..60 {
        let order = [ByteOrder::Big, ByteOrder::Little][seed as usize % 2];
        let bytes = requests(&codes, order);
        let whole = sorted(order, vec![&bytes[..]]).await;
        assert_eq!(whole.len(), codes.len());
        assert_eq!(sorted(order, cut(&bytes, seed)).await, whole, "seed {seed}");
    }
}
