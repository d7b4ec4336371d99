//! Accepting connections, and shutting down (PROTOCOL D6, L8, L9).

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Server;
use super::connect::{Connected, ConnectionPlace};
use super::drain::{Drain, DrainReport};
use super::handshake::Handshake;
use super::run::unless_panics;
use super::shared::ServerShared;
use crate::proto::{ConnectionReport, EndReason};
use crate::runtime::tcp::AcceptBackoff;
use crate::runtime::{Address, Endpoints, Listener, Transport, sleep};

/// What `shutdown` allows for after its duration, for connections to report (PROTOCOL D4).
const MOMENT: Duration = Duration::from_millis(500);

/// A listener that is being served.
///
/// Dropping it changes nothing: the server goes on.
///
/// ```
/// # async fn example(serving: asyncserver::server::Serving) {
/// let report = serving.shutdown(std::time::Duration::from_secs(10)).await;
/// println!("{} interrupted", report.counts().interrupted);
/// # }
/// ```
pub struct Serving {
    server: Server,
    address: Option<Address>,
    /// Ends the accept loop and handshakes; the server's own ends this one, too.
    stop: CancellationToken,
}

/// What each connection's own task needs.
struct Acceptor<H> {
    server: Server,
    handshake: H,
    stop: CancellationToken,
}

impl Serving {
    pub(crate) fn start<L, H>(server: Server, listener: L, handshake: H) -> Self
    where
        L: Listener,
        H: Handshake<L::Stream>,
    {
        let stop = server.0.stop.child_token();
        let address = listener.local_address();
        let acceptor = Arc::new(Acceptor {
            server: server.clone(),
            handshake,
            stop: stop.clone(),
        });
        let executor = Arc::clone(&server.0.executor);
        executor.spawn(Box::pin(accept_loop(acceptor, listener)));
        Self {
            server,
            address,
            stop,
        }
    }

    /// The address at which connections are accepted, where it is known.
    #[must_use]
    pub const fn local_address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Accepts no further connection, and drops handshakes; the present clients
    /// go on. Does not block.
    pub fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Ends everything gracefully within `after` (PROTOCOL D6), for good: no
    /// new connection is accepted, by this listener or any other way, handshakes
    /// are dropped, and every client of the server is disconnected.
    ///
    /// It acts when it is called; awaiting the result only waits, for at most
    /// `after` and a moment. Of several calls the shortest duration counts, for
    /// those who wait for the others, too.
    pub fn shutdown(&self, after: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        let server = self.server.clone();
        server.0.stop.cancel();
        let drain = Drain::begin(&server);
        server.disconnect(after);
        let limit = after.saturating_add(MOMENT);
        if let Some(end) = server.0.clock.now().checked_add(limit) {
            server.0.registry.bring_shutdown_forward(end);
            server.0.client_left.notify_waiters();
        }
        async move {
            let stuck = match wait_for_connections(&server).await {
                Waited::AllEnded => Vec::new(),
                Waited::TimeIsUp => server.clients(),
            };
            let stuck = stuck.into_iter();
            DrainReport {
                connections: drain.closed(),
                stuck: stuck.map(|client| client.endpoints().clone()).collect(),
            }
        }
    }
}

/// What waiting for connections came to.
enum Waited {
    AllEnded,
    TimeIsUp,
}

/// Until no connection is left, those in their handshakes included, or the
/// shortest of all shutdowns is over.
async fn wait_for_connections(server: &Server) -> Waited {
    let mut timer = server.0.clock.timer();
    loop {
        let mut changed = pin!(server.0.client_left.notified());
        // Registered before it looks: no change is missed.
        changed.as_mut().enable();
        if server.0.places.connections.are_all_free() {
            return Waited::AllEnded;
        }
        let end = server.0.registry.shutdown_end();
        let time_is_up = std::future::poll_fn(|cx| {
            if let Some(end) = end
                && timer.poll_until(end, cx).is_ready()
            {
                return Poll::Ready(true);
            }
            changed.as_mut().poll(cx).map(|()| false)
        });
        if time_is_up.await {
            return Waited::TimeIsUp;
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("address", &self.address)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

async fn accept_loop<L, H>(acceptor: Arc<Acceptor<H>>, mut listener: L)
where
    L: Listener,
    H: Handshake<L::Stream>,
{
    let stop = acceptor.stop.clone();
    let shared = Arc::clone(&acceptor.server.0);
    let mut backoff = AcceptBackoff::default();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, endpoints)) => {
                    backoff.reset();
                    let connection = serve_one(Arc::clone(&acceptor), stream, endpoints);
                    shared.executor.spawn(Box::pin(connection));
                }
                Err(error) => {
                    let pause = backoff.next_pause();
                    tracing::warn!(%error, ?pause, "accepting a connection failed");
                    sleep(&*shared.clock, pause).await;
                }
            }
        }
    };
    let stopped: Option<()> = unless(&stop, accepting).await;
    debug_assert!(stopped.is_none(), "only the stop ends the loop");
}

/// What `work` comes to, unless `stop` comes first.
async fn unless<R>(stop: &CancellationToken, work: impl Future<Output = R>) -> Option<R> {
    let mut stopped = pin!(stop.cancelled());
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

fn serve_one<S, H>(
    acceptor: Arc<Acceptor<H>>,
    stream: S,
    endpoints: Endpoints,
) -> impl Future<Output = ()> + Send + 'static
where
    S: Transport,
    H: Handshake<S>,
{
    // On the heap, and gone once it is done: the connection may live for long.
    let handshake = Box::pin(async move {
        let place = acceptor.server.take_place(&endpoints).ok()?;
        shake_hands(&acceptor, stream, endpoints, place).await
    });
    async move {
        if let Some((connected, transport)) = handshake.await {
            connected.serve(transport).await;
        }
    }
}

/// The application's handshake, within its time; `None`: there is no client,
/// and the observer has been told why.
async fn shake_hands<S, H>(
    acceptor: &Acceptor<H>,
    stream: S,
    endpoints: Endpoints,
    place: ConnectionPlace,
) -> Option<(Connected, H::Transport)>
where
    S: Transport,
    H: Handshake<S>,
{
    let server = &acceptor.server;
    let handshake = async { acceptor.handshake.perform(stream, &endpoints).await };
    let limited = within(&server.0, server.0.settings.timeouts.handshake, handshake);
    // A shutdown drops it.
    let reason = match unless(&acceptor.stop, unless_it_panics(limited)).await {
        None => EndReason::GracefulDisconnect,
        Some(None) => EndReason::HandshakeFailed("it panicked".into()),
        Some(Some(None)) => EndReason::HandshakeTimeout,
        Some(Some(Some(Err(error)))) => EndReason::HandshakeFailed(error.to_string().into()),
        Some(Some(Some(Ok((transport, mut options))))) => {
            options.endpoints.get_or_insert(endpoints);
            return Some((Connected::new(server, place, options), transport));
        }
    };
    let report = ConnectionReport::of_unserved(reason);
    server.tell_refused(&endpoints, &report);
    None
}

/// What `work` comes to; `None`: it panicked, and was dropped.
async fn unless_it_panics<R>(work: impl Future<Output = R>) -> Option<R> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match unless_panics(|| work.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// What `work` comes to, if it does within `limit` (L9).
async fn within<R>(
    server: &ServerShared,
    limit: Duration,
    work: impl Future<Output = R>,
) -> Option<R> {
    let mut work = pin!(work);
    let mut over = pin!(sleep(&*server.clock, limit));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        over.as_mut().poll(cx).map(|()| None)
    })
    .await
}
