//! What goes wrong between hosts, each by itself: without a client that tries
//! again and would hide it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use asyncserver::client::Connector;
use asyncserver::runtime::Listener;
use asyncserver_sim::{Door, End, Fault, LinkStream, Network, Probe, Seed, SimTime, Trace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const MOMENT: Duration = Duration::from_secs(5);

fn network() -> Network {
    let probe = Probe::new(SimTime::from_now(), Trace::off());
    Network::new(Seed(1), probe)
}

async fn connect(network: &Network) -> io::Result<LinkStream> {
    let connector = network.connector("client");
    connector.connect(Network::address("server")).await
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_and_a_door_that_refuses_are_refusals() {
    let network = network();
    let refused = connect(&network).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let _listener = network.listen("server");
    network.set_door("server", Door::Refusing);
    let refused = connect(&network).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    network.set_door("server", Door::Open);
    assert!(connect(&network).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connect_hangs_while_the_door_does_and_leaves_nothing_when_given_up() {
    let network = network();
    let mut listener = network.listen("server");
    network.set_door("server", Door::Hanging);
    assert!(timeout(MOMENT, connect(&network)).await.is_err());
    assert_eq!(network.usage().links, Vec::<String>::new());
    network.set_door("server", Door::Open);
    let stream = connect(&network).await;
    assert!(stream.is_ok());
    let (_, endpoints) = listener.accept().await.unwrap();
    assert_eq!(endpoints.remote.to_string(), "client 2");
}

#[tokio::test(start_paused = true)]
async fn an_accept_fails_as_often_as_told_and_loses_no_connection() {
    let network = network();
    let mut listener = network.listen("server");
    network.fail_accepts("server", 2);
    let _stream = connect(&network).await.unwrap();
    assert!(listener.accept().await.is_err());
    assert!(listener.accept().await.is_err());
    assert!(listener.accept().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_makes_connects_wait_for_an_accept() {
    let network = network();
    let mut listener = network.listen("server");
    let mut held = Vec::new();
    while let Ok(stream) = timeout(MOMENT, connect(&network)).await {
        held.push(stream.unwrap());
    }
    assert_eq!(held.len(), 128);
    drop(listener.accept().await.unwrap());
    assert!(timeout(MOMENT, connect(&network)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_one_direction_holds_that_one_and_connects_until_it_is_healed() {
    for (from, to) in [("client", "server"), ("server", "client")] {
        let network = network();
        let mut listener = network.listen("server");
        let mut client = connect(&network).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        network.cut(from, to);
        client.write_all(b"c").await.unwrap();
        server.write_all(b"s").await.unwrap();
        let at_server = timeout(MOMENT, server.read_u8()).await;
        let at_client = timeout(MOMENT, client.read_u8()).await;
        assert_eq!(at_server.is_err(), from == "client");
        assert_eq!(at_client.is_err(), from == "server");
        assert!(timeout(MOMENT, connect(&network)).await.is_err());
        network.heal(from, to);
        let late = if from == "client" {
            server.read_u8().await
        } else {
            client.read_u8().await
        };
        late.unwrap();
        assert!(connect(&network).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_strike_meets_the_connections_between_the_two_and_no_other() {
    let network = network();
    let mut listener = network.listen("server");
    let mut struck = connect(&network).await.unwrap();
    let other = network.connector("other");
    let mut other = other.connect(Network::address("server")).await.unwrap();
    let (_one, _two) = (listener.accept().await.unwrap(), listener.accept().await);
    network.strike("client", "server", End::Server, Fault::HalfClose);
    assert_eq!(struck.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(timeout(MOMENT, other.read(&mut [0; 1])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn calm_undoes_everything_but_lost_power() {
    let network = network();
    let mut listener = network.listen("server");
    network.set_door("server", Door::Hanging);
    network.fail_accepts("server", 9);
    network.cut_both_ways("client", "server");
    network.power_off("dark");
    network.calm();
    let stream = timeout(MOMENT, connect(&network)).await.unwrap();
    assert!(stream.is_ok());
    assert!(listener.accept().await.is_ok());
    let dark = network.connector("dark");
    let connecting = dark.connect(Network::address("server"));
    assert!(timeout(MOMENT, connecting).await.is_err());
}
