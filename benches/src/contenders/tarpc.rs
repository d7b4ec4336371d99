//! tarpc: bincode over TCP. Messages are `Bytes`, which bincode copies as a
//! whole; a `Vec<u8>` would go byte by byte.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt;
use tarpc::serde_transport::Transport;
use tarpc::server::{BaseChannel, Channel, Config};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};

use self::service::{Echo, EchoClient};
use super::{Contender, MOST_MESSAGE_BYTES, Served, Silent};
use crate::handler::{BurnSteps, Handler, SLEEP};
use crate::load::calls::Caller;
use crate::load::{ClientLoads, With};
use crate::server::ServerSettings;

pub(super) struct Tarpc;

#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "tarpc makes most of it"
)]
mod service {
    use bytes::Bytes;

    #[tarpc::service]
    pub trait Echo {
        async fn ready(message: Bytes) -> Bytes;
        async fn yield_once(message: Bytes) -> Bytes;
        async fn sleep(message: Bytes) -> Bytes;
        async fn burn(message: Bytes) -> Bytes;
        async fn wait(message: Bytes) -> Bytes;
    }
}

/// As many calls as the workloads have in flight on a connection; tarpc's
/// defaults are below that.
const IN_FLIGHT: usize = 1024;

impl Contender for Tarpc {
    fn name(&self) -> &'static str {
        "tarpc"
    }

    fn serve(&self, listener: TcpListener, settings: &ServerSettings) -> Box<dyn Served> {
        let service = Service {
            burn: settings.burn(),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, service));
            }
        });
        Box::new(Silent)
    }

    fn client(&self) -> &'static dyn ClientLoads {
        &With::<TarpcClient>::NEW
    }
}

async fn serve(stream: TcpStream, service: Service) {
    let config = Config {
        pending_response_buffer: IN_FLIGHT,
    };
    let requests = BaseChannel::new(config, transport(stream)).execute(service.serve());
    let spawned = requests.for_each(|request| async {
        tokio::spawn(request);
    });
    spawned.await;
}

fn transport<Item, SinkItem>(
    stream: TcpStream,
) -> Transport<TcpStream, Item, SinkItem, Bincode<Item, SinkItem>>
where
    Item: for<'de> tarpc::serde::Deserialize<'de>,
    SinkItem: tarpc::serde::Serialize,
{
    stream.set_nodelay(true).expect("an option");
    let mut codec = LengthDelimitedCodec::builder();
    codec.max_frame_length(MOST_MESSAGE_BYTES);
    tarpc::serde_transport::new(codec.new_framed(stream), Bincode::default())
}

#[derive(Clone, Copy)]
struct Service {
    burn: BurnSteps,
}

impl Echo for Service {
    async fn ready(self, _: context::Context, message: Bytes) -> Bytes {
        message
    }

    async fn yield_once(self, _: context::Context, message: Bytes) -> Bytes {
        tokio::task::yield_now().await;
        message
    }

    async fn sleep(self, _: context::Context, message: Bytes) -> Bytes {
        tokio::time::sleep(SLEEP).await;
        message
    }

    async fn burn(self, _: context::Context, message: Bytes) -> Bytes {
        self.burn.burn();
        message
    }

    async fn wait(self, _: context::Context, message: Bytes) -> Bytes {
        std::future::pending::<()>().await;
        message
    }
}

#[derive(Clone)]
struct TarpcClient(EchoClient);

impl Caller for TarpcClient {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let mut config = client::Config::default();
        config.max_in_flight_requests = IN_FLIGHT;
        config.pending_request_buffer = IN_FLIGHT;
        Self(EchoClient::new(config, transport(stream)).spawn())
    }

    async fn call(&self, handler: Handler, message: Bytes) -> Bytes {
        let context = context::current();
        let answer = match handler {
            Handler::Ready => self.0.ready(context, message).await,
            Handler::Yield => self.0.yield_once(context, message).await,
            Handler::Sleep => self.0.sleep(context, message).await,
            Handler::Burn => self.0.burn(context, message).await,
            Handler::Wait => self.0.wait(context, message).await,
        };
        answer.expect("the call succeeds")
    }
}
