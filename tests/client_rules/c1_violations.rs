//! What a server sends against the protocol ends its connection, and with it
//! every call that is pending there.

use asyncserver::client::{CallError, ConnectError, NotStarted, ProtocolViolation, Started};
use asyncserver::wire::{ByteOrder, ErrorCode, Features, Negotiated, Response, TaskId};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::scripted::*;

/// What the server sends, given the ids of the two calls that are pending.
type Sent = fn(&Peer, [u32; 2]) -> BytesMut;

/// What the violation is called here, what the server granted, what it sends,
/// and which violation that is.
type Case = (
    &'static str,
    Negotiated,
    Sent,
    fn(ProtocolViolation) -> bool,
);

const NOTHING_GRANTED: Negotiated = Negotiated {
    granted: Features::NONE,
    ..TOLD
};

fn is_not_live(violation: ProtocolViolation) -> bool {
    matches!(violation, ProtocolViolation::NotLive { .. })
}

const VIOLATIONS: [Case; 10] = [
    (
        "an unknown response code",
        TOLD,
        |_, _| BytesMut::from(&[4][..]),
        |violation| matches!(violation, ProtocolViolation::UnknownCode(error) if error.code == 4),
    ),
    (
        "a result for an id that is not live",
        TOLD,
        |peer, _| peer.result(999, b"?"),
        is_not_live,
    ),
    (
        "an error for an id that is not live",
        TOLD,
        |peer, _| peer.response(Response::Error(TaskId(999), ErrorCode(1))),
        is_not_live,
    ),
    (
        "a sign of life for an id that is not live",
        TOLD,
        |peer, _| peer.response(Response::Processing(TaskId(999))),
        is_not_live,
    ),
    (
        "a second answer to Negotiate",
        TOLD,
        |peer, _| peer.result(1, &peer.encoded(&TOLD)),
        is_not_live,
    ),
    (
        "Processing that was not granted",
        NOTHING_GRANTED,
        |peer, [first, _]| peer.response(Response::Processing(TaskId(first))),
        |violation| {
            violation
                == ProtocolViolation::NotGranted {
                    extension: "Processing",
                }
        },
    ),
    (
        "Goodbye that was not granted",
        NOTHING_GRANTED,
        |peer, _| peer.response(Response::Goodbye { accepted: 3 }),
        |violation| {
            violation
                == ProtocolViolation::NotGranted {
                    extension: "Goodbye",
                }
        },
    ),
    (
        "Processing where only Goodbye was granted",
        Negotiated {
            granted: Features::GOODBYE,
            ..TOLD
        },
        |peer, [first, _]| peer.response(Response::Processing(TaskId(first))),
        |violation| matches!(violation, ProtocolViolation::NotGranted { .. }),
    ),
    (
        "a Goodbye that counts more than was sent",
        TOLD,
        |peer, _| peer.response(Response::Goodbye { accepted: 4 }),
        |violation| {
            violation
                == ProtocolViolation::AcceptedTooMany {
                    accepted: 4,
                    sent: 3,
                }
        },
    ),
    (
        "an extension that is ours to grant to nobody",
        Negotiated {
            granted: Features::from_bits(0xFFFF_FFFC),
            ..TOLD
        },
        |peer, _| peer.response(Response::Goodbye { accepted: 3 }),
        |violation| matches!(violation, ProtocolViolation::NotGranted { .. }),
    ),
];

#[tokio::test(start_paused = true)]
async fn every_violation_ends_the_connection_and_all_its_calls() {
    for (name, told, sent, is_expected) in VIOLATIONS {
        let (mut server, client) = scripted();
        let client = client.build();
        let first = client.submit(ECHO, "first");
        let mut peer = server.told(told).await;
        let first_id = peer.expect_echo("first").await;
        let (second, second_id) = submitted(&client, &mut peer, "second").await;
        let sent = sent(&peer, [first_id, second_id]);
        peer.send(&sent).await;
        for call in [first, second] {
            let CallError::Protocol { violation } = failed(call, Started::Perhaps).await else {
                panic!("{name}: another error");
            };
            assert!(is_expected(violation), "{name}: {violation}");
        }
        peer.expect_end().await;
        let next = client.submit(ECHO, "next");
        server.negotiated().await.echo().await;
        assert_eq!(answered(next).await, "next", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_terminal_response_is_a_violation() {
    let (mut server, client) = scripted();
    let client = client.build();
    let done = client.submit(ECHO, "done");
    let mut peer = server.negotiated().await;
    let id = peer.echo().await.id;
    answered(done).await;
    let (pending, _) = submitted(&client, &mut peer, "pending").await;
    peer.error(id, ErrorCode(1)).await;
    let error = failed(pending, Started::Perhaps).await;
    assert_is!(
        error,
        CallError::Protocol { violation: ProtocolViolation::NotLive { id: of, .. } } if of.0 == id
    );
}

#[tokio::test(start_paused = true)]
async fn answers_before_the_violation_count() {
    let (mut server, client) = scripted();
    let client = client.build();
    let first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("first").await;
    let (second, _) = submitted(&client, &mut peer, "second").await;
    let mut sent = peer.result(id, b"in time");
    sent.extend_from_slice(&[77]);
    peer.send(&sent).await;
    assert_eq!(answered(first).await, "in time");
    assert_is!(
        failed(second, Started::Perhaps).await,
        CallError::Protocol { .. }
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_request_that_is_not_sent_whole_is_a_violation() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let call = client.submit(ECHO, vec![7; 10_000]);
    let mut peer = server.negotiated().await;
    let mut begun = [0; 5];
    peer.stream.read_exact(&mut begun).await.unwrap();
    let id = u32::from_be_bytes([begun[1], begun[2], begun[3], begun[4]]);
    peer.ok(id, "too early").await;
    let error = failed(call, Started::Perhaps).await;
    assert_is!(
        error,
        CallError::Protocol { violation: ProtocolViolation::TooEarly { id: of } } if of.0 == id
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_but_its_answer_may_come_before_negotiate_is_answered() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let call = client.submit(ECHO, "waiting");
    let mut peer = server.accept().await;
    peer.expect_negotiate().await;
    peer.goodbye(1).await;
    // The call had not been given to that connection: no other was to be had.
    let error = failed(call, Started::No).await;
    assert_is!(
        error,
        CallError::NotStarted {
            reason: NotStarted::NoConnection {
                last: ConnectError::BrokeProtocol { .. },
                ..
            }
        }
    );
    peer.expect_end().await;
}
