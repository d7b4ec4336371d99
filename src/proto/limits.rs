//! The sizes of PROTOCOL section 7.

/// How much a peer may make a server hold.
///
/// Start from the default and change what differs:
///
/// ```
/// use asyncserver::server::Limits;
/// let mut limits = Limits::default();
/// limits.in_flight_limit = 64;
/// assert_eq!(limits.message_limit_bytes, 4 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Payload bytes of the longest message accepted; a longer one ends its
    /// connection (PROTOCOL L4). A registration may set its own. Default 4 MiB.
    pub message_limit_bytes: usize,
    /// Tasks of one connection at a time; at the limit its requests are not
    /// read (PROTOCOL L5). Default 1,024. 0 counts as 1.
    pub in_flight_limit: usize,
    /// Tasks of the whole server at a time; over it they are answered
    /// `UNAVAILABLE` (PROTOCOL L6). Default 65,536.
    pub task_limit: usize,
    /// Bytes of responses that one connection's transport has not taken yet;
    /// at the limit its requests are not read and bodies not produced
    /// (PROTOCOL L7). Default 1 MiB. 0 counts as 1.
    pub unsent_limit_bytes: usize,
    /// The same, of all connections together (PROTOCOL L7). Default 1 GiB. 0 counts as 1.
    pub server_unsent_limit_bytes: usize,
    /// Connections at a time; the newest one over it is closed at once
    /// (PROTOCOL L8). Default 10,000.
    pub connection_limit: usize,
    /// Message bytes that were handed over whole and belong to live tasks of
    /// one connection; at the limit its requests are not read (PROTOCOL L16).
    /// Default 16 MiB. 0 counts as 1.
    pub held_limit_bytes: usize,
    /// The same, of all connections together; at the limit tasks are answered
    /// `UNAVAILABLE` (PROTOCOL L16). Default 1 GiB. 0 counts as 1.
    pub server_held_limit_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_limit_bytes: 4 << 20,
            in_flight_limit: 1024,
            task_limit: 65_536,
            unsent_limit_bytes: 1 << 20,
            server_unsent_limit_bytes: 1 << 30,
            connection_limit: 10_000,
            held_limit_bytes: 16 << 20,
            server_held_limit_bytes: 1 << 30,
        }
    }
}

/// What a rule of section 7 limits, for logs.
pub(crate) fn limit_words(rule: &str) -> &'static str {
    match rule {
        "L1" => "time with nothing to do",
        "L2" => "time for a request",
        "L3" => "time for responses to be taken",
        "L4" => "bytes of one message",
        "L5" => "tasks in flight of the connection",
        "L6" => "tasks of the server",
        "L7" => "unsent bytes",
        "L14" => "time in which a task function neither reads nor returns",
        "L15" => "time for a body's next bytes",
        "L16" => "held message bytes",
        "N9" => "tasks in flight of the registration",
        _ => "a limit",
    }
}

#[cfg(test)]
mod tests {
    use super::limit_words;

    /// Who reads a log does not know the rules by their numbers.
    #[test]
    fn every_limit_is_told_in_words_of_its_own() {
        let words = [
            ("L1", "nothing to do"),
            ("L2", "for a request"),
            ("L3", "responses to be taken"),
            ("L4", "one message"),
            ("L5", "flight of the connection"),
            ("L6", "tasks of the server"),
            ("L7", "unsent"),
            ("L14", "neither reads nor returns"),
            ("L15", "body"),
            ("L16", "held"),
            ("N9", "registration"),
            ("another", "a limit"),
        ];
        for (rule, expected) in words {
            let told = limit_words(rule);
            assert!(told.contains(expected), "{rule}: {told}");
        }
    }
}
