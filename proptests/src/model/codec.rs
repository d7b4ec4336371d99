//! Sections 2 to 5 of PROTOCOL, byte by byte: what the library's encoders and
//! decoders are held against.

use asyncserver::wire::ByteOrder;

/// N2: an integer of four bytes.
#[must_use]
pub const fn integer(order: ByteOrder, value: u32) -> [u8; 4] {
    let [a, b, c, d] = [
        (value >> 24) as u8,
        (value >> 16) as u8,
        (value >> 8) as u8,
        value as u8,
    ];
    match order {
        ByteOrder::Big => [a, b, c, d],
        ByteOrder::Little => [d, c, b, a],
    }
}

/// N2: four bytes as an integer.
#[must_use]
pub fn as_integer(order: ByteOrder, bytes: &[u8]) -> u32 {
    let digits: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
    let value = |a: u32, b: u32, c: u32, d: u32| ((a * 256 + b) * 256 + c) * 256 + d;
    match order {
        ByteOrder::Big => value(digits[0], digits[1], digits[2], digits[3]),
        ByteOrder::Little => value(digits[3], digits[2], digits[1], digits[0]),
    }
}

/// N3, N4: a message in blocks of 255 bytes, the last one aside.
#[must_use]
pub fn message(payload: &[u8]) -> Vec<u8> {
    let mut bytes = full_blocks(payload);
    let rest = &payload[payload.len() - payload.len() % 255..];
    if !rest.is_empty() {
        bytes.push(rest.len() as u8);
        bytes.extend(rest);
    }
    bytes.push(0);
    bytes
}

/// N4: the blocks of 255 bytes that a payload fills, without what is left over.
#[must_use]
pub fn full_blocks(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in payload.chunks(255).filter(|block| block.len() == 255) {
        bytes.push(255);
        bytes.extend(block);
    }
    bytes
}

/// N3: a message in blocks of the given sizes, over and over; 0 counts as 1.
#[must_use]
pub fn message_in_blocks(payload: &[u8], sizes: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest, mut at) = (Vec::new(), payload, 0);
    while !rest.is_empty() {
        let size = sizes.get(at % sizes.len().max(1)).copied().unwrap_or(255);
        let size = usize::from(size.max(1)).min(rest.len());
        bytes.push(size as u8);
        bytes.extend(&rest[..size]);
        rest = &rest[size..];
        at += 1;
    }
    bytes.push(0);
    bytes
}

/// Section 3: a request's header.
#[must_use]
pub fn header(order: ByteOrder, code: u8, id: u32) -> Vec<u8> {
    let mut bytes = vec![code];
    bytes.extend(integer(order, id));
    bytes
}

/// Section 4: `OK` and its message.
#[must_use]
pub fn ok(order: ByteOrder, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(order, 0, id);
    bytes.extend(message(payload));
    bytes
}

/// Section 4: `Error`.
#[must_use]
pub fn error(order: ByteOrder, id: u32, error_code: u8) -> Vec<u8> {
    let mut bytes = header(order, 1, id);
    bytes.push(error_code);
    bytes
}

/// Section 4: `Goodbye`.
#[must_use]
pub fn goodbye(order: ByteOrder, accepted: u32) -> Vec<u8> {
    header(order, 2, accepted)
}

/// Section 4: `Processing`.
#[must_use]
pub fn processing(order: ByteOrder, id: u32) -> Vec<u8> {
    header(order, 3, id)
}

/// E3: what answers Negotiate.
#[must_use]
pub fn negotiated(order: ByteOrder, fields: [u32; 5]) -> Vec<u8> {
    let mut bytes = vec![1];
    for field in fields {
        bytes.extend(integer(order, field));
    }
    bytes
}

/// A request or response as a reader of the whole stream finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request.
    Request {
        /// Its task code.
        code: u8,
        /// Its id.
        id: u32,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// A response.
    Response {
        /// Its response code.
        code: u8,
        /// Its id, or a Goodbye's count.
        integer: u32,
        /// The error code of an `Error`.
        error_code: Option<u8>,
        /// The payload of an `OK`.
        payload: Option<Vec<u8>>,
    },
    /// The stream ends here, inside a request or response: bytes of it so far.
    Unfinished(usize),
    /// A byte that is no response code, and its place in the stream.
    UnknownCode(u8, usize),
}

/// The payload of the message that begins at `at`, and where it ends.
fn parse_message(stream: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut payload = Vec::new();
    loop {
        let length = usize::from(*stream.get(at)?);
        at += 1;
        if length == 0 {
            return Some((payload, at));
        }
        payload.extend(stream.get(at..at + length)?);
        at += length;
    }
}

/// Section 3: every request of a stream.
#[must_use]
pub fn parse_requests(order: ByteOrder, stream: &[u8]) -> Vec<Parsed> {
    let (mut at, mut found) = (0, Vec::new());
    while at < stream.len() {
        let message = (stream.len() >= at + 5).then(|| parse_message(stream, at + 5));
        let Some(Some((payload, end))) = message else {
            found.push(Parsed::Unfinished(stream.len() - at));
            return found;
        };
        found.push(Parsed::Request {
            code: stream[at],
            id: as_integer(order, &stream[at + 1..at + 5]),
            payload,
        });
        at = end;
    }
    found
}

/// Section 4: every response of a stream.
#[must_use]
pub fn parse_responses(order: ByteOrder, stream: &[u8]) -> Vec<Parsed> {
    let (mut at, mut found) = (0, Vec::new());
    while at < stream.len() {
        let code = stream[at];
        if code > 3 {
            found.push(Parsed::UnknownCode(code, at));
            return found;
        }
        let length = if code == 1 { 6 } else { 5 };
        if stream.len() < at + length {
            found.push(Parsed::Unfinished(stream.len() - at));
            return found;
        }
        let integer = as_integer(order, &stream[at + 1..at + 5]);
        let (mut payload, mut end) = (None, at + length);
        if code == 0 {
            let Some((bytes, after)) = parse_message(stream, end) else {
                found.push(Parsed::Unfinished(stream.len() - at));
                return found;
            };
            (payload, end) = (Some(bytes), after);
        }
        found.push(Parsed::Response {
            code,
            integer,
            error_code: (code == 1).then(|| stream[at + 5]),
            payload,
        });
        at = end;
    }
    found
}
