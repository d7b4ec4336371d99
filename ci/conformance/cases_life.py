"""PROTOCOL section 6: the life of a task."""
import time

from case import case
from wire import (BLOCK, CANCEL, CANCELLED, DEADLINE, ECHO, FAIL, KEEP_ALIVE, LIMITED, NEGOTIATE, NONE, PANIC, PRODUCE, SLEEP, TASKS,
                  TIDY, UNAVAILABLE, UNREGISTERED, Error, Ok, blocks, pattern)


def unfinished(name, code, message, answer):
    @case(f"{name} is answered only when its message has ended", "T3, T5")
    def _(t):
        conn = t.connect()
        request = t.w.request(code, 5, message)
        conn.send(request[:-1])
        conn.quiet(0.3)
        conn.send(request[-1:])
        conn.expect(answer)
        conn.goes_on()


unfinished("a sleep of no time", SLEEP, bytes(4), Ok(5, b""))
unfinished("an echo", ECHO, b"abc", Ok(5, b"abc"))
unfinished("a task without a run function", NONE, b"abc", Ok(5, b""))
unfinished("a task whose code panics", PANIC, b"abc", Error(5, 254))
unfinished("a task that fails", FAIL, b"\7", Error(5, 7))
unfinished("a task that needs one byte", 11, b"abc", Ok(5, b"a"))
unfinished("an unknown code", UNREGISTERED, b"abc", Error(5, 251))
unfinished("an unknown reserved code", 254, b"abc", Error(5, 251))
unfinished("KeepAlive", KEEP_ALIVE, b"abc", Ok(5, b""))
unfinished("a malformed Negotiate", NEGOTIATE, b"abc", Error(5, 250))


@case("Cancel acts only when its message has ended", "T3, E2")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(5, 60_000))
    cancel = t.w.request(CANCEL, 5, b"why")
    conn.send(cancel[:-1])
    conn.quiet(0.3)
    conn.send(cancel[-1:])
    conn.expect(Error(5, CANCELLED))


@case("a request behind an unfinished one is not looked at", "T1, T2")
def _(t):
    conn = t.connect()
    conn.send(t.w.header(ECHO, 1) + b"\3abc")
    conn.send(b"\2de")
    conn.quiet(0.2)
    conn.send(b"\0" + t.w.request(KEEP_ALIVE, 2))
    conn.expect_all([Ok(1, b"abcde"), Ok(2, b"")])


@case("responses are sent while a request is being read", "T1")
def _(t):
    conn = t.connect()
    request = t.w.request(ECHO, 2, b"abc")
    conn.send(t.w.sleep(1, 300, b"r") + request[:7])
    conn.expect(Ok(1, b"r"))
    conn.send(request[7:])
    conn.expect(Ok(2, b"abc"))


@case("every accepted request gets exactly one terminal response", "T5")
def _(t):
    conn = t.connect()
    kinds = [(SLEEP, t.w.u32(20) + b"s", lambda i: Ok(i, b"s")), (PANIC, b"", lambda i: Error(i, 254)),
             (FAIL, b"\3", lambda i: Error(i, 3)), (UNREGISTERED, b"", lambda i: Error(i, 251)),
             (BLOCK, t.w.u32(1), lambda i: Ok(i, b"done")), (PRODUCE, t.w.u32(300), lambda i: Ok(i, pattern(300))),
             (TIDY, t.w.u32(5), lambda i: Ok(i, b"done")), (SLEEP, b"", lambda i: Error(i, 1))]
    asked = [(i, kinds[i % len(kinds)]) for i in range(800)]
    conn.send(b"".join(t.w.request(kind[0], i, kind[1]) for i, kind in asked))
    conn.expect_all([kind[2](i) for i, kind in asked])
    conn.quiet(0.3)


def cancelled(name, code, answer, not_before=0.0, within=3.0):
    @case(name, "T10, E2")
    def _(t):
        conn = t.connect()
        conn.send(t.w.sleep(4, 4_000, code=code))
        conn.goes_on()
        time.sleep(0.15)  # a blocking function has its thread by now
        conn.send(t.w.cancel(4))
        sent = time.monotonic()
        conn.expect(answer, within=within)
        took = time.monotonic() - sent
        t.check(took >= not_before, f"an answer after {not_before} s", f"one after {took:.2f} s")
        conn.quiet(0.2)
        conn.goes_on(4)


cancelled("a cancelled sleep is answered CANCELLED, once", SLEEP, Error(4, CANCELLED))
cancelled("a cancelled tidy answers what it returns within its grace", TIDY, Ok(4, b"tidied"))
cancelled("a cancelled block is answered CANCELLED after its grace of 500 ms", BLOCK, Error(4, CANCELLED), not_before=0.4)


@case("a cancelled block that returns within its grace answers what it returns", "T10, T13")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(4, 250, code=BLOCK) + t.w.cancel(4))
    came = conn.response()
    # The cancel may find a function that still waits for its thread: T13 answers that one at once.
    t.check(came in (Ok(4, b"done"), Error(4, CANCELLED)), "done, or CANCELLED if it had not started", came)
    conn.send(t.w.sleep(5, 300, code=BLOCK))
    time.sleep(0.1)
    conn.send(t.w.cancel(5))
    conn.expect(Ok(5, b"done"))


@case("a second cancel does nothing", "T10")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 60_000) + t.w.sleep(2, 60_000, code=TIDY))
    conn.goes_on()
    conn.send(t.w.cancel(1) * 3 + t.w.cancel(2) * 3)
    conn.expect_all([Error(1, CANCELLED), Ok(2, b"tidied")])
    conn.quiet(0.3)
    conn.goes_on()


@case("a cancel for an id that is not live is ignored", "E2, T10")
def _(t):
    conn = t.connect()
    conn.send(t.w.cancel(1) + t.w.cancel(0xFFFFFFFF))
    conn.quiet(0.3)
    t.equal(conn.call(ECHO, 1, b"x"), Ok(1, b"x"))
    conn.send(t.w.cancel(1))
    conn.quiet(0.3)
    conn.goes_on(1)


@case("a cancel right behind its request gets one terminal response in all", "T10")
def _(t):
    conn = t.connect()
    conn.send(b"".join(t.w.request(ECHO, i, b"x") + t.w.cancel(i) for i in range(300)))
    came = conn.responses(300)
    t.equal(sorted(response.id for response in came), list(range(300)))
    wrong = [response for response in came if response not in (Ok(response.id, b"x"), Error(response.id, CANCELLED))]
    t.equal(wrong, [])
    conn.quiet(0.2)


@case("a cancel touches only the task it names", "T10")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 700, b"a") + t.w.sleep(2, 60_000) + t.w.sleep(3, 700, b"b") + t.w.cancel(2))
    conn.expect(Error(2, CANCELLED))
    conn.expect_all([Ok(1, b"a"), Ok(3, b"b")])


@case("a cancel touches only its own client's tasks", "T10")
def _(t):
    one, other = t.connect(), t.connect()
    one.send(t.w.sleep(1, 700, b"a"))
    one.goes_on()
    other.send(t.w.cancel(1))
    other.goes_on()
    one.expect(Ok(1, b"a"))


@case("a cancel does nothing to a response that has begun", "T7, T10")
def _(t):
    conn, n = t.connect(receive_buffer=16_384), 8 << 20
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    conn.send(t.w.cancel(1))
    response = conn.response(within=8)
    t.check(response == Ok(1, pattern(n)), f"OK 1 with {n} bytes of the pattern", repr(response)[:80])
    conn.goes_on(1)


@case("5,000 submits each with its cancel get 5,000 answers", "T10", slow=True)
def _(t):
    conn, count = t.connect("--max-in-flight", "64"), 5000
    for start in range(0, count, 500):
        batch = range(start, start + 500)
        conn.send(b"".join(t.w.sleep(i, 60_000) + t.w.cancel(i) for i in batch))
        conn.expect_all([Error(i, CANCELLED) for i in batch])
    t.equal(t.w.ids(conn.call(TASKS, 9).body), [9])


@case("an honest canceller may use one id 300 times", "T10, N7")
def _(t):
    conn = t.connect()
    for _ in range(300):
        conn.send(t.w.sleep(1, 60_000) + t.w.cancel(1))
        conn.expect(Error(1, CANCELLED))


@case("10,000 cancels for ids that are not live cost nothing", "E2")
def _(t):
    conn = t.connect()
    conn.send(b"".join(t.w.cancel(i) for i in range(10_000)))
    conn.goes_on()
    conn.quiet(0.1)


def duplicate(name, second):
    @case(f"a live id used again by {name} is a connection error", "T11")
    def _(t):
        conn = t.connect("--linger", "500ms")
        conn.send(t.w.sleep(7, 4000, b"never"))
        conn.goes_on()
        conn.send(second(t.w))
        conn.expect_fin(within=3)


duplicate("a task", lambda w: w.request(ECHO, 7, b"x"))
duplicate("KeepAlive", lambda w: w.request(KEEP_ALIVE, 7))
duplicate("Negotiate", lambda w: w.negotiate(7, 3))
duplicate("an unknown code", lambda w: w.request(UNREGISTERED, 7))
duplicate("an unknown reserved code", lambda w: w.request(253, 7))
duplicate("a task of which only the header has come", lambda w: w.header(ECHO, 7))


@case("a live id used again in the same piece is a connection error", "T11")
def _(t):
    conn = t.connect("--linger", "500ms")
    conn.send(t.w.sleep(7, 4000) + t.w.sleep(7, 1) + t.w.request(ECHO, 8, b"never"))
    conn.expect_fin(within=3)


@case("a duplicate ends every other live task as well", "T11, D8")
def _(t):
    conn = t.connect("--linger", "500ms")
    conn.send(t.w.sleep(6, 3000, b"never") + t.w.sleep(7, 4000))
    conn.goes_on()
    conn.send(t.w.request(ECHO, 7, b"x"))
    conn.expect_fin(within=3)


@case("ids of two clients have nothing to do with each other", "T11")
def _(t):
    one, other = t.connect(), t.connect()
    one.send(t.w.sleep(7, 700, b"a"))
    one.goes_on()
    t.equal(other.call(ECHO, 7, b"b"), Ok(7, b"b"))
    one.expect(Ok(7, b"a"))


@case("the id of a KeepAlive is free once it is answered", "T11, E1")
def _(t):
    conn = t.connect()
    conn.send(t.w.request(KEEP_ALIVE, 7) * 2)
    conn.expect(Ok(7, b""), Ok(7, b""))


@case("a run limit counts from the start of the run function, for each task", "T12")
def _(t):
    conn = t.connect()
    conn.send(b"".join(t.w.sleep(i, 6000, code=LIMITED) for i in range(50)) + t.w.sleep(99, 900, b"r"))
    conn.expect_all([Error(i, DEADLINE) for i in range(50)])
    conn.expect(Ok(99, b"r"))


@case("a stuck task is gone for its id and for the lists", "T13")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(4, 3000, code=BLOCK))
    time.sleep(0.15)
    conn.send(t.w.cancel(4))
    conn.expect(Error(4, CANCELLED))
    t.equal(t.w.ids(conn.call(TASKS, 9).body), [9])
    t.equal(conn.call(ECHO, 4, b"free"), Ok(4, b"free"))


@case("a stuck task's late result is discarded", "T13")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(4, 1200, code=BLOCK))
    time.sleep(0.15)
    conn.send(t.w.cancel(4))
    conn.expect(Error(4, CANCELLED))
    conn.quiet(1.2)
    conn.goes_on(4)


@case("a stuck task keeps its place among those in flight until it returns", "T13, L5")
def _(t):
    conn, started = t.connect("--max-in-flight", "1"), time.monotonic()
    conn.send(t.w.sleep(4, 2000, code=BLOCK))
    time.sleep(0.15)
    conn.send(t.w.cancel(4))
    conn.expect(Error(4, CANCELLED))
    t.equal(conn.call(ECHO, 5, b"x"), Ok(5, b"x"))
    t.check(time.monotonic() - started >= 1.9, "the place after 2 s", f"after {time.monotonic() - started:.2f} s")


def stuck_beyond(name, leave):
    @case(f"a task stuck past its connection's {name} keeps its place in the server", "T13, L6")
    def _(t):
        server = t.own("--max-tasks", "1", "--linger", "200ms")
        one, other, started = t.connect_to(server), t.connect_to(server), time.monotonic()
        one.send(t.w.sleep(4, 2000, code=BLOCK))
        time.sleep(0.2)
        leave(one)
        time.sleep(1.0)
        t.equal(other.call(ECHO, 1), Error(1, UNAVAILABLE))
        while other.call(ECHO, 1) == Error(1, UNAVAILABLE):
            t.check(time.monotonic() - started < 6, "a place after 2 s", "none after 6 s")
            time.sleep(0.1)
        t.check(time.monotonic() - started >= 1.9, "the place after 2 s", f"after {time.monotonic() - started:.2f} s")


stuck_beyond("end of stream", lambda conn: conn.finish())
stuck_beyond("reset", lambda conn: conn.reset())


@case("an unread task list and blocks of one byte do not blur two messages", "T2")
def _(t):
    conn = t.connect()
    conn.send(t.w.header(TASKS, 3) + blocks(b"ignored", 1) + t.w.header(ECHO, 4) + blocks(b"kept", 1))
    first, second = sorted(conn.responses(2))
    t.check(3 in t.w.ids(first.body), "3 in its own list", first)
    t.equal(second, Ok(4, b"kept"))
