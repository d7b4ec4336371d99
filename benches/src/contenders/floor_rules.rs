//! The floor of a server that keeps the rules of the protocol: the least that those
//! rules take of it which concern every request, each in the cheapest way that we know,
//! once for all requests of a read where that will do.
//!
//! - Handles list, find and cancel tasks from any thread: the tasks are behind a lock,
//!   with when each of them began. Functions run without it.
//! - Limits: how many tasks there are, how many bytes of messages they hold, and how many
//!   bytes are unsent, of the connection and of the server (L5, L6, L7, L16).
//! - A function is given a context, by which it reaches its connection.
//! - A request counts as answered once the transport has taken all of its answer (D9).
//! - Deadlines: the clock is read once for all that a read brought (L1 to L3, T12).

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use asyncserver::wire::{WholeMessage, encode_message};
use bytes::{Buf, BufMut, Bytes};
use hashbrown::HashMap;
use tokio::net::{TcpListener, TcpStream};

use super::lent::LentBuffers;
use super::{Contender, Served, Silent};
use crate::handler::Handler;
use crate::load::HEADER_BYTES;
use crate::server::ServerSettings;

pub(super) struct FloorOfRules;

/// Calls a function and polls its future, of a type that is not known here, in the box
/// that a former one left if that fits.
type Function = Box<dyn Fn(&mut Spare, TaskContext, Bytes) -> Poll<Bytes> + Send + Sync>;
type Spare = Option<Box<dyn Any + Send>>;

fn function<F, Fut>(function: F) -> Function
where
    F: Fn(TaskContext, Bytes) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Bytes> + Send + 'static,
{
    Box::new(move |spare, context, message| {
        type Slot<Fut> = Pin<Box<Option<Fut>>>;
        if !spare.as_ref().is_some_and(|spare| spare.is::<Slot<Fut>>()) {
            *spare = Some(Box::new(Box::pin(None::<Fut>)));
        }
        let slot = spare.as_mut().and_then(|spare| spare.downcast_mut());
        let slot: &mut Slot<Fut> = slot.expect("it fits");
        slot.set(Some(function(context, message)));
        let mut cx = Context::from_waker(Waker::noop());
        let future = slot.as_mut().as_pin_mut().expect("it is there");
        let polled = future.poll(&mut cx);
        slot.set(None);
        polled
    })
}

/// A limit, and what is counted for it.
struct Limited {
    limit: usize,
    counted: AtomicUsize,
}

impl Limited {
    const fn new(limit: usize) -> Self {
        Self {
            limit,
            counted: AtomicUsize::new(0),
        }
    }

    fn add(&self, more: usize) {
        let before = self.counted.fetch_add(more, Ordering::Relaxed);
        assert!(before + more <= self.limit, "the load is within the limits");
    }

    fn remove(&self, fewer: usize) {
        self.counted.fetch_sub(fewer, Ordering::Relaxed);
    }
}

/// What all connections share.
struct Server {
    functions: HashMap<u8, Function>,
    tasks: Limited,
    held_bytes: Limited,
    unsent_bytes: Limited,
}

/// What handles, functions and the connection share.
struct Session {
    server: Arc<Server>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: HashMap<u32, Task>,
    held_bytes: usize,
    /// How long the answers are that the transport has not taken.
    unsent: VecDeque<usize>,
    answered: usize,
}

struct Task {
    #[expect(dead_code, reason = "it is for handles, of which there are none")]
    listed: Listed,
    held_bytes: usize,
}

/// What a handle would show of a task.
#[expect(dead_code, reason = "it is for handles, of which there are none")]
struct Listed {
    code: u8,
    began: Instant,
}

/// What a function knows of its task.
#[expect(dead_code, reason = "the functions here need nothing of it")]
struct TaskContext {
    session: Arc<Session>,
    id: u32,
}

impl Contender for FloorOfRules {
    fn name(&self) -> &'static str {
        "floor-rules"
    }

    fn serve(&self, listener: TcpListener, _: &ServerSettings) -> Box<dyn Served> {
        let ready = function(async |context, message| {
            drop(context);
            message
        });
        let server = Arc::new(Server {
            functions: [(Handler::Ready.code().0, ready)].into_iter().collect(),
            tasks: Limited::new(1 << 16),
            held_bytes: Limited::new(1 << 30),
            unsent_bytes: Limited::new(1 << 30),
        });
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a connection");
                let mut connection = Connection::new(stream, Arc::clone(&server));
                tokio::spawn(poll_fn(move |cx| connection.poll_serve(cx)));
            }
        });
        Box::new(Silent)
    }
}

/// A request that has been entered, and its message.
struct Entered {
    code: u8,
    id: u32,
    message: Bytes,
}

struct Connection {
    stream: TcpStream,
    session: Arc<Session>,
    buffers: LentBuffers,
    spare: Spare,
    entered: Vec<Entered>,
    answers: Vec<(u32, Bytes)>,
    last_active: Instant,
}

impl Connection {
    fn new(stream: TcpStream, server: Arc<Server>) -> Self {
        Self {
            stream,
            session: Arc::new(Session {
                server,
                state: Mutex::default(),
            }),
            buffers: LentBuffers::default(),
            spare: None,
            entered: Vec::new(),
            answers: Vec::new(),
            last_active: Instant::now(),
        }
    }

    /// One read, and one write of all that it brought, until there is nothing to read.
    /// Ready at the connection's end.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.turns(cx);
        self.buffers.give_back();
        polled
    }

    fn turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let read = self.buffers.get().poll_read(&mut self.stream, cx);
            match read {
                Poll::Ready(0) => return Poll::Ready(()),
                Poll::Ready(end) => {
                    self.last_active = Instant::now();
                    self.enter(end);
                    self.run();
                    self.answer();
                }
                Poll::Pending => {}
            }
            let buffers = self.buffers.get();
            let has_answers = !buffers.unsent.is_empty();
            if ready!(buffers.poll_write(&mut self.stream, cx)).is_err() {
                return Poll::Ready(());
            }
            if has_answers {
                self.count_answered();
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn enter(&mut self, end: usize) {
        let server = &self.session.server;
        let buffers = self.buffers.get();
        let input = &buffers.input;
        let mut state = self.session.state.lock().expect("nobody panics with it");
        let (mut at, before) = (0, state.held_bytes);
        while end - at > HEADER_BYTES
            && let Some(whole) = WholeMessage::find(&input[..end], at + HEADER_BYTES)
        {
            let mut header = &input[at..at + HEADER_BYTES];
            let (code, id) = (header.get_u8(), header.get_u32());
            let message = whole.payload(&input[..end]);
            let began = self.last_active;
            let task = Task {
                listed: Listed { code, began },
                held_bytes: message.len(),
            };
            state.held_bytes += message.len();
            let is_new = state.tasks.insert(id, task).is_none();
            assert!(is_new, "the load uses each id once at a time");
            self.entered.push(Entered { code, id, message });
            at = whole.encoded.end;
        }
        server.tasks.add(self.entered.len());
        server.held_bytes.add(state.held_bytes - before);
        drop(state);
        buffers.keep(at, end);
    }

    fn run(&mut self) {
        let functions = &self.session.server.functions;
        for Entered { code, id, message } in self.entered.drain(..) {
            let function = functions.get(&code).expect("a function of this code");
            let session = Arc::clone(&self.session);
            let (context, spare) = (TaskContext { session, id }, &mut self.spare);
            match catch_unwind(AssertUnwindSafe(|| function(spare, context, message))) {
                Ok(Poll::Ready(answer)) => self.answers.push((id, answer)),
                Ok(Poll::Pending) | Err(_) => unreachable!("it is ready at once"),
            }
        }
    }

    fn answer(&mut self) {
        let server = &self.session.server;
        let unsent = &mut self.buffers.get().unsent;
        let mut state = self.session.state.lock().expect("nobody panics with it");
        let (held, unsent_before) = (state.held_bytes, unsent.len());
        for (id, answer) in &self.answers {
            let task = state.tasks.remove(id).expect("it is answered once");
            state.held_bytes -= task.held_bytes;
            let before = unsent.len();
            unsent.put_u8(0);
            unsent.put_u32(*id);
            encode_message(answer, unsent);
            state.unsent.push_back(unsent.len() - before);
        }
        server.tasks.remove(self.answers.len());
        server.held_bytes.remove(held - state.held_bytes);
        server.unsent_bytes.add(unsent.len() - unsent_before);
        drop(state);
        self.answers.clear();
    }

    /// The transport has taken all that there was.
    fn count_answered(&mut self) {
        let mut state = self.session.state.lock().expect("nobody panics with it");
        let mut bytes = 0;
        while let Some(length) = state.unsent.pop_front() {
            bytes += length;
            state.answered += 1;
        }
        self.session.server.unsent_bytes.remove(bytes);
    }
}
