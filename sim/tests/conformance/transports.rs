//! The streams that are compared, each as a pair of connected ends.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use asyncserver_sim::{
    End, FaultTransport, LinkFaults, LinkPlan, Probe, Seed, SimTime, Trace, link,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Tokio's TCP over the loopback of a Linux kernel: what all are measured by.
    Tcp,
    /// Tokio's stream in memory.
    Duplex,
    /// [`link`], without faults.
    Simulated,
    /// [`link`], with delays and sizes at random, by seed.
    Delayed(u64),
    /// [`FaultTransport`] at both ends of a duplex.
    Wrapped,
    /// Turmoil's TCP.
    Turmoil,
    /// [`FaultTransport`] at both ends of turmoil's TCP.
    Adapted,
}

/// Two connected ends, and how long things take between them.
pub(crate) struct Ends {
    pub(crate) near: Box<dyn Stream>,
    pub(crate) far: Box<dyn Stream>,
    pub(crate) pace: Pace,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    Real,
    /// Time that costs nothing.
    Virtual,
}

impl Pace {
    /// After this, nothing is on its way any more. A loopback delivers within
    /// the call that sends.
    pub(crate) const fn settled(self) -> Duration {
        match self {
            Self::Real => Duration::from_millis(20),
            Self::Virtual => Duration::from_millis(500),
        }
    }

    /// What has not happened by then does not.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Real => Duration::from_millis(100),
            Self::Virtual => Duration::from_millis(500),
        }
    }

    /// What takes longer than this is stuck, however much there is to carry.
    pub(crate) const fn transfer(self) -> Duration {
        match self {
            Self::Real => Duration::from_secs(30),
            Self::Virtual => Duration::from_secs(600),
        }
    }
}

/// What one expectation saw.
pub(crate) type Observing = Pin<Box<dyn Future<Output = String>>>;

/// Bytes that duplex holds in each direction.
const DUPLEX: usize = 64;

impl Transport {
    /// Lets `observe` see a fresh pair.
    pub(crate) fn show_to(self, observe: fn(Ends) -> Observing) -> String {
        match self {
            Self::Tcp => block_on(StartPaused::No, async move { observe(tcp().await).await }),
            Self::Turmoil => in_turmoil(observe, |stream, _| Box::new(stream)),
            Self::Adapted => in_turmoil(observe, |stream, end| Box::new(wrap(stream, end))),
            Self::Duplex => on_virtual_time(observe, || {
                let (near, far) = duplex(DUPLEX);
                (Box::new(near), Box::new(far))
            }),
            Self::Wrapped => on_virtual_time(observe, || {
                let (near, far): (DuplexStream, DuplexStream) = duplex(DUPLEX);
                let near = wrap(near, End::Client);
                (Box::new(near), Box::new(wrap(far, End::Server)))
            }),
            Self::Simulated => on_virtual_time(observe, || simulated(LinkPlan::default())),
            Self::Delayed(seed) => on_virtual_time(observe, move || {
                let mut rng = Seed(seed).stream();
                let mut delays = || {
                    let mut faults = LinkFaults::random_delays(&mut rng);
                    // What an expectation writes fits before anybody reads.
                    faults.buffer_bytes = faults.buffer_bytes.max(64);
                    faults
                };
                let (to_server, to_client) = (delays(), delays());
                simulated(LinkPlan {
                    to_server,
                    to_client,
                })
            }),
        }
    }
}

type Pair = (Box<dyn Stream>, Box<dyn Stream>);

fn simulated(plan: LinkPlan) -> Pair {
    let probe = Probe::new(SimTime::from_now(), Trace::off());
    let (near, far, _) = link("link", plan, Seed(1), &probe);
    (Box::new(near), Box::new(far))
}

fn wrap(stream: impl Stream, end: End) -> impl Stream {
    let probe = Probe::new(SimTime::from_now(), Trace::off());
    let plan = LinkPlan::default();
    let wrapped = FaultTransport::wrap(stream, end, "link", plan, Seed(1), &probe);
    wrapped.spawn().0
}

async fn tcp() -> Ends {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = tokio::net::TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    Ends {
        near: Box::new(near),
        far: Box::new(far),
        pace: Pace::Real,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StartPaused {
    Yes,
    No,
}

fn block_on<T>(paused: StartPaused, future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .start_paused(paused == StartPaused::Yes);
    runtime.build().unwrap().block_on(future)
}

fn on_virtual_time(observe: fn(Ends) -> Observing, pair: impl FnOnce() -> Pair) -> String {
    block_on(StartPaused::Yes, async move {
        let ((near, far), pace) = (pair(), Pace::Virtual);
        observe(Ends { near, far, pace }).await
    })
}

/// Both ends on one host: streams of turmoil cannot leave theirs.
fn in_turmoil(
    observe: fn(Ends) -> Observing,
    end_of: fn(turmoil::net::TcpStream, End) -> Box<dyn Stream>,
) -> String {
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(3600))
        .build();
    let (sender, seen) = std::sync::mpsc::channel();
    sim.client("host", async move {
        let listener = turmoil::net::TcpListener::bind("127.0.0.1:9000").await?;
        let connecting = turmoil::net::TcpStream::connect("127.0.0.1:9000");
        let (near, far) = tokio::join!(connecting, listener.accept());
        let ends = Ends {
            near: end_of(near?, End::Client),
            far: end_of(far?.0, End::Server),
            pace: Pace::Virtual,
        };
        sender.send(observe(ends).await)?;
        Ok(())
    });
    sim.run().unwrap();
    seen.recv().unwrap()
}
