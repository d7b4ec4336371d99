//! Who is measured: servers, each with the client that speaks to it.

mod asyncserver;
mod floor;
mod floor_rules;
mod lent;
mod raw;
mod raw_bodies;
mod tarpc;
mod tonic;

use tokio::net::TcpListener;

use crate::load::{Bare, ClientLoads, With};
use crate::server::ServerSettings;

/// A server that can be measured.
pub(crate) trait Contender: Sync {
    /// Its name in tables and on the command line.
    fn name(&self) -> &'static str;

    /// Starts to serve, in the server's process and its runtime.
    fn serve(&self, listener: TcpListener, settings: &ServerSettings) -> Box<dyn Served>;

    /// The client that belongs to it, as an application would use it.
    fn client(&self) -> &'static dyn ClientLoads {
        BARE
    }
}

/// A server that serves; it does so until its process ends.
pub(crate) trait Served {
    /// Answers a question about itself that only some workloads ask.
    fn answer(&self, question: &str) -> String;
}

/// One that has nothing to tell.
struct Silent;

impl Served for Silent {
    fn answer(&self, question: &str) -> String {
        format!("unknown question {question}")
    }
}

/// For all that speak our wire.
pub(crate) const BARE: &dyn ClientLoads = &With::<Bare>::NEW;

/// For peers whose default would forbid the larger workloads.
const MOST_MESSAGE_BYTES: usize = 64 << 20;

const ALL: [&dyn Contender; 12] = [
    &raw::Raw,
    &raw_bodies::LIMIT,
    &raw_bodies::FLOOR,
    &floor::IN_PLACE,
    &floor::SPAWNED,
    &floor_rules::FloorOfRules,
    &asyncserver::AUTO,
    &asyncserver::LOCAL,
    &asyncserver::SPAWN,
    &asyncserver::BLOCKING,
    &tarpc::Tarpc,
    &tonic::Tonic,
];

pub(crate) fn find(name: &str) -> Option<&'static dyn Contender> {
    ALL.into_iter().find(|contender| contender.name() == name)
}
