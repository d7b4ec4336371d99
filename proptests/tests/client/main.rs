//! The real client: against the real server, and against one that misbehaves.
//! Everything over memory, under paused time; every call must end, and end as
//! what became of it.

mod against_server;
mod misbehaving;

use std::sync::Arc;
use std::time::Duration;

use asyncserver::client::{CallError, Client, ClientBuilder, PendingTask};
use asyncserver::runtime::{Address, TokioClock, TokioExecutor};
use bytes::Bytes;
use harness::{WatchedExecutor, World};
use oracle::Config;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What has not ended by then never will: longer than all retries, pauses and
/// timeouts of a client together.
const NEVER: Duration = Duration::from_secs(24 * 3600);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a case under paused time.
fn under_paused_time<R>(case: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(case)
}

/// A world that only gathers faults: panics and futures that spin.
fn watched() -> (World, Arc<WatchedExecutor>) {
    let world = World::new(Config::default(), Arc::new(TokioClock));
    let executor = WatchedExecutor::new(Arc::new(TokioExecutor), world.clone());
    (world, Arc::new(executor))
}

fn client(executor: &Arc<WatchedExecutor>) -> ClientBuilder {
    Client::builder(Address::named("server"))
        .executor(Arc::clone(executor) as _)
        .seed(1)
}

type Ended = Result<Bytes, CallError>;

/// A call that goes on by itself, until it ends or is given up.
struct Running(JoinHandle<Ended>, tokio::sync::mpsc::Sender<()>);

impl Running {
    fn start(mut call: PendingTask) -> Self {
        let (cancel, mut cancels) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                ended = &mut call => return ended,
                Some(()) = cancels.recv() => call.cancel(),
            }
            call.await
        });
        Self(task, cancel)
    }

    /// The caller asks for the call's cancel, and waits for what comes of it.
    fn cancel(&self) {
        let _ = self.1.try_send(());
    }

    /// The caller drops it.
    fn drop_it(&self) {
        self.0.abort();
    }

    /// How it ended; nothing if it was dropped.
    async fn ended(self) -> Result<Option<Ended>, String> {
        match timeout(NEVER, self.0).await {
            Err(_) => Err("a call does not end".into()),
            Ok(Ok(ended)) => Ok(Some(ended)),
            Ok(Err(gone)) if gone.is_cancelled() => Ok(None),
            Ok(Err(panic)) => Err(format!("a call panicked: {panic}")),
        }
    }
}

/// Nothing panicked, nothing spins, and nothing is left of the client.
async fn demand_order(world: &World, client: Client) -> Result<(), String> {
    let closing = client.close(ms(1000));
    drop(client);
    let closed = timeout(NEVER, closing).await;
    closed.map_err(|_| "the client does not close")?;
    match world.faults().first() {
        Some(fault) => Err(fault.clone()),
        None => Ok(()),
    }
}
