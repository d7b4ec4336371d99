"""PROTOCOL section 7: limits of places and bytes (L5 to L8, L12, L16)."""
import threading
import time

from case import Fail, case
from wire import (CANCELLED, DIGEST, ECHO, KEEP_ALIVE, LIMITED, PRODUCE, UNAVAILABLE, UNREGISTERED, Error, Goodbye, Negotiated, Ok,
                  Processing, pattern, sha256)

LINGER = ("--linger", "300ms")


def full(t, *flags, places=1, ms=1200):
    """A connection whose places are all taken for so long."""
    conn = t.connect("--max-in-flight", str(places), *LINGER, *flags)
    started = time.monotonic()
    conn.send(b"".join(t.w.sleep(i, ms, b"r") for i in range(places)))
    return conn, started


def took(t, started, at_least):
    elapsed = time.monotonic() - started
    t.check(elapsed >= at_least, f"no sooner than after {at_least} s", f"after {elapsed:.2f} s")


# L5, in flight

@case("a task beyond those in flight waits for a place, and loses nothing", "L5, L12")
def _(t):
    conn, started = full(t, places=2, ms=600)
    conn.send(t.w.sleep(10, 600, b"second") + t.w.sleep(11, 600, b"second") + t.w.request(ECHO, 12, b"third"))
    conn.expect_all([Ok(0, b"r"), Ok(1, b"r")])
    conn.expect_all([Ok(10, b"second"), Ok(11, b"second"), Ok(12, b"third")])
    took(t, started, 1.15)


for name, request, answer in (("KeepAlives", KEEP_ALIVE, lambda i: Ok(i, b"")), ("unknown codes", UNREGISTERED, lambda i: Error(i, 251)),
                              ("unknown reserved codes", 254, lambda i: Error(i, 251))):
    @case(f"{name} are read while all places are taken", "L5")
    def _(t, request=request, answer=answer):
        conn, _ = full(t, ms=1500)
        conn.send(b"".join(t.w.request(request, i) for i in range(50, 60)))
        conn.expect(*(answer(i) for i in range(50, 60)), Ok(0, b"r"))


@case("Negotiate is read while all places are taken", "L5")
def _(t):
    conn, _ = full(t, ms=1500)
    t.equal(conn.negotiate(3), Negotiated(1, 3, 1, 4 << 20, 1800, 15))
    conn.expect(Ok(0, b"r"))


@case("a cancel frees a place", "L5, E2")
def _(t):
    conn, _ = full(t, ms=30_000)
    conn.send(t.w.cancel(0) + t.w.request(ECHO, 1, b"x"))
    conn.expect(Error(0, CANCELLED), Ok(1, b"x"))


@case("what stands behind a waiting header is not looked at", "L5, L12")
def _(t):
    conn, started = full(t, ms=900)
    conn.send(t.w.request(ECHO, 1, b"x") + t.w.request(KEEP_ALIVE, 2) + t.w.cancel(0))
    conn.expect(Ok(0, b"r"))
    took(t, started, 0.88)
    conn.expect_all([Ok(1, b"x"), Ok(2, b"")])


@case("a waiting header alone is enough to stop the reading", "L5")
def _(t):
    conn, started = full(t, ms=900)
    conn.send(t.w.header(ECHO, 1))
    time.sleep(0.2)
    conn.send(b"\1x\0" + t.w.request(KEEP_ALIVE, 2))
    conn.expect(Ok(0, b"r"))
    took(t, started, 0.88)
    conn.expect_all([Ok(1, b"x"), Ok(2, b"")])


@case("a duplicate id is judged before the pause", "L5, T11")
def _(t):
    conn, _ = full(t, ms=6000)
    conn.send(t.w.request(ECHO, 0, b"x"))
    conn.expect_fin(within=3)


@case("an end of stream behind the pause is not seen", "L12, D7")
def _(t):
    conn, _ = full(t, ms=700)
    conn.send(t.w.request(ECHO, 1, b"x"))
    conn.finish()
    responses, how = conn.rest(within=4)
    t.check(how == "fin" and responses in ([Ok(0, b"r")], [Ok(0, b"r"), Ok(1, b"x")]), "OK 0, perhaps OK 1, then FIN", (responses, how))


@case("the reading time stands still in the pause", "L12, L2")
def _(t):
    conn, _ = full(t, "--read", "500ms", ms=1500)
    conn.send(t.w.header(ECHO, 1) + b"\3ab")
    conn.expect(Ok(0, b"r"))
    conn.send(b"c\0")
    conn.expect(Ok(1, b"abc"))


@case("half a header is no pause: its reading time runs", "L5, L2")
def _(t):
    conn, started = full(t, "--read", "500ms", ms=6000)
    conn.send(t.w.header(ECHO, 1)[:3])
    conn.expect_fin(not_before=started + 0.45, within=3)


@case("a run limit runs in the pause", "L12, T12")
def _(t):
    conn = t.connect("--max-in-flight", "1", *LINGER)
    conn.send(t.w.sleep(0, 6000, code=LIMITED) + t.w.request(ECHO, 1, b"x"))
    conn.expect(Error(0, 253), Ok(1, b"x"))


@case("Processing goes on in the pause", "L12, E5")
def _(t):
    conn = t.connect("--max-in-flight", "1", "--processing", "200ms", *LINGER)
    conn.negotiate(2)
    conn.send(t.w.sleep(0, 700, b"r") + t.w.request(ECHO, 1, b"x"))
    conn.expect(Processing(0))
    while (response := conn.response()) == Processing(0):
        pass
    t.equal(response, Ok(0, b"r"))
    conn.expect(Ok(1, b"x"))


@case("a reset is noticed after the pause at the latest", "L12")
def _(t):
    server = t.server("--max-in-flight", "1", *LINGER)
    for _ in range(5):
        conn = t.connect_to(server)
        conn.send(t.w.sleep(0, 300) + t.w.request(ECHO, 1))
        conn.reset()
    t.connect_to(server).goes_on()


@case("1,024 tasks are in flight by default, the next waits", "L5", slow=True)
def _(t):
    conn, started = t.connect(), time.monotonic()
    conn.send(b"".join(t.w.sleep(i, 1200, b"r") for i in range(1024)) + t.w.request(ECHO, 5000, b"x"))
    first = conn.response()
    took(t, started, 1.15)
    t.equal(sorted([first, *conn.responses(1024)]), sorted([Ok(i, b"r") for i in range(1024)] + [Ok(5000, b"x")]))


@case("one task at a time serves 500 pipelined requests", "L5")
def _(t):
    conn = t.connect("--max-in-flight", "1", *LINGER)
    conn.send(b"".join(t.w.sleep(i, 1, b"%d" % i) for i in range(500)))
    conn.expect(*(Ok(i, b"%d" % i) for i in range(500)))


# L6, tasks of the server

@case("a task beyond the server's is UNAVAILABLE, its message discarded", "L6")
def _(t):
    server = t.own("--max-tasks", "2")
    one, other = t.connect_to(server), t.connect_to(server)
    one.send(t.w.sleep(1, 1500, b"r") + t.w.sleep(2, 1500, b"r"))
    one.goes_on()
    for message in (b"", pattern(100_000)):
        t.equal(other.call(ECHO, 9, message), Error(9, UNAVAILABLE))
    t.equal(one.call(ECHO, 9, b"x"), Error(9, UNAVAILABLE))
    t.equal(other.call(KEEP_ALIVE, 9), Ok(9, b""))
    t.equal(other.call(UNREGISTERED, 9), Error(9, 251))
    one.expect(Ok(1, b"r"), Ok(2, b"r"))
    again_available(t, other)


def again_available(t, conn):
    until = time.monotonic() + 2
    while (response := conn.call(ECHO, 9, b"x")) == Error(9, UNAVAILABLE):
        t.check(time.monotonic() < until, "a place soon", "UNAVAILABLE for 2 s")
        time.sleep(0.02)
    t.equal(response, Ok(9, b"x"))


@case("UNAVAILABLE too is answered only when the message has ended", "L6, T5")
def _(t):
    server = t.own("--max-tasks", "1")
    one, other = t.connect_to(server), t.connect_to(server)
    one.send(t.w.sleep(1, 3000))
    one.goes_on()
    other.send(t.w.header(ECHO, 2) + b"\1x")
    other.quiet(0.3)
    other.send(b"\0")
    other.expect(Error(2, UNAVAILABLE))


@case("a lost client's tasks give their places back", "L6, D8")
def _(t):
    server = t.own("--max-tasks", "3", *LINGER)
    for leave in ("reset", "finish", "close"):
        conn = t.connect_to(server)
        conn.send(b"".join(t.w.sleep(i, 60_000) for i in range(3)))
        conn.goes_on()
        getattr(conn, leave)()
        again_available(t, t.connect_to(server))


# L7, unsent bytes

@case("unread responses stop the reading, and nothing is lost", "L7, L12", slow=True)
def _(t):
    conn = t.connect("--max-unsent-bytes", "65536", "--write", "20s", receive_buffer=16_384)
    request, sent = t.w.request(ECHO, 0, pattern(60_000))[5:], 0
    while sent < 800 and conn.try_send(t.w.header(ECHO, sent) + request, within=0.7):
        sent += 1
    t.check(sent < 800, "a server that stops reading", f"one that took {sent * 60_000} bytes")
    body, ids = pattern(60_000), []
    for _ in range(sent):
        response = conn.response()
        t.check(response == Ok(response.id, body), "the echo", repr(response)[:80])
        ids.append(response.id)
    t.equal(sorted(ids), list(range(sent)))


@case("unread responses stop the work, whatever they are", "L7", slow=True)
def _(t):
    conn = t.connect("--max-unsent-bytes", "65536", "--write", "20s", receive_buffer=4096)
    floods = 0
    while floods < 600 and conn.try_send(keep_alives(t.w, floods * 10_000), within=0.7):
        floods += 1
    t.check(floods < 600, "a server that stops reading a flood of KeepAlives", f"one that took {floods * 10_000}")


def keep_alives(w, first):
    return b"".join(w.request(KEEP_ALIVE, i) for i in range(first, first + 10_000))


@case("a body longer than the unsent limit is streamed within it", "L7")
def _(t):
    conn = t.connect("--max-unsent-bytes", "4096")
    conn.send(t.w.produce(1, 3 << 20) + t.w.produce(2, 3000))
    conn.expect_all([Ok(1, pattern(3 << 20)), Ok(2, pattern(3000))])


@case("one client's unread bytes hold the others up no longer than its writing time", "L7, L3", slow=True)
def _(t):
    server = t.own("--max-server-unsent-bytes", "262144", "--write", "400ms", *LINGER)
    deaf = t.connect_to(server, receive_buffer=4096)
    deaf.send(t.w.produce(1, 64 << 20))
    time.sleep(0.5)
    conn = t.connect_to(server)
    t.equal(conn.call(ECHO, 1, b"x", within=6), Ok(1, b"x"))
    t.equal(conn.call(PRODUCE, 2, t.w.u32(300_000), within=6), Ok(2, pattern(300_000)))


# L8, connections

@case("the newest connection beyond the limit is closed at once", "L8")
def _(t):
    server = t.own("--max-connections", "3", *LINGER)
    kept = [t.connect_to(server) for _ in range(3)]
    for conn in kept:
        conn.goes_on()
    t.equal(t.connect_to(server).expect_end_within(2), [])
    for conn in kept:
        conn.goes_on()
    kept[0].finish()
    kept[0].expect_fin()
    kept[0].close()
    until = time.monotonic() + 3
    while True:
        conn = t.connect_to(server)
        try:
            return conn.goes_on()
        except Fail:
            t.check(time.monotonic() < until, "a place for a new connection", "none for 3 s")
            time.sleep(0.1)


@case("200 connections are served at the same time", "L8", slow=True)
def _(t):
    server = t.server()
    conns = [t.connect_to(server) for _ in range(200)]
    for i, conn in enumerate(conns):
        conn.send(t.w.sleep(i, 400, b"%d" % i) + t.w.request(ECHO, 1000, b"x"))
    for i, conn in enumerate(conns):
        conn.expect_all([Ok(1000, b"x"), Ok(i, b"%d" % i)])


@case("40 clients that talk at once get what is theirs", "T6", slow=True)
def _(t):
    server, failures = t.server(), []

    def client(number):
        try:
            conn = t.connect_to(server)
            for turn in range(30):
                message = b"%d-%d" % (number, turn) * 50
                conn.send(t.w.request(ECHO, 1, message) + t.w.request(DIGEST, 2, message) + t.w.produce(3, number * 100))
                conn.expect_all([Ok(1, message), Ok(2, sha256(message)), Ok(3, pattern(number * 100))])
        except Fail as error:
            failures.append(str(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    t.equal(failures, [])


# L16, held message bytes

@case("held messages of a connection stop its reading until they end", "L16")
def _(t):
    conn, started = t.connect("--max-held-bytes", "1000"), time.monotonic()
    conn.send(t.w.sleep(1, 900, bytes(1200)) + t.w.request(KEEP_ALIVE, 2) + t.w.request(ECHO, 3, b"x"))
    conn.expect(Ok(2, b""), Ok(1, bytes(1200)), Ok(3, b"x"))
    took(t, started, 0.88)


@case("a message longer than the held limit passes where nothing else is held", "L16")
def _(t):
    conn = t.connect("--max-held-bytes", "1000")
    for task_id in range(3):
        t.equal(conn.call(ECHO, task_id, pattern(20_000)), Ok(task_id, pattern(20_000)))


@case("many messages pass a small held limit one after the other", "L16")
def _(t):
    conn = t.connect("--max-held-bytes", "1000")
    conn.send(b"".join(t.w.sleep(i, 5, pattern(700)) for i in range(60)))
    conn.expect_all([Ok(i, pattern(700)) for i in range(60)])


@case("a connection that holds much does not stop another one", "L16")
def _(t):
    server = t.server("--max-held-bytes", "1000")
    one, other = t.connect_to(server), t.connect_to(server)
    one.send(t.w.sleep(1, 1500, bytes(1200)) + t.w.request(ECHO, 2, b"x"))
    one.quiet(0.2)
    t.equal(other.call(ECHO, 1, pattern(500)), Ok(1, pattern(500)))
    one.expect(Ok(1, bytes(1200)), Ok(2, b"x"))


@case("a server that holds too much answers UNAVAILABLE until it does not", "L16, L6")
def _(t):
    server = t.own("--max-server-held-bytes", "1000")
    one, other = t.connect_to(server), t.connect_to(server)
    one.send(t.w.sleep(1, 1200, bytes(1200)))
    one.goes_on()
    t.equal(other.call(ECHO, 9, b"x"), Error(9, UNAVAILABLE))
    t.equal(other.call(KEEP_ALIVE, 9), Ok(9, b""))
    one.expect(Ok(1, bytes(1200)))
    again_available(t, other)


@case("an unavailable request is an accepted one for Goodbye", "L6, E4")
def _(t):
    server = t.own("--max-tasks", "1", "--half-close", *LINGER)
    one, other = t.connect_to(server), t.connect_to(server)
    one.send(t.w.sleep(1, 2500))
    one.goes_on()
    other.negotiate(1)
    t.equal(other.call(ECHO, 1), Error(1, UNAVAILABLE))
    other.finish()
    other.expect_fin(Goodbye(2), within=3)
