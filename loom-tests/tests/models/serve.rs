//! A connection that comes while the server shuts down (PROTOCOL D6).

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::runtime::{Endpoints, Listener};
use asyncserver::server::{
    ClientHandle, ConnectionOptions, ConnectionReport, Handshake, HandshakeError, Observer,
};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim;
use asyncserver_loom_tests::wire::{Near, Peer, wire};
use asyncserver_loom_tests::world::World;

mod explored {
    models! {
        Three: shutdown_meets_accept;
    }
}

/// One connection comes, and then no other.
struct One(Option<Near>);

impl Listener for One {
    type Stream = Near;

    async fn accept(&mut self) -> io::Result<(Near, Endpoints)> {
        match self.0.take() {
            Some(near) => Ok((near, Endpoints::default())),
            None => std::future::pending().await,
        }
    }
}

/// A handshake in which another thread may get its turn.
struct Turning(shim::Mutex<()>);

impl Handshake<Near> for Turning {
    type Transport = Near;

    async fn perform(
        &self,
        stream: Near,
        _: &Endpoints,
    ) -> Result<(Near, ConnectionOptions), HandshakeError> {
        drop(self.0.lock());
        Ok((stream, ConnectionOptions::default()))
    }
}

/// What became of the connection.
#[derive(Clone, Debug, Default)]
struct Ends(Arc<Mutex<Vec<&'static str>>>);

impl Observer for Ends {
    fn connection_opened(&self, _: &Endpoints) {
        self.0.lock().unwrap().push("opened");
    }

    fn connection_refused(&self, _: &Endpoints, _: &ConnectionReport) {
        self.0.lock().unwrap().push("refused");
    }

    fn connection_closed(&self, _: &ClientHandle, _: &ConnectionReport) {
        self.0.lock().unwrap().push("closed");
    }
}

/// It is refused or disconnected, or never accepted, and not left behind: its
/// client sends nothing and stays, so only the shutdown ends it.
fn shutdown_meets_accept() {
    let ends = Ends::default();
    let world = World::new(Starts::AtOnce, |server, _| {
        server.observer(Arc::new(ends.clone()))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    far.end();
    let serving = world.server.serve_with(One(Some(near)), Turning(shim::Mutex::new(())));
    let shutdown = serving.shutdown(Duration::from_secs(1));
    let report = shim::block_on(shutdown);
    assert!(report.stuck.is_empty());
    world.check_nothing_is_left();
    let ends = ends.0.lock().unwrap().clone();
    let possible: [&[_]; 3] = [&[], &["opened", "refused"], &["opened", "closed"]];
    assert!(possible.contains(&ends.as_slice()), "{ends:?}");
}
