//! The floor: the least that a server does which keeps tasks. For each request it
//! copies the message out of what it read, keeps the id in a table until it has
//! answered, and runs a function whose future it does not know, panics caught. It
//! checks nothing else: it has no limits, deadlines, cancels, lists, order of fairness
//! or signs of life.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use asyncserver::wire::encode_message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hashbrown::HashMap;
use tokio::net::{TcpListener, TcpStream};

use super::asyncserver::BaseClient;
use super::lent::LentBuffers;
use super::{Contender, Served, Silent};
use crate::handler::Handler;
use crate::load::{ClientLoads, HEADER_BYTES, With};
use crate::server::ServerSettings;

pub(super) const IN_PLACE: Floor = Floor {
    name: "floor",
    runs: Runs::InPlace,
};
pub(super) const SPAWNED: Floor = Floor {
    name: "floor-spawn",
    runs: Runs::Spawned,
};

pub(super) struct Floor {
    name: &'static str,
    runs: Runs,
}

/// Where a future runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// It is polled once, by its connection, and is ready then.
    InPlace,
    /// In an executor task of its own.
    Spawned,
}

type Answer = Pin<Box<dyn Future<Output = Bytes> + Send>>;
type Function = Box<dyn Fn(Bytes) -> Answer + Send + Sync>;

impl Contender for Floor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serve(&self, listener: TcpListener, _: &ServerSettings) -> Box<dyn Served> {
        let runs = self.runs;
        let functions: Arc<HashMap<u8, Function>> = Arc::new(functions().into_iter().collect());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a connection");
                let mut connection = Connection::new(stream, runs, Arc::clone(&functions));
                tokio::spawn(poll_fn(move |cx| connection.poll_serve(cx)));
            }
        });
        Box::new(Silent)
    }

    fn client(&self) -> &'static dyn ClientLoads {
        &With::<BaseClient>::NEW
    }
}

fn functions() -> [(u8, Function); 3] {
    let ready: Function = Box::new(|message| Box::pin(async move { message }));
    let yields: Function = Box::new(|message| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            message
        })
    });
    let waits: Function = Box::new(|message| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            message
        })
    });
    [
        (Handler::Ready.code().0, ready),
        (Handler::Yield.code().0, yields),
        (Handler::Wait.code().0, waits),
    ]
}

/// What finished tasks of a connection leave to it.
#[derive(Default)]
struct Finished {
    answers: Vec<(u32, Bytes)>,
    waker: Option<Waker>,
}

struct Connection {
    stream: TcpStream,
    runs: Runs,
    functions: Arc<HashMap<u8, Function>>,
    /// The tasks that there are, and their codes.
    tasks: HashMap<u32, u8>,
    finished: Arc<Mutex<Finished>>,
    buffers: LentBuffers,
    /// A write waits for one turn of the scheduler: other tasks may soon have ended, too.
    deferred: bool,
}

impl Connection {
    fn new(stream: TcpStream, runs: Runs, functions: Arc<HashMap<u8, Function>>) -> Self {
        Self {
            stream,
            runs,
            functions,
            tasks: HashMap::new(),
            finished: Arc::default(),
            buffers: LentBuffers::default(),
            deferred: false,
        }
    }

    /// One read, and one write of all that can be answered, until there is nothing to
    /// read. Ready at the connection's end.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.turns(cx);
        self.buffers.give_back();
        polled
    }

    fn turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.take_finished(cx);
            let read = self.buffers.get().poll_read(&mut self.stream, cx);
            match read {
                Poll::Ready(0) => return Poll::Ready(()),
                Poll::Ready(end) => self.take_requests(end),
                Poll::Pending => {}
            }
            let more_comes = self.runs == Runs::Spawned && !self.tasks.is_empty();
            let buffers = self.buffers.get();
            if more_comes && !buffers.unsent.is_empty() && !self.deferred {
                self.deferred = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.deferred = false;
            if ready!(buffers.poll_write(&mut self.stream, cx)).is_err() {
                return Poll::Ready(());
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn take_finished(&mut self, cx: &Context<'_>) {
        if self.runs == Runs::InPlace {
            return;
        }
        let mut finished = self.finished.lock().expect("nobody panics with it");
        finished.waker = Some(cx.waker().clone());
        let answers = std::mem::take(&mut finished.answers);
        drop(finished);
        for (id, answer) in answers {
            self.answer(id, &answer);
        }
    }

    fn take_requests(&mut self, end: usize) {
        let mut at = 0;
        while let Some(behind) = end_of_request(&self.buffers.get().input[at..end]) {
            let mut request = &self.buffers.get().input[at..at + behind];
            let (code, id) = (request.get_u8(), request.get_u32());
            let mut message = BytesMut::with_capacity(request.len());
            loop {
                let block = usize::from(request.get_u8());
                if block == 0 {
                    break;
                }
                message.extend_from_slice(&request[..block]);
                request.advance(block);
            }
            self.run(code, id, message.freeze());
            at += behind;
        }
        self.buffers.get().keep(at, end);
    }

    fn run(&mut self, code: u8, id: u32, message: Bytes) {
        let function = self.functions.get(&code).expect("a function of this code");
        let mut answer = function(message);
        let is_new = self.tasks.insert(id, code).is_none();
        assert!(is_new, "the load uses each id once at a time");
        if self.runs == Runs::InPlace {
            let mut cx = Context::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(&mut cx)));
            match polled {
                Ok(Poll::Ready(answer)) => self.answer(id, &answer),
                Ok(Poll::Pending) | Err(_) => unreachable!("it is ready at once"),
            }
            return;
        }
        let finished = Arc::clone(&self.finished);
        tokio::spawn(async move {
            let answer = answer.await;
            let mut finished = finished.lock().expect("nobody panics with it");
            finished.answers.push((id, answer));
            let waker = finished.waker.take();
            drop(finished);
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }

    fn answer(&mut self, id: u32, answer: &[u8]) {
        assert!(self.tasks.remove(&id).is_some(), "it is answered once");
        let unsent = &mut self.buffers.get().unsent;
        unsent.put_u8(0);
        unsent.put_u32(id);
        encode_message(answer, unsent);
    }
}

/// Where the first request ends, if its end is there.
fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        let block = usize::from(*bytes.get(at)?);
        at += 1 + block;
        if block == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::end_of_request;

    #[test]
    fn a_request_ends_behind_its_empty_block() {
        let requests = [1, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0, 9, 0, 0, 0, 2, 0];
        assert_eq!(end_of_request(&requests), Some(11));
        assert_eq!(end_of_request(&requests[11..]), Some(6));
        for cut in 0..11 {
            assert_eq!(end_of_request(&requests[..cut]), None, "cut at {cut}");
        }
    }
}
