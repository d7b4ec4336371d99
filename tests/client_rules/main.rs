//! PROTOCOL section 10: the client against a scripted server, over the
//! in-memory transport and under paused time. A module a rule.

mod c1_violations;
mod c2_goodbye;
mod c3_loss;
mod c4_clocks;
mod c5_giving_up;
mod scripted;
