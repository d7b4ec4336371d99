//! What faults changed on the way. A history has requests as they came to the
//! server, and responses as it wrote them: by these the server is judged. Its
//! client is judged by what came to it, which is here.

use oracle::{History, What};

/// What of a connection was changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Altered {
    requests: Requests,
    /// What came to the client instead, each with its place in the stream.
    responses: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Requests {
    #[default]
    AsWritten,
    Changed,
}

impl Altered {
    /// What came to the server is not what the client wrote.
    pub(crate) const fn request(&mut self) {
        self.requests = Requests::Changed;
    }

    /// From its `at`th byte on the client got these, and not those that the server wrote.
    pub(crate) fn response(&mut self, at: usize, bytes: Vec<u8>) {
        self.responses.push((at, bytes));
    }

    /// Whether an end heard something else than the other said.
    pub(crate) fn is_any(&self) -> bool {
        self.requests == Requests::Changed || !self.responses.is_empty()
    }

    /// Whether an `OK` with this body came to the client.
    pub(crate) fn brings(&self, history: &History, body: &[u8]) -> bool {
        bodies(&self.delivered(history)).any(|came| came == body)
    }

    /// The server's stream as it came to the client.
    fn delivered(&self, history: &History) -> Vec<u8> {
        let mut stream = Vec::new();
        for event in &history.events {
            if let What::Received(bytes) = &event.what {
                stream.extend_from_slice(&bytes.0);
            }
        }
        for (at, bytes) in &self.responses {
            if let Some(place) = stream.get_mut(*at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        stream
    }
}

/// The bodies of the whole responses of a stream (section 4), up to a code that is none.
fn bodies(mut stream: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        loop {
            let (header, rest) = stream.split_at_checked(5)?;
            stream = rest;
            match header[0] {
                0 => return message(&mut stream),
                1 => stream = stream.get(1..)?,
                2 | 3 => {}
                _ => return None,
            }
        }
    })
}

/// The message at the start of a stream, which goes on behind it (N3).
pub(crate) fn message(stream: &mut &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let (length, rest) = stream.split_first()?;
        let (block, rest) = rest.split_at_checked(usize::from(*length))?;
        *stream = rest;
        if block.is_empty() {
            return Some(message);
        }
        message.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use oracle::Config;

    use super::*;

    fn received(pieces: &[&[u8]]) -> History {
        let mut history = History::new(Config::default());
        for piece in pieces {
            history.record(0, What::Received((*piece).into()));
        }
        history
    }

    #[test]
    fn a_body_is_looked_for_in_what_came_and_not_in_what_was_written() {
        let history = received(&[&[3, 0, 0, 0, 7, 0, 0, 0, 0, 7, 2, b'a'], &[b'b', 0]]);
        let mut altered = Altered::default();
        assert!(!altered.is_any());
        assert!(altered.brings(&history, b"ab"));
        altered.response(11, vec![b'c', b'b']);
        assert!(altered.is_any());
        assert!(altered.brings(&history, b"cb") && !altered.brings(&history, b"ab"));
    }

    #[test]
    fn nothing_is_found_behind_a_code_that_is_none() {
        let history = received(&[&[9, 0, 0, 0, 7, 0, 0, 0, 0, 7, 0]]);
        assert!(!Altered::default().brings(&history, b""));
    }
}
