"""PROTOCOL section 8 from the program's side: signals, the grace, the drain report (D1 to D6)."""
import signal
import socket
import threading
import time

from case import Fail, both_orders, case
from wire import BLOCK, ECHO, KEEP_ALIVE, TIDY, UNREGISTERED, Error, Goodbye, Ok, pattern

QUICK = ("--linger", "400ms")
ALL_ANSWERED, INTERRUPTED = 0, 3


def drain(t, *flags, requests=b"", number=signal.SIGTERM, features=None):
    """A server with one client that has sent `requests`, and then the signal."""
    server = t.own(*QUICK, *flags)
    conn = t.connect_to(server)
    if features is None:
        conn.goes_on()
    else:
        conn.negotiate(features)
    conn.send(requests)
    time.sleep(0.25)  # they are accepted by now
    server.signal(number)
    return server, conn


for number in (signal.SIGTERM, signal.SIGINT):
    @case(f"{number.name} ends an idle server at once", "section 11, D6")
    def _(t, number=number):
        server = t.own()
        server.signal(number)
        server.ended(ALL_ANSWERED, within=2)

    @case(f"{number.name} ends an idle connection with FIN", "D1, D3")
    def _(t, number=number):
        server, conn = drain(t, number=number)
        conn.expect_fin(within=2)
        conn.close()
        server.ended(ALL_ANSWERED, within=2)


@case("a client that closes spares the server its linger", "D3")
def _(t):
    server, conn = drain(t, "--linger", "6s", "--grace", "8s")
    conn.expect_fin(within=2)
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("a client that does not close holds the server up for its linger only", "D3")
def _(t):
    server, conn = drain(t, "--linger", "800ms")
    started = time.monotonic()
    conn.expect_fin(within=2)
    server.ended(ALL_ANSWERED, within=3)
    t.check(time.monotonic() - started >= 0.7, "a linger of 0.8 s", f"{time.monotonic() - started:.2f} s")


@case("the linger ends at the deadline", "D3")
def _(t):
    server, conn = drain(t, "--linger", "8s", "--grace", "500ms")
    conn.expect_fin(within=2)
    server.ended(ALL_ANSWERED, within=2.5)


@both_orders("a task shorter than the grace is answered", "D3")
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 900, b"r"))
    conn.expect_fin(Ok(1, b"r"), within=3)
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("a task longer than the grace is interrupted at the deadline", "D4")
def _(t):
    server, conn = drain(t, "--grace", "600ms", requests=t.w.sleep(1, 9000))
    started = time.monotonic()
    t.equal(conn.expect_end_within(3), [])
    t.check(time.monotonic() - started >= 0.5, "an end after 0.6 s", f"after {time.monotonic() - started:.2f} s")
    server.ended(INTERRUPTED, within=2)


@case("of two tasks the shorter is answered and the longer interrupted", "D3, D4")
def _(t):
    server, conn = drain(t, "--grace", "1500ms", requests=t.w.sleep(1, 9000) + t.w.sleep(2, 600, b"r"))
    t.equal(conn.expect_end_within(4), [Ok(2, b"r")])
    server.ended(INTERRUPTED, within=2)


@case("a blocked thread does not hold the end up", "D4, section 11")
def _(t):
    server, conn = drain(t, "--grace", "500ms", requests=t.w.sleep(1, 9000, code=BLOCK))
    t.equal(conn.expect_end_within(3), [])
    server.ended(INTERRUPTED, within=2.5)


@case("a stuck thread that was answered before does not hold the end up", "T13, section 11")
def _(t):
    server = t.own(*QUICK)
    conn = t.connect_to(server)
    conn.send(t.w.sleep(1, 15_000, code=BLOCK))
    time.sleep(0.15)
    conn.send(t.w.cancel(1))
    conn.expect(Error(1, 255))
    server.signal()
    conn.expect_fin(within=2)
    conn.close()
    server.ended(ALL_ANSWERED, within=3)


@case("a cooperating task does not hold the deadline up", "D4, T10")
def _(t):
    server, conn = drain(t, "--grace", "500ms", requests=t.w.sleep(1, 9000, code=TIDY))
    t.equal(conn.expect_end_within(3), [])
    server.ended(INTERRUPTED, within=3)


@case("the grace of nothing ends at once", "D4, D5")
def _(t):
    server, conn = drain(t, "--grace", "0s", requests=t.w.sleep(1, 9000))
    t.equal(conn.expect_end_within(2), [])
    server.ended(INTERRUPTED, within=2)


for second in (signal.SIGTERM, signal.SIGINT):
    @case(f"a second signal ({second.name}) ends at once", "D2, D5")
    def _(t, second=second):
        server, conn = drain(t, "--grace", "60s", requests=t.w.sleep(1, 30_000))
        conn.quiet(0.4)
        server.signal(second)
        t.equal(conn.expect_end_within(2), [])
        server.ended(INTERRUPTED, within=2)


@case("a second signal while the server lingers interrupts nothing", "D5")
def _(t):
    server, conn = drain(t, "--grace", "60s", "--linger", "30s")
    conn.expect_fin(within=2)
    server.signal()
    server.ended(ALL_ANSWERED, within=2)


# what is and is not accepted

@both_orders("Goodbye counts what was accepted, and the answers follow", "E4, D1")
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 900, b"r") + t.w.sleep(2, 1200, b"s"), features=1)
    conn.expect_fin(Goodbye(3), Ok(1, b"r"), Ok(2, b"s"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("Goodbye stands behind the answers that are queued", "E4")
def _(t):
    server, conn = drain(t, requests=t.w.request(ECHO, 1, b"a") + t.w.request(UNREGISTERED, 2), features=3)
    responses, how = conn.rest(within=2)
    t.equal((sorted(responses[:2]), responses[2:], how), (sorted([Ok(1, b"a"), Error(2, 251)]), [Goodbye(3)], "fin"))


for length in (1, 4, 5, 6, 8, 9):
    @case(f"a request of which {length} of 10 bytes have come is not accepted", "D1, E4")
    def _(t, length=length):
        request = t.w.request(ECHO, 2, b"abc")
        server, conn = drain(t, requests=t.w.sleep(1, 700, b"r") + request[:length], features=1)
        time.sleep(0.1)
        conn.try_send(request[length:])
        conn.expect_fin(Goodbye(2), Ok(1, b"r"))
        conn.close()
        server.ended(ALL_ANSWERED, within=2)


@case("a base client gets no Goodbye", "E4")
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 600, b"r"))
    conn.expect_fin(Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("what is sent after the signal is discarded", "D1")
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 1200, b"r"), features=1)
    conn.expect(Goodbye(2))
    conn.send(t.w.request(ECHO, 2, b"x") + t.w.request(KEEP_ALIVE, 3) + t.w.negotiate(4, 3))
    conn.send(t.w.cancel(1) + t.w.request(ECHO, 1, b"a live id") + b"\xff" * 1000)
    conn.expect_fin(Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("much that is sent after the signal does not reset the connection", "D1, D3, L12", slow=True)
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 1500, b"r"), features=1)
    conn.expect(Goodbye(2))
    conn.send(bytes(20 << 20))
    conn.expect_fin(Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("neither reading nor idle time ends a draining connection", "L12")
def _(t):
    requests = t.w.sleep(1, 1600, b"r") + t.w.header(ECHO, 2) + b"\3a"
    server, conn = drain(t, "--read", "600ms", "--wait", "600ms", requests=requests, features=1)
    conn.expect_fin(Goodbye(2), Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


for name, tail in (("between requests", b""), ("inside a request", b"\1\0\0")):
    @case(f"an end of stream {name} changes nothing in draining", "D7")
    def _(t, tail=tail):
        server, conn = drain(t, requests=t.w.sleep(1, 1000, b"r"), features=1)
        conn.expect(Goodbye(2))
        conn.try_send(tail)
        conn.finish()
        conn.expect_fin(Ok(1, b"r"))
        server.ended(ALL_ANSWERED, within=2)


@case("a header that waits for a place when the signal comes is not accepted", "D1, L5")
def _(t):
    requests = t.w.sleep(1, 900, b"r") + t.w.request(ECHO, 2, b"x") + t.w.request(KEEP_ALIVE, 3)
    server, conn = drain(t, "--max-in-flight", "1", requests=requests, features=1)
    conn.expect_fin(Goodbye(2), Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


@case("an end of stream behind a pause is not seen before the signal", "D1, L12")
def _(t):
    server = t.own(*QUICK, "--max-in-flight", "1")
    conn = t.connect_to(server)
    conn.negotiate(1)
    conn.send(t.w.sleep(1, 900, b"r") + t.w.request(ECHO, 2, b"x"))
    conn.finish()
    time.sleep(0.25)
    server.signal()
    conn.expect_fin(Goodbye(2), Ok(1, b"r"))
    server.ended(ALL_ANSWERED, within=2)


@case("a flood of requests at the signal: the first `accepted` are answered, no other", "E4, T5", slow=True)
def _(t):
    server = t.own("--linger", "2s")
    conn, stop = t.connect_to(server), threading.Event()
    conn.negotiate(1)

    def flood():
        task_id = 1
        while not stop.is_set() and task_id < 200_000:
            batch = b"".join(t.w.request(ECHO, i, b"m") for i in range(task_id, task_id + 20))
            if not conn.try_send(batch, within=2):
                return
            task_id += 20

    thread = threading.Thread(target=flood)
    thread.start()
    threading.Timer(0.5, server.signal).start()
    try:
        responses, how = conn.rest(within=6)
    finally:
        stop.set()
        thread.join(3)
    goodbyes = [response for response in responses if isinstance(response, Goodbye)]
    t.equal((len(goodbyes), how), (1, "fin"))
    answered = sorted(response for response in responses if isinstance(response, Ok))
    t.check(answered == [Ok(i, b"m") for i in range(1, goodbyes[0].accepted)], f"answers to the first {goodbyes[0].accepted} requests",
            f"{len(answered)} answers")
    conn.close()
    server.ended(ALL_ANSWERED, within=3)


@case("after the signal no connection is accepted", "D6")
def _(t):
    server, conn = drain(t, requests=t.w.sleep(1, 1500, b"r"))
    time.sleep(0.2)
    try:
        late = t.connect_to(server)
        late.try_send(t.w.request(KEEP_ALIVE, 1))
        t.equal(late.rest(within=1)[0], [])
        late.close()
    except (OSError, Fail) as error:
        t.check(isinstance(error, OSError) and not isinstance(error, socket.timeout), "a refused connection", error)
    conn.expect_fin(Ok(1, b"r"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)


# in the middle of a response

@case("a response that is on its way at the signal comes whole", "D3", slow=True)
def _(t):
    server, n = t.own("--linger", "2s"), 12 << 20
    conn = t.connect_to(server, receive_buffer=32_768)
    conn.negotiate(1)
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    server.signal()
    responses, how = conn.rest(within=9)
    t.check(responses == [Ok(1, pattern(n)), Goodbye(2)] and how == "fin", "the pattern, Goodbye 2, FIN",
            ([type(response).__name__ for response in responses], how))
    conn.close()
    server.ended(ALL_ANSWERED, within=3)


@case("a response that nobody reads ends at the deadline and is interrupted", "D4, D9", slow=True)
def _(t):
    server = t.own("--grace", "700ms", *QUICK)
    conn = t.connect_to(server, receive_buffer=8192)
    conn.send(t.w.produce(1, 64 << 20))
    conn.receive(5)
    server.signal()
    server.ended(INTERRUPTED, within=3)


@case("a client that resets in draining is interrupted at once", "D8")
def _(t):
    server, conn = drain(t, "--grace", "30s", requests=t.w.sleep(1, 20_000), features=1)
    conn.expect(Goodbye(2))
    conn.reset()
    server.ended(INTERRUPTED, within=3)


@case("a signal with 50 clients answers them all", "D6", slow=True)
def _(t):
    server = t.own("--linger", "2s")
    conns = [t.connect_to(server) for _ in range(50)]
    for i, conn in enumerate(conns):
        conn.negotiate(1)
        conn.send(t.w.sleep(i, 800, b"r"))
    time.sleep(0.2)
    server.signal()
    for i, conn in enumerate(conns):
        conn.expect_fin(Goodbye(2), Ok(i, b"r"))
        conn.close()
    server.ended(ALL_ANSWERED, within=3)


@case("answers wait for a slow reader within the grace", "D3", slow=True)
def _(t):
    server, conn = drain(t, "--linger", "3s", requests=b"".join(t.w.request(ECHO, i, pattern(3000)) for i in range(100)))
    time.sleep(1.5)
    responses, how = conn.rest()
    t.equal((len(responses), how), (100, "fin"))
    conn.close()
    server.ended(ALL_ANSWERED, within=2)
