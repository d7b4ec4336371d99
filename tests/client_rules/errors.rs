//! Each kind of [`CallError`] says what it is, and whether the task may have
//! started. Where each comes from is tested under its rule.

use std::time::Duration;

use asyncserver::client::*;
use asyncserver::runtime::Address;
use asyncserver::wire::{ErrorCode, TaskId};

use super::scripted::*;

const fn not_started(reason: NotStarted) -> CallError {
    CallError::NotStarted { reason }
}

#[test]
fn every_kind_says_whether_the_task_may_have_started() {
    let after = Duration::from_secs(1);
    let loss = ConnectionLoss::EndOfStream;
    let last = ConnectError::TimedOut {
        address: Address::named("server"),
        after,
    };
    let violation = ProtocolViolation::TooEarly { id: TaskId(1) };
    let too_long = |message| CallError::TooLong {
        message,
        length_bytes: 2,
        limit_bytes: 1,
    };
    let server = |code| CallError::Server { code };
    let (no, perhaps) = (Started::No, Started::Perhaps);
    let kinds = [
        (server(ErrorCode(7)), perhaps, "error 7"),
        (server(ErrorCode::PANICKED), perhaps, "error"),
        (server(ErrorCode::DEADLINE), perhaps, "error"),
        (server(ErrorCode::UNAVAILABLE), no, "error"),
        (server(ErrorCode::UNKNOWN_TASK), no, "error"),
        (server(ErrorCode::MALFORMED), no, "error"),
        (CallError::Cancelled { started: no }, no, "not started"),
        (
            CallError::Cancelled { started: perhaps },
            perhaps,
            "may have run",
        ),
        (
            not_started(NotStarted::Goodbye { accepted: 3 }),
            no,
            "3 requests",
        ),
        (
            not_started(NotStarted::NoConnection { attempts: 4, last }),
            no,
            "4 failed",
        ),
        (
            not_started(NotStarted::ConnectionLost { loss: loss.clone() }),
            no,
            "closed",
        ),
        (
            not_started(NotStarted::IdInUse { id: TaskId(5) }),
            no,
            "id 5",
        ),
        (CallError::Interrupted { loss }, perhaps, "may have run"),
        (CallError::TimedOut { after, started: no }, no, "1s"),
        (
            CallError::TimedOut {
                after,
                started: perhaps,
            },
            perhaps,
            "1s",
        ),
        (
            CallError::Protocol { violation },
            perhaps,
            "broke the protocol",
        ),
        (
            CallError::NotTaken {
                buffered_bytes: 6,
                waited: after,
            },
            perhaps,
            "6 bytes",
        ),
        (
            too_long(TooLongMessage::Request),
            no,
            "the request has 2 bytes",
        ),
        (
            too_long(TooLongMessage::Response),
            perhaps,
            "the response has 2 bytes",
        ),
        (CallError::Closed { started: no }, no, "not started"),
        (
            CallError::Closed { started: perhaps },
            perhaps,
            "may have run",
        ),
    ];
    for (error, started, word) in kinds {
        assert_eq!(error.started(), started, "{error}");
        assert!(error.to_string().contains(word), "{error} lacks {word:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_error_codes_arrive_as_they_are() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let first = client.submit(ECHO, "");
    let mut peer = server.negotiated().await;
    peer.echo().await;
    answered(first).await;
    for code in (0..=255).map(ErrorCode) {
        let (call, id) = submitted(&client, &mut peer, "").await;
        peer.error(id, code).await;
        let error = call.await.unwrap_err();
        if code == ErrorCode::CANCELLED {
            let started = Started::Perhaps;
            assert_eq!(error, CallError::Cancelled { started });
        } else {
            assert_eq!(error, CallError::Server { code });
        }
    }
}
