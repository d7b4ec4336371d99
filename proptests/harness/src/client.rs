//! The client of a played scenario: it writes what it is told, in order, and
//! reads as it is told; it records both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oracle::{Direction, Hex, What};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use crate::executor::WatchedExecutor;
use crate::transport::Network;
use crate::world::{World, lock};
use crate::writes::Write;

/// What a server may send before the client stops reading, in bytes, and in
/// fillings of the transport: a scenario by chance may ask for gigabytes.
const RECEIVED_MOST: usize = 4 << 20;
const FILLINGS_MOST: usize = 20_000;

/// How the client's bytes are cut before they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Splits {
    /// As the scenario says.
    #[default]
    AsSaid,
    /// Byte by byte: the first 600 of each piece, then in growing pieces.
    EachByte,
}

/// How the client reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    All,
    Stopped,
    Slowly { bytes: usize, every: Duration },
    Gone,
}

/// Whether the client can still send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    Over,
}

/// The client's own state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Shared>);

struct Shared {
    world: World,
    network: Arc<dyn Network>,
    writes: mpsc::UnboundedSender<Write>,
    reading: watch::Sender<Reading>,
    sending: Mutex<Sending>,
    /// Bytes that were recorded as sent and not taken yet.
    untaken: AtomicUsize,
    received: AtomicUsize,
    received_most: usize,
}

impl Client {
    /// Starts reading and writing.
    pub(crate) fn start<C>(
        world: &World,
        executor: &WatchedExecutor,
        stream: C,
        network: Arc<dyn Network>,
        (splits, capacity_bytes): (Splits, usize),
    ) -> Self
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (writes, to_write) = mpsc::unbounded_channel();
        let (reading, mode) = watch::channel(Reading::All);
        let client = Self(Arc::new(Shared {
            world: world.clone(),
            network,
            writes,
            reading,
            sending: Mutex::new(Sending::Open),
            untaken: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            received_most: RECEIVED_MOST.min(FILLINGS_MOST * capacity_bytes),
        }));
        let (from, to) = tokio::io::split(stream);
        executor.run_beside(Box::pin(client.clone().read(from, mode)));
        executor.run_beside(Box::pin(client.clone().write(to, to_write, splits)));
        client
    }

    /// Adds to what is to be written.
    pub(crate) fn queue(&self, write: Write) {
        drop(self.0.writes.send(write));
    }

    pub(crate) fn set_reading(&self, reading: Reading) {
        self.0.reading.send_replace(reading);
    }

    pub(crate) fn reading(&self) -> Reading {
        *self.0.reading.borrow()
    }

    /// The client goes away at once.
    pub(crate) fn leave(&self) {
        if self.end_sending() {
            self.0.world.record(What::ClientEnded);
        }
        self.set_reading(Reading::Gone);
        self.0.network.leave();
    }

    /// The connection is reset at once.
    pub(crate) fn reset(&self) {
        self.end_sending();
        self.0.world.record(What::ClientReset);
        self.set_reading(Reading::Gone);
        self.0.network.reset();
    }

    /// What was recorded as sent and never taken is taken back.
    pub(crate) fn take_back_untaken(&self) {
        self.end_sending();
        let untaken = self.0.untaken.swap(0, Ordering::Relaxed);
        if untaken > 0 {
            self.0.world.record(What::Unsent(untaken as u64));
        }
    }

    /// Lets the client read what is on its way to it, and no time pass.
    pub(crate) async fn read_what_waits(&self) {
        let waiting = self.0.network.waiting(Direction::ToClient);
        let until = self.0.received.load(Ordering::Relaxed) + waiting;
        for _ in 0..1000 + waiting {
            let is_read = self.0.received.load(Ordering::Relaxed) >= until;
            if is_read || self.reading() != Reading::All {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn is_over(&self) -> bool {
        *lock(&self.0.sending) == Sending::Over
    }

    /// Whether it was open until now.
    fn end_sending(&self) -> bool {
        std::mem::replace(&mut *lock(&self.0.sending), Sending::Over) == Sending::Open
    }

    async fn read(self, mut from: ReadHalf<impl AsyncRead>, mut mode: watch::Receiver<Reading>) {
        let world = &self.0.world;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let reading = *mode.borrow_and_update();
            let most = match reading {
                Reading::Gone => return,
                Reading::Stopped => 0,
                Reading::Slowly { bytes, .. } => bytes.clamp(1, buffer.len()),
                Reading::All => buffer.len(),
            };
            let step = async {
                if let Reading::Slowly { every, .. } = reading {
                    world.sleep(every.max(Duration::from_millis(1))).await;
                }
                match most {
                    0 => std::future::pending().await,
                    most => from.read(&mut buffer[..most]).await,
                }
            };
            let read = tokio::select! {
                biased;
                _ = mode.changed() => continue,
                read = step => read,
            };
            match read {
                Ok(0) => return world.record(What::ServerEnded),
                Ok(read) => self.received(&buffer[..read]),
                Err(_) => return world.record(What::ServerReset),
            }
        }
    }

    fn received(&self, bytes: &[u8]) {
        let world = &self.0.world;
        world.record(What::Received(Hex(bytes.to_vec())));
        let received = self.0.received.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if received > self.0.received_most && self.reading() != Reading::Stopped {
            world.record(What::Stalled(Direction::ToClient));
            self.set_reading(Reading::Stopped);
        }
    }

    /// Whether it has taken as much as it ever will.
    pub(crate) fn is_full(&self) -> bool {
        self.0.received.load(Ordering::Relaxed) > self.0.received_most
    }

    async fn write(
        self,
        mut to: WriteHalf<impl AsyncWrite>,
        mut writes: mpsc::UnboundedReceiver<Write>,
        splits: Splits,
    ) {
        while let Some(write) = writes.recv().await {
            if self.is_over() {
                continue;
            }
            match write {
                Write::Bytes(bytes) => self.send(&mut to, &bytes, splits).await,
                Write::Pause(time) => self.0.world.sleep(time).await,
                Write::Reset => self.reset(),
                Write::End => {
                    self.end_sending();
                    self.0.world.record(What::ClientEnded);
                    drop(to.shutdown().await);
                }
            }
        }
    }

    async fn send(&self, to: &mut WriteHalf<impl AsyncWrite>, bytes: &[u8], splits: Splits) {
        let mut rest = bytes;
        let mut sent = 0;
        while !rest.is_empty() && !self.is_over() {
            let most = match splits {
                Splits::AsSaid => rest.len(),
                Splits::EachByte => (sent / 600).max(1),
            };
            let (piece, behind) = rest.split_at(most.min(rest.len()));
            self.send_piece(to, piece).await;
            if splits == Splits::EachByte {
                // The server looks at each piece before the next one comes.
                tokio::task::yield_now().await;
            }
            (sent, rest) = (sent + piece.len(), behind);
        }
    }

    async fn send_piece(&self, to: &mut WriteHalf<impl AsyncWrite>, mut piece: &[u8]) {
        self.0.world.record(What::Sent(Hex(piece.to_vec())));
        self.0.untaken.store(piece.len(), Ordering::Relaxed);
        while !piece.is_empty() {
            match to.write(piece).await {
                Ok(taken) if taken > 0 => {
                    piece = &piece[taken..];
                    self.0.untaken.store(piece.len(), Ordering::Relaxed);
                }
                _ => return self.take_back_untaken(),
            }
        }
    }
}
