//! tonic: unary calls of prost messages, one channel a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use self::generated::echo_client::EchoClient;
use self::generated::echo_server::{Echo, EchoServer};
use super::{Contender, MOST_MESSAGE_BYTES, Served, Silent};
use crate::handler::{BurnSteps, Handler, SLEEP};
use crate::load::calls::Caller;
use crate::load::{ClientLoads, With};
use crate::server::ServerSettings;

pub(super) struct Tonic;

/// The message of every method, as it would be declared in a `.proto` file.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Echoed {
    #[prost(bytes = "bytes", tag = "1")]
    payload: Bytes,
}

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::use_self,
    reason = "tonic-build made it"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/benches.Echo.rs"));
}

impl Contender for Tonic {
    fn name(&self) -> &'static str {
        "tonic"
    }

    fn serve(&self, listener: TcpListener, settings: &ServerSettings) -> Box<dyn Served> {
        let service = Service {
            burn: settings.burn(),
        };
        let service = EchoServer::new(service)
            .max_decoding_message_size(MOST_MESSAGE_BYTES)
            .max_encoding_message_size(MOST_MESSAGE_BYTES);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder()
            // Its default would let no more than 200 calls be in flight.
            .max_concurrent_streams(1024)
            .serve_with_incoming(service, incoming);
        tokio::spawn(serving);
        Box::new(Silent)
    }

    fn client(&self) -> &'static dyn ClientLoads {
        &With::<TonicClient>::NEW
    }
}

struct Service {
    burn: BurnSteps,
}

type Answer = Result<Response<Echoed>, Status>;

#[tonic::async_trait]
impl Echo for Service {
    async fn ready(&self, request: Request<Echoed>) -> Answer {
        Ok(Response::new(request.into_inner()))
    }

    async fn yield_once(&self, request: Request<Echoed>) -> Answer {
        tokio::task::yield_now().await;
        Ok(Response::new(request.into_inner()))
    }

    async fn sleep(&self, request: Request<Echoed>) -> Answer {
        tokio::time::sleep(SLEEP).await;
        Ok(Response::new(request.into_inner()))
    }

    async fn burn(&self, request: Request<Echoed>) -> Answer {
        self.burn.burn();
        Ok(Response::new(request.into_inner()))
    }

    async fn wait(&self, request: Request<Echoed>) -> Answer {
        std::future::pending::<()>().await;
        Ok(Response::new(request.into_inner()))
    }
}

#[derive(Clone)]
struct TonicClient(EchoClient<Channel>);

impl Caller for TonicClient {
    async fn connect(address: SocketAddr) -> Self {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("it accepts");
        let client = EchoClient::new(channel)
            .max_decoding_message_size(MOST_MESSAGE_BYTES)
            .max_encoding_message_size(MOST_MESSAGE_BYTES);
        Self(client)
    }

    async fn call(&self, handler: Handler, payload: Bytes) -> Bytes {
        let (mut client, request) = (self.0.clone(), Echoed { payload });
        let answer = match handler {
            Handler::Ready => client.ready(request).await,
            Handler::Yield => client.yield_once(request).await,
            Handler::Sleep => client.sleep(request).await,
            Handler::Burn => client.burn(request).await,
            Handler::Wait => client.wait(request).await,
        };
        answer.expect("the call succeeds").into_inner().payload
    }
}
