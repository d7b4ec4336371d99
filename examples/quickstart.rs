//! The quickstart of README and of the front page; run it with `cargo run --example quickstart`.

use std::time::Duration;

use asyncserver::client::Client;
use asyncserver::runtime::tcp::TcpListener;
use asyncserver::server::{Server, TaskContext};
use asyncserver::wire::TaskCode;
use bytes::Bytes;

const SHOUT: TaskCode = TaskCode(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server with one task: a function of the task and its message.
    let server = Server::builder()
        .task(SHOUT, "shout", async |_: TaskContext, message: Bytes| {
            Ok(message.to_ascii_uppercase())
        })
        .build();
    let serving = server.serve(TcpListener::bind("127.0.0.1:0").await?);
    let address = serving.local_address().cloned().ok_or("no address")?;

    // A client: calls run concurrently over one connection, and dropping one cancels it.
    let client = Client::new(address);
    let answer = client.call(SHOUT, "hello").await?;
    println!("{}", String::from_utf8_lossy(&answer));

    // The end: no new requests, and ten seconds for those under way.
    let report = serving.shutdown(Duration::from_secs(10)).await;
    println!("everything was answered: {}", report.is_clean());
    Ok(())
}
