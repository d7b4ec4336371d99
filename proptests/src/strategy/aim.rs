//! What is changed in steps once they are there: ids that are hit, and lengths
//! that a small transport can carry.

use crate::history::RunEnd;
use crate::op::{Op, Step};
use crate::request::Ask;

/// Most cancels and completions are for ids that had been sent before: a small id
/// stands for one of the last ids.
pub(super) fn aim(steps: &mut [Step]) {
    crate::aim(steps.iter_mut().map(|step| &mut step.op), aimed);
}

fn aimed(id: u32, sent: &[u32]) -> u32 {
    let back = (id as usize).min(sent.len());
    // The last small id stays what it is, so that cancels of nothing happen.
    let last = if id < 5 { back + 1 } else { usize::MAX };
    let index = sent.len().checked_sub(last);
    index.map_or(id, |index| sent[index])
}

/// A transport that takes fewer bytes at once gets only short messages: each
/// byte is a turn of the server.
pub(super) const SMALL_BUFFER: usize = 64;

/// The longest message and body under [`SMALL_BUFFER`].
const SHORT_BYTES: usize = 3000;

pub(super) fn shorten(op: &mut Op) {
    match op {
        Op::Send { request, .. } | Op::Cut { request, .. } => shorten_ask(&mut request.ask),
        Op::SendTogether { requests } => {
            let asks = requests.iter_mut().map(|request| &mut request.ask);
            asks.for_each(shorten_ask);
        }
        Op::Complete {
            how: RunEnd::Whole { bytes } | RunEnd::Streamed { bytes, .. },
            ..
        } => *bytes = (*bytes).min(SHORT_BYTES),
        _ => {}
    }
}

fn shorten_ask(ask: &mut Ask) {
    match ask {
        Ask::Echo(bytes)
        | Ask::Sleep { rest: bytes, .. }
        | Ask::Nothing(bytes)
        | Ask::Reject(bytes)
        | Ask::Digest(bytes)
        | Ask::First(bytes)
        | Ask::Scripted { bytes, .. }
        | Ask::Unknown { bytes, .. }
        | Ask::KeepAlive(bytes) => *bytes = (*bytes).min(SHORT_BYTES),
        Ask::Produce(bytes) | Ask::Tear(bytes) => *bytes = (*bytes).min(SHORT_BYTES as u32),
        _ => {}
    }
}
