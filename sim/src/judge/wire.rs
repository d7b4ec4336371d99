//! A client that writes bytes as it is told and reads as it is told.

use std::time::Duration;

use asyncserver::server::ClientHandle;
use asyncserver::wire::{ByteOrder, TaskId};
use harness::{World as Recording, Write, writes};
use oracle::{Call, Op, Returned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::connections::Connections;
use super::servers::PlannedServer;
use super::tap::TapConnector;
use super::told::Told;
use crate::pipe::Appetite;
use crate::{End, Fault, Host, LinkHandle, Network, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    All,
    Stopped,
    Slowly { bytes: usize, every: Duration },
    Gone,
}

/// A wire client with its present connection.
pub(crate) struct WireClient {
    world: World,
    host: Host,
    connector: TapConnector,
    server: PlannedServer,
    connections: Connections,
    connection: String,
    recording: Recording,
    writes: mpsc::UnboundedSender<Write>,
    reading: Told<Reading>,
}

impl WireClient {
    pub(crate) fn dial(world: &World, connector: TapConnector, server: &PlannedServer) -> Self {
        let host = world.host(&connector.client);
        let ((connection, recording), writes, reading) =
            start(world.network(), &host, &connector, server);
        Self {
            world: world.clone(),
            host,
            connections: connector.connections.clone(),
            connector,
            server: server.clone(),
            connection,
            recording,
            writes,
            reading,
        }
    }

    /// Dials again; what was before goes away.
    pub(crate) fn redial(&mut self) {
        self.reading.tell(Reading::Gone);
        let (named, writes, reading) = start(
            self.world.network(),
            &self.host,
            &self.connector,
            &self.server,
        );
        (self.connection, self.recording) = named;
        (self.writes, self.reading) = (writes, reading);
    }

    pub(crate) fn act(&self, op: &Op) {
        match op {
            Op::Send { .. }
            | Op::SendTogether { .. }
            | Op::Cut { .. }
            | Op::Garbage { .. }
            | Op::HalfClose => {
                for write in writes(op, ByteOrder::Big) {
                    self.queue(write);
                }
            }
            Op::Complete { id, how } => self.recording.complete(*id, *how),
            Op::CompleteBody { id, how } => self.recording.complete_body(*id, *how),
            Op::ServerDisconnect { .. }
            | Op::Shutdown { .. }
            | Op::List
            | Op::Cancel { .. }
            | Op::CancelAll
            | Op::Disconnect { .. }
            | Op::Close
            | Op::DropConnection
            | Op::EndContext => self.program(op),
            _ => self.network(op),
        }
    }

    fn queue(&self, write: Write) {
        drop(self.writes.send(write));
    }

    /// What becomes of the bytes on their way.
    fn network(&self, op: &Op) {
        let (client, server) = (&self.connector.client, &self.server.name);
        let network = self.world.network();
        match op {
            Op::Leave => {
                self.reading.tell(Reading::Gone);
            }
            Op::Reset | Op::TransportError { .. } => {
                network.strike(client, server, End::Client, Fault::Reset);
            }
            Op::StopReading => {
                self.read(Reading::Stopped);
            }
            Op::ReadSlowly { bytes, every_ms } => {
                self.read(Reading::Slowly {
                    bytes: *bytes,
                    every: Duration::from_millis((*every_ms).max(1)),
                });
            }
            Op::ReadAll => self.read(Reading::All),
            Op::StallWriting => {
                network.cut(server, client);
            }
            Op::StallReading => {
                network.cut(client, server);
            }
            Op::Unstall => network.heal_both_ways(client, server),
            _ => {}
        }
    }

    fn read(&self, reading: Reading) {
        if self.reading.get() != Reading::Gone {
            self.reading.tell(reading);
        }
    }

    /// What the server's program calls.
    fn program(&self, op: &Op) {
        let ms = Duration::from_millis;
        let server = self.server.host.server();
        let of_server = |call: Call, act: &dyn Fn()| {
            let (name, generation) = (&self.server.name, self.server.generation());
            let begun = self.connections.begin_call(name, generation, call);
            act();
            Connections::end_call(begun);
        };
        if let Op::ServerDisconnect { after_ms } = *op {
            of_server(Call::ServerDisconnect { after_ms }, &|| {
                server.disconnect(ms(after_ms));
            });
        }
        let Some(handle) = self.handle() else { return };
        let called = |call: Call, act: &dyn Fn(&ClientHandle)| {
            self.recording.called(call, || {
                act(&handle);
                Returned::Nothing
            });
        };
        match *op {
            Op::List => self.recording.called(Call::List, || {
                Returned::Tasks(handle.tasks().iter().map(|id| id.0).collect())
            }),
            Op::Cancel { id } => called(Call::Cancel { id }, &|handle| handle.cancel(TaskId(id))),
            Op::CancelAll => called(Call::CancelAll, &ClientHandle::cancel_all),
            Op::Disconnect { after_ms } => called(Call::Disconnect { after_ms }, &|handle| {
                handle.disconnect(ms(after_ms));
            }),
            Op::Close => called(Call::Close, &ClientHandle::close),
            Op::EndContext => called(Call::EndContext, &|handle| {
                self.server.contexts.end(handle.endpoints());
            }),
            _ => {}
        }
    }

    /// The server's handle of the present connection, while it is open.
    fn handle(&self) -> Option<ClientHandle> {
        let clients = self.server.host.server().clients();
        let mut clients = clients.into_iter();
        clients.find(|client| client.endpoints().to_string() == self.connection)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle().is_none()
    }

    /// Reads all that comes, from now on.
    pub(crate) fn read_all(&self) {
        self.read(Reading::All);
    }

    pub(crate) fn end(&self) {
        self.queue(Write::End);
    }

    pub(crate) fn disconnect(&self) {
        self.program(&Op::Disconnect { after_ms: 500 });
    }

    /// It goes away, whatever is left.
    pub(crate) fn leave(&self) {
        self.reading.tell(Reading::Gone);
    }
}

type Started = (
    (String, Recording),
    mpsc::UnboundedSender<Write>,
    Told<Reading>,
);

fn start(
    network: &Network,
    host: &Host,
    connector: &TapConnector,
    server: &PlannedServer,
) -> Started {
    let (named, connected) = connector.begin(&server.name);
    let (writes, to_write) = mpsc::unbounded_channel();
    let reading = Told::new(Reading::All);
    let mode = reading.clone();
    let (spawner, network) = (host.executor().clone(), network.clone());
    let (client, server) = (connector.client.clone(), server.name.clone());
    let reset = move || {
        network.strike(&client, &server, End::Client, Fault::Reset);
    };
    host.executor().spawn_as("wire", async move {
        let stream = tokio::select! {
            biased;
            () = mode.until(Reading::Gone) => return,
            stream = connected => stream,
        };
        let Ok(stream) = stream else { return };
        let handle = stream.handle();
        let (from, to) = tokio::io::split(stream);
        spawner.spawn_as("reader", read(from, mode.clone(), handle));
        spawner.spawn_as("writer", write(to, to_write, mode, reset));
    });
    (named, writes, reading)
}

/// What a client takes before it stops, in bytes and in reads: garbage may ask for
/// gigabytes, and get them in grains within one instant.
const RECEIVED_MOST: usize = 4 << 20;
const READS_MOST: usize = 50_000;

async fn read(mut from: impl AsyncRead + Unpin, mode: Told<Reading>, link: LinkHandle) {
    let takes = |appetite| link.set_appetite(End::Client, appetite);
    let mut buffer = vec![0; 1 << 16];
    let (mut received, mut reads) = (0, 0);
    while received < RECEIVED_MOST && reads < READS_MOST {
        let reading = mode.get();
        let (most, pause) = match reading {
            Reading::Gone => return,
            Reading::Stopped => (0, Duration::ZERO),
            Reading::Slowly { bytes, every } => (bytes.clamp(1, buffer.len()), every),
            Reading::All => (buffer.len(), Duration::ZERO),
        };
        takes(match reading {
            Reading::All => Appetite::Hungry,
            _ => Appetite::Slow,
        });
        let step = async {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            match most {
                0 => std::future::pending().await,
                most => from.read(&mut buffer[..most]).await,
            }
        };
        let read = tokio::select! {
            biased;
            _ = mode.other_than(reading) => continue,
            read = step => read,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(read) => (received, reads) = (received + read, reads + 1),
        }
    }
    if received >= RECEIVED_MOST || reads >= READS_MOST {
        takes(Appetite::Slow);
    }
    // The stream stays until the client leaves.
    mode.until(Reading::Gone).await;
}

async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut writes: mpsc::UnboundedReceiver<Write>,
    mode: Told<Reading>,
    reset: impl Fn() + Send,
) {
    let writing = async {
        while let Some(write) = writes.recv().await {
            match write {
                Write::Bytes(bytes) => {
                    if to.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Write::Pause(time) => tokio::time::sleep(time).await,
                Write::End => {
                    drop(to.shutdown().await);
                    break;
                }
                Write::Reset => {
                    reset();
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = mode.until(Reading::Gone) => {}
        () = writing => {}
    }
}
