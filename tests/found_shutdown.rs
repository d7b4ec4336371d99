//! Found: a connection whose handshake ends while a shutdown is called is not
//! disconnected by it.

mod wire_client;

use std::sync::{Arc, Mutex};

use asyncserver::runtime::{Endpoints, Transport, memory};
use asyncserver::server::*;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use wire_client::*;

type Shutdown = Box<dyn FnOnce() + Send>;

/// Succeeds at the very moment at which the server is shut down.
struct Racing(Arc<Mutex<Option<Shutdown>>>);

impl<S: Transport> Handshake<S> for Racing {
    type Transport = S;

    async fn perform(
        &self,
        stream: S,
        _: &Endpoints,
    ) -> Result<(S, ConnectionOptions), HandshakeError> {
        // In real life another thread does this, after the server has looked
        // whether it is being shut down and before the client is listed.
        if let Some(shutdown) = self.0.lock().unwrap().take() {
            shutdown();
        }
        Ok((stream, ConnectionOptions::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn d6_a_shutdown_reaches_a_connection_whose_handshake_ends_meanwhile() {
    let racing = Arc::new(Mutex::new(None));
    let server = Server::builder().build();
    let (listener, connector) = memory::listener("server", 64);
    let serving = server.serve_with(listener, Racing(racing.clone()));
    let drain = Arc::new(Mutex::new(None));
    let began_drain = drain.clone();
    *racing.lock().unwrap() = Some(Box::new(move || {
        *began_drain.lock().unwrap() = Some(serving.shutdown(ms(1000)));
    }) as Shutdown);
    let began = Instant::now();
    let mut stream = connector.connect("client").unwrap();
    // Disconnected or refused: its stream ends.
    let read = tokio::time::timeout(ms(3000), stream.read(&mut [0; 1])).await;
    assert_eq!(read.expect("nobody told it").unwrap(), 0);
    assert!(began.elapsed() <= ms(1500));
    let drain = drain.lock().unwrap().take().expect("it was called");
    assert!(drain.await.stuck.is_empty());
}
