//! Scenarios that are aimed at a group of rules: what is met by chance too seldom.

use proptest::prelude::*;
use proptest::sample::select;

use super::requests::{AskStrategy, sizes, times};
use super::{configs, connections, scenario};
use crate::op::Scenario;
use crate::request::Ask;
use crate::{Config, Limits};

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// T10, T13: cancels from everywhere, of tasks of every kind.
    Cancelling,
    /// Section 8: disconnects, closes and resets while tasks run and requests come.
    Ends,
    /// T7, L15: bodies that stream, stall and fail, and clients that read when they like.
    Bodies,
    /// L5, L6, L7, L16: small limits, many tasks at once.
    Limits,
    /// L1, L2, L3, E5: short times, slow clients.
    Clocks,
    /// Section 9 and T11: ends, resets and cuts inside requests; ids used again.
    Requests,
    /// D6, L6, L7, L8, L16, N9: several connections of one server, which share
    /// its limits and its end, and nothing else.
    Neighbours,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Cancelling,
        Self::Ends,
        Self::Bodies,
        Self::Limits,
        Self::Clocks,
        Self::Requests,
        Self::Neighbours,
    ];

    /// Scenarios of this theme, of at most `steps` steps.
    pub fn scenarios(self, steps: usize) -> impl Strategy<Value = Scenario> {
        let others = match self {
            Self::Neighbours => prop_oneof![3 => Just(1), 1 => Just(2)].boxed(),
            _ => Just(0).boxed(),
        };
        let happens = connections(self.kinds().to_vec(), self.asks(), steps, others);
        let settings = (0..4u32, select(vec![40, 100, 250, 600]), 1..4usize);
        (configs(), settings, happens).prop_map(
            move |(mut config, (features, ms, few), happens)| {
                self.set(&mut config, features, ms, few);
                scenario(config, happens)
            },
        )
    }

    const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Cancelling => &[
                "send",
                "send",
                "send",
                "send_together",
                "complete",
                "complete",
                "cancel",
                "cancel",
                "cancel_all",
                "list",
                "disconnect",
                "complete_body",
            ],
            Self::Ends => &[
                "send",
                "send",
                "send",
                "cut_header",
                "disconnect",
                "disconnect",
                "close",
                "shutdown",
                "server_disconnect",
                "half_close",
                "reset",
                "leave",
                "complete",
                "complete",
                "drop_connection",
                "end_context",
            ],
            Self::Bodies => &[
                "send",
                "send",
                "send",
                "complete",
                "complete",
                "complete",
                "complete_body",
                "complete_body",
                "cancel",
                "stop_reading",
                "read_slowly",
                "read_all",
                "disconnect",
                "stall_writing",
                "unstall",
            ],
            Self::Limits => &[
                "send",
                "send_together",
                "send_together",
                "complete",
                "complete",
                "complete",
                "cancel",
                "stop_reading",
                "read_all",
                "list",
            ],
            Self::Clocks => &[
                "send",
                "send",
                "cut",
                "cut_header",
                "stop_reading",
                "read_slowly",
                "read_all",
                "stall_writing",
                "stall_reading",
                "unstall",
                "complete",
                "disconnect",
                "pass",
            ],
            Self::Requests => &[
                "send",
                "send",
                "send_together",
                "cut",
                "cut_header",
                "garbage",
                "half_close",
                "leave",
                "complete",
                "transport_error",
                "disconnect",
            ],
            Self::Neighbours => &[
                "send",
                "send",
                "send",
                "send",
                "send",
                "send_together",
                "send_together",
                "complete",
                "complete",
                "cancel",
                "cancel",
                "cancel_all",
                "list",
                "disconnect",
                "close",
                "reset",
                "server_disconnect",
                "shutdown",
                "stop_reading",
                "stop_reading",
                "read_all",
            ],
        }
    }

    fn asks(self) -> Vec<AskStrategy> {
        let scripted = |codes: &[u8]| {
            let codes = select(codes.to_vec());
            (codes, 0..40usize)
                .prop_map(|(code, bytes)| Ask::Scripted { code, bytes })
                .boxed()
        };
        let cancel = || Just(Ask::Cancel(0)).boxed();
        let echo = || sizes().prop_map(Ask::Echo).boxed();
        let alive = || Just(Ask::KeepAlive(0)).boxed();
        let sleep = || {
            (times(), 0..9usize)
                .prop_map(|(ms, rest)| Ask::Sleep { ms, rest })
                .boxed()
        };
        match self {
            Self::Cancelling => vec![
                scripted(&[20, 20, 21]),
                scripted(&[21, 22, 27]),
                scripted(&[20, 21, 22, 23]),
                cancel(),
                cancel(),
                times().prop_map(Ask::Tidy).boxed(),
                times().prop_map(Ask::Block).boxed(),
                times().prop_map(Ask::Limited).boxed(),
            ],
            Self::Ends => vec![
                scripted(&[20, 21, 22]),
                scripted(&[20, 23, 26]),
                sleep(),
                echo(),
                Just(Ask::Break).boxed(),
                (60_000..400_000u32).prop_map(Ask::Produce).boxed(),
            ],
            Self::Bodies => vec![
                scripted(&[20, 26]),
                scripted(&[20, 21, 26]),
                (60_000..400_000u32).prop_map(Ask::Produce).boxed(),
                sizes().prop_map(|n| Ask::Tear(n as u32)).boxed(),
            ],
            Self::Limits => vec![
                scripted(&[20, 21]),
                scripted(&[20, 22, 26]),
                echo(),
                alive(),
                cancel(),
            ],
            Self::Clocks => vec![
                scripted(&[20, 20, 25]),
                echo(),
                sizes().prop_map(Ask::Digest).boxed(),
                sizes().prop_map(|n| Ask::Produce(n as u32)).boxed(),
                alive(),
                sleep(),
            ],
            Self::Requests => vec![
                scripted(&[20, 23, 24, 25]),
                echo(),
                sizes().prop_map(Ask::First).boxed(),
                sizes().prop_map(Ask::Reject).boxed(),
                alive(),
                Just(Ask::Negotiate {
                    version: 1,
                    features: 3,
                    bytes: 5,
                })
                .boxed(),
            ],
            Self::Neighbours => vec![
                scripted(&[20, 20, 21]),
                scripted(&[20, 20, 22]),
                scripted(&[20, 26, 26]),
                scripted(&[26]),
                echo(),
                echo(),
                sleep(),
                alive(),
                Just(Ask::Break).boxed(),
            ],
        }
    }

    /// What the rules of the theme need to be met.
    fn set(self, config: &mut Config, features: u32, ms: u64, few: usize) {
        let (limits, timeouts) = (&mut config.limits, &mut config.timeouts);
        if self != Self::Requests {
            config.negotiate = Some(features);
        }
        match self {
            Self::Cancelling => limits.in_flight = limits.in_flight.max(2),
            Self::Ends => timeouts.processing_ms = ms,
            Self::Bodies => {
                timeouts.body_ms = ms;
                limits.in_flight = 1024;
                limits.tasks = 1024;
            }
            Self::Limits => match few {
                1 => limits.in_flight = 1 + ms as usize % 3,
                2 => limits.unsent_bytes = ms as usize * 10,
                _ => limits.held_bytes = ms as usize / 10,
            },
            Self::Clocks => {
                timeouts.read_ms = ms;
                timeouts.write_ms = ms;
                timeouts.wait_ms = ms * few as u64;
                timeouts.processing_ms = ms;
                timeouts.task_function_ms = ms * 2;
            }
            Self::Requests => timeouts.task_function_ms = ms,
            Self::Neighbours => {
                // What is shared is to be reached before what each has for itself.
                *limits = Limits {
                    message_bytes: limits.message_bytes.max(5000),
                    ..Limits::default()
                };
                match few {
                    1 if ms == 40 => limits.connections = 1 + features as usize % 2,
                    1 => limits.tasks = 1 + ms as usize / 100 % 3,
                    2 => {
                        limits.server_unsent_bytes = ms as usize / 10;
                        config.transport_buffer_bytes = 7;
                    }
                    _ => limits.server_held_bytes = ms as usize / 10,
                }
            }
        }
    }
}
