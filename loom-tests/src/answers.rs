//! What a client makes of the bytes that it got, and of the report: the judge
//! of every model. It shares no code with the library.

use std::collections::BTreeMap;

use asyncserver::server::ConnectionReport;

/// A terminal response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `OK`, and the message.
    Ok(Vec<u8>),
    /// `Error`, and its code.
    Error(u8),
}

/// `Error CANCELLED`.
pub const CANCELLED: Answer = Answer::Error(255);
/// `Error PANICKED`.
pub const PANICKED: Answer = Answer::Error(254);
/// `Error UNAVAILABLE`.
pub const UNAVAILABLE: Answer = Answer::Error(252);

/// All whole terminal responses, by id.
///
/// # Panics
/// When an id has two (PROTOCOL T5), or a response code is unknown.
#[must_use]
pub fn answers(bytes: &[u8]) -> BTreeMap<u32, Answer> {
    let mut answers = BTreeMap::new();
    let mut rest = bytes;
    while let Some((id, answer)) = take_response(&mut rest) {
        if let Some(answer) = answer {
            let before = answers.insert(id, answer);
            assert_eq!(before, None, "T5: task {id} has two terminal responses");
        }
    }
    answers
}

fn take_response(rest: &mut &[u8]) -> Option<(u32, Option<Answer>)> {
    let (code, behind) = rest.split_first()?;
    let (id, mut behind) = behind.split_first_chunk::<4>()?;
    let answer = match code {
        0 => Some(Answer::Ok(take_message(&mut behind)?)),
        1 => {
            let (error, after) = behind.split_first()?;
            behind = after;
            Some(Answer::Error(*error))
        }
        2 | 3 => None,
        other => panic!("unknown response code {other}"),
    };
    *rest = behind;
    Some((u32::from_be_bytes(*id), answer))
}

fn take_message(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let (length, behind) = rest.split_first()?;
        let (block, behind) = behind.split_at_checked(usize::from(*length))?;
        *rest = behind;
        if block.is_empty() {
            return Some(message);
        }
        message.extend_from_slice(block);
    }
}

/// Judges one connection by its output and its report, and returns its answers:
/// each accepted request has one answer or is named as interrupted (PROTOCOL
/// T5), and the counts are what they count (PROTOCOL D9).
///
/// # Panics
/// When that is not so.
#[must_use]
pub fn judge(output: &[u8], report: &ConnectionReport) -> BTreeMap<u32, Answer> {
    let answers = answers(output);
    let counts = report.counts;
    assert!(counts.add_up(), "D9: the counts add up: {report:?}");
    let count = |wanted: fn(&Answer) -> bool| {
        let number = answers.values().filter(|answer| wanted(answer)).count();
        number as u64
    };
    assert_eq!(
        count(|answer| matches!(answer, Answer::Ok(_))),
        counts.ok,
        "D9: OK: {report:?}"
    );
    assert_eq!(
        count(|answer| *answer == CANCELLED),
        counts.cancelled,
        "D9: cancelled: {report:?}"
    );
    let is_other = |answer: &Answer| matches!(answer, Answer::Error(_)) && *answer != CANCELLED;
    assert_eq!(count(is_other), counts.errors, "D9: errors: {report:?}");
    let mut interrupted: Vec<_> = report.interrupted.iter().map(|task| task.id.0).collect();
    interrupted.dedup();
    assert_eq!(
        interrupted.len() as u64,
        counts.interrupted,
        "T5: each interrupted request is named once: {report:?}"
    );
    for id in interrupted {
        assert!(
            !answers.contains_key(&id),
            "T5: task {id} is answered and named: {report:?}"
        );
    }
    assert_eq!(
        report.bytes_written,
        output.len() as u64,
        "D9: bytes written"
    );
    answers
}
