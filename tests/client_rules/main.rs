//! PROTOCOL section 10: the client against a scripted server, over the
//! in-memory transport and under paused time. A module a rule.

mod c1_violations;
mod c2_goodbye;
mod c3_loss;
mod c4_clocks;
mod c5_giving_up;
mod c6_negotiation;
mod c7_limits;
mod c7_retries;
mod c8_responses;
mod closing;
mod errors;
mod gathering;
mod real_server;
mod scripted;
