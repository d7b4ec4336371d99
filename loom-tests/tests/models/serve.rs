//! A connection that comes while the server shuts down (PROTOCOL D6).

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::runtime::{Endpoints, Listener};
use asyncserver::server::{
    ClientHandle, ConnectionOptions, ConnectionReport, Handshake, HandshakeError, Observer,
};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, Gate};
use asyncserver_loom_tests::wire::{Near, Peer, wire};
use asyncserver_loom_tests::world::World;

mod explored {
    models! {
        Three: shutdown_meets_accept;
    }
}

/// One connection comes, and then no other.
struct One {
    near: Option<Near>,
    has_come: Gate,
}

impl Listener for One {
    type Stream = Near;

    async fn accept(&mut self) -> io::Result<(Near, Endpoints)> {
        match self.near.take() {
            Some(near) => {
                self.has_come.open();
                Ok((near, Endpoints::default()))
            }
            None => std::future::pending().await,
        }
    }
}

/// A point that two threads pass: loom lets either come first. (The tokens of
/// the accept loop are tokio's, which it does not see.)
type Crossing = Arc<shim::Mutex<()>>;

/// A handshake that takes two steps.
struct Slow(Crossing);

impl Handshake<Near> for Slow {
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
#[derive(Clone, Debug)]
struct Ends {
    seen: Arc<Mutex<Vec<&'static str>>>,
    crossing: Crossing,
}

impl Observer for Ends {
    fn connection_opened(&self, _: &Endpoints) {
        drop(self.crossing.lock());
        self.seen.lock().unwrap().push("opened");
    }

    fn handshake_done(&self, _: &ClientHandle) {
        drop(self.crossing.lock());
    }

    fn connection_refused(&self, _: &Endpoints, _: &ConnectionReport) {
        self.seen.lock().unwrap().push("refused");
    }

    fn connection_closed(&self, _: &ClientHandle, _: &ConnectionReport) {
        self.seen.lock().unwrap().push("closed");
    }
}

/// It is refused or disconnected, or never accepted, and not left behind: its
/// client sends nothing and stays, so only the shutdown ends it.
fn shutdown_meets_accept() {
    let crossing = Crossing::new(shim::Mutex::new(()));
    let ends = Ends {
        seen: Arc::default(),
        crossing: Arc::clone(&crossing),
    };
    let world = World::new(Starts::AtOnce, |server, _| {
        server.observer(Arc::new(ends.clone()))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    let handshake = Slow(Arc::clone(&crossing));
    let has_come = Gate::new();
    let listener = One {
        near: Some(near),
        has_come: has_come.clone(),
    };
    let serving = world.server.serve_with(listener, handshake);
    has_come.pass();
    drop(crossing.lock());
    let shutdown = serving.shutdown(Duration::ZERO);
    let report = shim::block_on(shutdown);
    assert!(report.stuck.is_empty(), "{report:?}");
    drop(serving);
    world.check_nothing_is_left();
    drop(far);
    let ends = ends.seen.lock().unwrap().clone();
    let possible: [&[_]; 4] = [
        &[],
        &["refused"],
        &["opened", "refused"],
        &["opened", "closed"],
    ];
    assert!(possible.contains(&ends.as_slice()), "{ends:?}");
}
