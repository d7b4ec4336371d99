//! Faults over any byte stream: TCP, turmoil's, one in memory.

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use crate::link::{End, LinkHandle, LinkPlan, LinkStream, link};
use crate::rng::Seed;
use crate::time::Probe;

/// A stream with faults, and what it needs to work.
///
/// The application has a [`LinkStream`], the near end of a simulated
/// connection; the far end is copied to and from the stream that is wrapped, by
/// [`FaultTransport::carry`], as a kernel does: what was written still arrives
/// when the application has closed.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver_sim::{End, Fault, FaultTransport, LinkPlan, Probe, Seed, SimTime, Trace};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let (ours, mut theirs) = tokio::io::duplex(64);
/// let probe = Probe::new(SimTime::from_now(), Trace::off());
/// let wrapped = FaultTransport::wrap(ours, End::Client, "link 1", LinkPlan::default(), Seed(1), &probe);
/// let (mut stream, handle) = wrapped.spawn();
/// stream.write_all(b"hi").await.unwrap();
/// let mut two = [0; 2];
/// theirs.read_exact(&mut two).await.unwrap();
/// handle.strike(End::Client, Fault::Truncate);
/// stream.write_all(b"lost").await.unwrap();
/// assert_eq!(theirs.read(&mut two).await.unwrap(), 0);
/// # });
/// ```
#[derive(Debug)]
pub struct FaultTransport<S> {
    stream: LinkStream,
    handle: LinkHandle,
    far: LinkStream,
    wrapped: S,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> FaultTransport<S> {
    /// Wraps `stream`, of which the application is the end `near`.
    pub fn wrap(
        stream: S,
        near: End,
        name: &str,
        plan: LinkPlan,
        seed: Seed,
        probe: &Probe,
    ) -> Self {
        let (client, server, handle) = link(name, plan, seed, probe);
        let (near, far) = match near {
            End::Client => (client, server),
            End::Server => (server, client),
        };
        Self {
            stream: near,
            handle,
            far,
            wrapped: stream,
        }
    }

    /// The stream for the application, the handle for the faults, and what must
    /// be driven for bytes to move.
    pub fn carry(
        self,
    ) -> (
        LinkStream,
        LinkHandle,
        impl Future<Output = ()> + Send + use<S>,
    ) {
        let Self {
            stream,
            handle,
            mut far,
            mut wrapped,
        } = self;
        let carrying = async move {
            if copy_bidirectional(&mut far, &mut wrapped).await.is_err() {
                // Whichever side failed, the other must not wait for it.
                far.abort();
            }
        };
        (stream, handle, carrying)
    }

    /// The same, driven by a task of the Tokio runtime within which it is called.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    pub fn spawn(self) -> (LinkStream, LinkHandle) {
        let (stream, handle, carrying) = self.carry();
        drop(tokio::spawn(carrying));
        (stream, handle)
    }
}
