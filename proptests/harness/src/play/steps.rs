//! What each step does.

use std::time::Duration;

use asyncserver::wire::TaskId;
use oracle::{Call, Direction, Op, Request, Returned, What};

use super::player::{Player, Writing};
use crate::client::Reading;
use crate::world::lock;
use crate::writes::{Write, writes};

impl Player {
    pub(super) fn send(&self, request: &Request) {
        let bytes = request.encode(self.program.config.byte_order.into());
        self.client.queue(Write::Bytes(bytes));
    }

    /// What the client sends.
    pub(super) fn send_step(&self, op: &Op) {
        for write in writes(op, self.program.config.byte_order.into()) {
            self.client.queue(write);
        }
    }

    /// What becomes of the bytes on their way.
    pub(super) async fn network_step(&self, op: &Op) {
        let stalled = |direction| self.world.record(What::Stalled(direction));
        let is_there = self.client.reading() != Reading::Gone;
        match op {
            Op::Leave if is_there => self.client.leave(),
            Op::Reset if is_there => self.client.reset(),
            Op::StopReading if is_there => {
                stalled(Direction::ToClient);
                self.client.set_reading(Reading::Stopped);
            }
            Op::ReadSlowly { bytes, every_ms } if is_there => {
                stalled(Direction::ToClient);
                self.client.set_reading(Reading::Slowly {
                    bytes: *bytes,
                    every: Duration::from_millis(*every_ms),
                });
            }
            Op::ReadAll if is_there => self.read_all().await,
            Op::StallWriting => {
                stalled(Direction::ToClient);
                self.network.hold(Direction::ToClient);
                self.writing.set(Writing::Held);
            }
            Op::StallReading => {
                stalled(Direction::ToServer);
                self.network.hold(Direction::ToServer);
            }
            Op::Unstall => {
                self.network.release();
                self.writing.set(Writing::Moves);
                self.world.record(What::Flowing(Direction::ToServer));
                if self.client.reading() == Reading::All {
                    self.world.record(What::Flowing(Direction::ToClient));
                    self.client.read_what_waits().await;
                }
            }
            Op::TransportError { after_bytes } => {
                if *after_bytes == 0 {
                    self.world.record(What::ClientReset);
                }
                self.network.fail_server(*after_bytes);
            }
            _ => {}
        }
    }

    async fn read_all(&self) {
        if self.client.is_full() {
            return;
        }
        self.client.set_reading(Reading::All);
        if self.writing.get() == Writing::Held {
            return;
        }
        self.world.record(What::Flowing(Direction::ToClient));
        self.client.read_what_waits().await;
    }

    /// What the server's program calls. Handles may outlive their connection.
    pub(super) fn program_step(&self, op: &Op) {
        let ms = Duration::from_millis;
        let called = |what: Call, call: &dyn Fn()| {
            self.world.called(what, || {
                call();
                Returned::Nothing
            });
        };
        match *op {
            Op::ServerDisconnect { after_ms } => {
                let call = Call::ServerDisconnect { after_ms };
                let server = &self.program.server;
                self.program
                    .called_for_all(call, || server.disconnect(ms(after_ms)));
            }
            Op::EndContext => called(Call::EndContext, &|| self.context.cancel()),
            Op::DropConnection => {
                called(Call::Close, &|| drop(lock(&self.connection).future.take()));
                // The connection does not wake who can poll it no more.
                if let Some(poller) = lock(&self.connection).poller.take() {
                    poller.wake();
                }
            }
            Op::Shutdown { after_ms } => self.program.shutdown(after_ms),
            _ => {}
        }
        let Some(client) = &self.handle else {
            return;
        };
        match *op {
            Op::List => self.world.called(Call::List, || {
                Returned::Tasks(client.tasks().iter().map(|id| id.0).collect())
            }),
            Op::Cancel { id } => called(Call::Cancel { id }, &|| client.cancel(TaskId(id))),
            Op::CancelAll => called(Call::CancelAll, &|| client.cancel_all()),
            Op::Disconnect { after_ms } => {
                called(Call::Disconnect { after_ms }, &|| {
                    client.disconnect(ms(after_ms));
                });
            }
            Op::Close => called(Call::Close, &|| client.close()),
            _ => {}
        }
    }
}
