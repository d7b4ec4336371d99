//! One connection, from its place (PROTOCOL L8) to its report (PROTOCOL D9).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Server;
use super::client::ClientContext;
use super::driver::Driver;
use super::handle::ClientHandle;
use super::handshake::ConnectionOptions;
use super::observe::Event;
use super::registration::RegistrationView;
use super::run::unless_panics;
use super::session::Session;
use super::shared::ServerShared;
use crate::proto::{Connection, ConnectionReport, EndReason, Settings};
use crate::runtime::{Endpoints, Transport};

/// A place of L8, held from the accepting of a connection to its end.
pub(crate) struct ConnectionPlace(Arc<ServerShared>);

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.places.connections.release(1);
        self.0.client_left.notify_waiters();
    }
}

impl Server {
    /// Takes a place for a connection that has come, and tells the observer so.
    ///
    /// # Errors
    /// The report of a connection for which there is none, or that came behind
    /// a shutdown.
    pub(crate) fn take_place(
        &self,
        endpoints: &Endpoints,
    ) -> Result<ConnectionPlace, Box<ConnectionReport>> {
        let has_place = self.0.places.connections.take();
        let place = has_place.then(|| ConnectionPlace(Arc::clone(&self.0)));
        let reason = match place {
            Some(place) if !self.0.stop.is_cancelled() => {
                unless_panics(|| self.0.observer.connection_opened(endpoints));
                return Ok(place);
            }
            Some(_) => EndReason::GracefulDisconnect,
            None => {
                let limit = self.0.places.connections.limit();
                EndReason::Refused { limit }
            }
        };
        let report = ConnectionReport::of_unserved(reason);
        self.tell_refused(endpoints, &report);
        Err(Box::new(report))
    }

    /// A connection that never had a client has ended.
    pub(crate) fn tell_refused(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        tracing::debug!(%endpoints, reason = %report.reason, "connection refused");
        unless_panics(|| self.0.observer.connection_refused(endpoints, report));
    }
}

/// A client, in the server's list while this lives. However its connection
/// ends, a drop of its future included, its end is told.
pub(crate) struct Connected {
    client: ClientHandle,
    context: Option<CancellationToken>,
    place: ConnectionPlace,
}

impl Connected {
    /// The connection's handshake is done: it has a client from now on.
    pub(crate) fn new(server: &Server, place: ConnectionPlace, options: ConnectionOptions) -> Self {
        let context = options.context.clone();
        let client = ClientHandle::new(begin_session(&server.0, options));
        tracing::debug!(parent: &client.span(), %client, "connection opened");
        // A shutdown that came in between has not seen the client: either it
        // finds it in the list, or its stop is seen here (PROTOCOL D6).
        if server.0.stop.is_cancelled() {
            client.disconnect(Duration::ZERO);
        }
        Self {
            client,
            context,
            place,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn serve<S: Transport>(mut self, stream: S) -> ConnectionReport {
        let context = self.context.take();
        Driver::new(self.client.session().clone(), stream, context).await
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let server = &self.place.0;
        let session = self.client.session();
        // A future that is dropped before its first poll has no driver to close it.
        let (report, _) = session.leave();
        log_end(&self.client, &report);
        server
            .registry
            .note_closed(self.client.endpoints(), &report);
        session.tell_end(report);
    }
}

/// Makes a session and puts it in the server's list.
fn begin_session(shared: &Arc<ServerShared>, options: ConnectionOptions) -> Session {
    let now = shared.clock.now();
    let order = options.byte_order.unwrap_or(shared.settings.order);
    let settings = if order == shared.settings.order {
        Arc::clone(&shared.settings)
    } else {
        Arc::new(Settings {
            order,
            ..*shared.settings
        })
    };
    let endpoints = options.endpoints.unwrap_or_default();
    let span = options
        .span
        .unwrap_or_else(|| tracing::debug_span!("connection", client = %endpoints));
    let id = shared.registry.next_client_id();
    let context = ClientContext {
        id,
        server: Arc::clone(shared),
        endpoints,
        order,
        arguments: options.arguments,
        connected_at: now,
        connected_wall: shared.clock.wall(),
    };
    let observer = options
        .observer
        .unwrap_or_else(|| Arc::clone(&shared.observer));
    let session = Session::new(Connection::new(settings, now), context, observer, span);
    session.tell(Event::HandshakeDone);
    shared.registry.add_client(id, session.clone());
    session
}

/// A warning for what the server did, a whisper for what a peer can cause at will.
fn log_end(client: &ClientHandle, report: &ConnectionReport) {
    let span = client.span();
    let reason = &report.reason;
    let registration = reason
        .task_code()
        .and_then(|code| client.server().registration(code));
    let task = registration.as_ref().map(RegistrationView::name);
    if reason.is_expected() {
        tracing::debug!(parent: &span, %client, task, %reason, "connection ended");
    } else {
        tracing::warn!(parent: &span, %client, task, %reason, "connection ended");
    }
    for task in &report.interrupted {
        tracing::debug!(parent: &span, %client, id = %task.id, code = %task.code,
            state = ?task.state, "task interrupted");
    }
}
