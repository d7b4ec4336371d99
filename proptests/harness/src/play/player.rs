//! One connection of a played scenario, both its ends.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use asyncserver::runtime::{BoxFuture, Endpoints, Executor, Transport};
use asyncserver::server::{ClientHandle, ConnectionOptions, ConnectionReport};
use oracle::{Ask, Op, Request, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Stage;
use super::program::Program;
use crate::client::Client;
use crate::report;
use crate::transport::{Link, Network};
use crate::world::{World, lock};

/// The id of the Negotiate that [`oracle::Config::negotiate`] asks for.
const NEGOTIATE_ID: u32 = u32::MAX - 7;

/// The connection's own future, where it can be dropped.
pub(super) type Connection = Arc<Mutex<Served>>;

/// A connection's future, until it ends or is dropped, and whom to tell so.
pub(super) struct Served {
    pub(super) future: Option<BoxFuture<'static, ConnectionReport>>,
    pub(super) poller: Option<Waker>,
}

pub(super) struct Player {
    pub(super) world: World,
    pub(super) program: Arc<Program>,
    pub(super) connection: Connection,
    pub(super) context: CancellationToken,
    pub(super) client: Client,
    pub(super) network: Arc<dyn Network>,
    pub(super) handle: Option<ClientHandle>,
    pub(super) writing: Cell<Writing>,
    endpoints: Endpoints,
}

/// Whether the server's transport takes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Moves,
    Held,
}

impl Player {
    pub(super) fn start<C, S>(
        program: &Arc<Program>,
        stage: &Stage,
        world: &World,
        link: Link<C, S>,
    ) -> Self
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
        S: Transport,
    {
        let config = &program.config;
        let context = CancellationToken::new();
        let endpoints = program.routes.add(world);
        let options = ConnectionOptions::default()
            .byte_order(config.byte_order.into())
            .endpoints(endpoints.clone())
            .context(context.clone());
        let server = program.server.clone();
        let future = async move { server.handle_connection(link.server, options).await };
        let connection: Connection = Arc::new(Mutex::new(Served {
            future: Some(Box::pin(future)),
            poller: None,
        }));
        let executor = &program.executor;
        executor.spawn(drive(Arc::clone(&connection), world.clone()));
        let network = Arc::clone(&link.network);
        let client = Client::start(
            world,
            executor,
            link.client,
            link.network,
            (stage.splits, config.transport_buffer_bytes),
        );
        Self {
            world: world.clone(),
            program: Arc::clone(program),
            connection,
            context,
            client,
            network,
            handle: None,
            writing: Cell::new(Writing::Moves),
            endpoints,
        }
    }

    /// Its handle is taken, and what the settings ask for is negotiated.
    pub(super) fn negotiate(&mut self) {
        let mut clients = self.program.server.clients().into_iter();
        self.handle = clients.find(|client| *client.endpoints() == self.endpoints);
        if let Some(features) = self.program.config.negotiate {
            let negotiate = Ask::Negotiate {
                version: 1,
                features,
                bytes: 5,
            };
            self.send(&Request::new(NEGOTIATE_ID, negotiate));
        }
    }

    pub(super) async fn step(&self, op: &Op) {
        match op {
            Op::Send { .. }
            | Op::SendTogether { .. }
            | Op::Cut { .. }
            | Op::Garbage { .. }
            | Op::HalfClose => self.send_step(op),
            Op::Leave
            | Op::Reset
            | Op::StopReading
            | Op::ReadSlowly { .. }
            | Op::ReadAll
            | Op::StallWriting
            | Op::StallReading
            | Op::Unstall
            | Op::TransportError { .. } => self.network_step(op).await,
            Op::Complete { id, how } => self.world.complete(*id, *how),
            Op::CompleteBody { id, how } => self.world.complete_body(*id, *how),
            Op::Pass => {}
            _ => self.program_step(op),
        }
    }
}

/// Polls the connection until it ends or is dropped.
fn drive(connection: Connection, world: World) -> BoxFuture<'static, ()> {
    Box::pin(std::future::poll_fn(move |cx| {
        let mut served = lock(&connection);
        served.poller = Some(cx.waker().clone());
        let Some(future) = served.future.as_mut() else {
            return Poll::Ready(());
        };
        let Poll::Ready(returned) = future.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        served.future = None;
        let returned = report::report(&returned);
        let history = world.history();
        let told = history.events.iter().find_map(|event| match &event.what {
            What::Closed(told) => Some(told.clone()),
            _ => None,
        });
        if told.flatten().as_ref() != Some(&returned) {
            world.fault(format!("the observer was not told of {returned:?}"));
        }
        Poll::Ready(())
    }))
}
