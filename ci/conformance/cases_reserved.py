"""PROTOCOL section 5: reserved task codes and extensions."""
import time

from case import both_orders, case
from wire import (ABSENT, BREAK, CANCEL, CANCELLED, ECHO, KEEP_ALIVE, MALFORMED, NEGOTIATE, REJECT, TEAR, UNKNOWN_TASK,
                  UNREGISTERED, Error, Goodbye, Negotiated, Ok, Processing, pattern)

DEFAULTS = Negotiated(1, 3, 1024, 4 << 20, 1800, 15)


@both_orders("KeepAlive is answered OK and empty, its message discarded", "E1")
def _(t):
    conn = t.connect()
    for message in (b"", b"x", pattern(300), pattern(100_000)):
        t.equal(conn.call(KEEP_ALIVE, 0x01020304, message), Ok(0x01020304, b""))


@case("1,000 KeepAlives get 1,000 answers", "E1")
def _(t):
    conn = t.connect()
    conn.send(b"".join(t.w.request(KEEP_ALIVE, i) for i in range(1000)))
    conn.expect_all([Ok(i, b"") for i in range(1000)])


@case("KeepAlive is answered at once while tasks run", "E1")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 1500, b"r") + t.w.request(KEEP_ALIVE, 2))
    conn.expect(Ok(2, b""), Ok(1, b"r"))


@case("KeepAlive restarts the idle time", "E1, L1", slow=True)
def _(t):
    conn = t.connect("--wait", "1s", "--linger", "300ms")
    for task_id in range(5):
        time.sleep(0.45)
        conn.goes_on(task_id)
    conn.expect_fin(not_before=time.monotonic() + 0.8, within=4)


@case("KeepAlive, Negotiate and unknown codes cannot be cancelled and leave no trace", "section 5")
def _(t):
    conn = t.connect()
    conn.send(t.w.request(KEEP_ALIVE, 1) + t.w.cancel(1) + t.w.negotiate(2, 0) + t.w.cancel(2) + t.w.request(253, 3) + t.w.cancel(3))
    conn.expect(Ok(1, b""), Ok(2, t.w.negotiated(DEFAULTS._replace(granted=0))), Error(3, UNKNOWN_TASK))
    conn.quiet(0.2)


@case("Cancel has no response of its own and its message is discarded", "E2")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 60_000) + t.w.request(CANCEL, 1, pattern(70_000)) + t.w.request(KEEP_ALIVE, 2))
    conn.expect_all([Error(1, CANCELLED), Ok(2, b"")])
    conn.quiet(0.2)


for code in (253, 254, 255):
    @both_orders(f"reserved code {code} is an unknown task code", "E6, T4")
    def _(t, code=code):
        conn = t.connect()
        t.equal(conn.call(code, 1, b"any"), Error(1, UNKNOWN_TASK))
        t.equal(conn.call(code, 1, pattern(100_000)), Error(1, UNKNOWN_TASK))
        conn.goes_on()


def granted(asked, expected):
    @both_orders(f"Negotiate grants features {expected:#x} of {asked:#x}", "E3")
    def _(t):
        t.equal(t.connect().negotiate(asked), DEFAULTS._replace(granted=expected))


for asked, expected in ((0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1), (ABSENT, 3), (0x80000002, 2), (0x01000000, 0)):
    granted(asked, expected)


@case("Negotiate tells the limits, seconds rounded up", "E3")
def _(t):
    flags = ("--max-in-flight", "7", "--max-message-bytes", "1000", "--wait", "90500ms", "--processing", "200ms")
    conn = t.connect(*flags)
    t.equal(conn.negotiate(0), Negotiated(1, 0, 7, 1000, 91, 1))
    t.equal(conn.negotiate(3), Negotiated(1, 3, 7, 1000, 91, 1))


for version in (2, 7, 255):
    @case(f"Negotiate of version {version} is answered as version 1", "E3")
    def _(t, version=version):
        conn = t.connect()
        conn.send(t.w.negotiate(1, 3, version))
        conn.expect(Ok(1, t.w.negotiated(DEFAULTS)))


@case("what follows Negotiate's layout is ignored", "E3")
def _(t):
    conn = t.connect()
    for more in (b"\0", b"\xff" * 3, pattern(1000)):
        conn.send(t.w.negotiate(1, 1, more=more) + t.w.negotiate(2, 2, version=3, more=more))
        conn.expect(Ok(1, t.w.negotiated(DEFAULTS._replace(granted=1))), Ok(2, t.w.negotiated(DEFAULTS._replace(granted=2))))


for message in (b"", b"\1", b"\1\0", b"\1\0\0\0", b"\0\0\0\0\3", b"\0" * 9, b"\2\0\0", b"\0"):
    @case(f"Negotiate {message.hex() or 'empty'} is MALFORMED and the connection goes on", "E3, section 9")
    def _(t, message=message):
        conn = t.connect()
        t.equal(conn.call(NEGOTIATE, 1, message), Error(1, MALFORMED))
        t.equal(conn.negotiate(3), DEFAULTS)
        conn.goes_on()


@case("a malformed Negotiate changes nothing", "E3")
def _(t):
    conn = t.connect("--processing", "200ms")
    conn.negotiate(2)
    t.equal(conn.call(NEGOTIATE, 1, b"\0\0\0\0\0"), Error(1, MALFORMED))
    t.equal(conn.call(NEGOTIATE, 1, b"\1\0\0\0"), Error(1, MALFORMED))
    conn.send(t.w.sleep(5, 700))
    conn.expect(Processing(5))


@case("a later Negotiate replaces the earlier", "E3")
def _(t):
    conn = t.connect("--processing", "200ms")
    conn.negotiate(3)
    conn.negotiate(0)
    conn.send(t.w.sleep(5, 900, b"r"))
    conn.expect(Ok(5, b"r"))
    conn.negotiate(2)
    conn.send(t.w.sleep(5, 900, b"r"))
    conn.expect(Processing(5))


@case("a base client gets no Processing", "E5")
def _(t):
    conn = t.connect("--processing", "100ms")
    conn.send(t.w.sleep(1, 800, b"r"))
    conn.expect(Ok(1, b"r"))


@case("a client that asked for Goodbye alone gets no Processing", "E5")
def _(t):
    conn = t.connect("--processing", "100ms")
    conn.negotiate(1)
    conn.send(t.w.sleep(1, 600, b"r"))
    conn.expect(Ok(1, b"r"))


@both_orders("Processing comes once each interval until the response", "E5")
def _(t):
    conn = t.connect("--processing", "200ms")
    conn.negotiate(2)
    started = time.monotonic()
    conn.send(t.w.sleep(0x01020304, 1100, b"r"))
    count = 0
    while (response := conn.response()) == Processing(0x01020304):
        count += 1
        elapsed = time.monotonic() - started
        t.check(elapsed >= 0.2 * count - 0.03, f"Processing {count} after {0.2 * count:.1f} s", f"after {elapsed:.2f} s")
    t.equal(response, Ok(0x01020304, b"r"))
    t.check(count >= 2, "about 5 times Processing", count)
    conn.quiet(0.5)


@case("each running task gets its own Processing", "E5")
def _(t):
    conn = t.connect("--processing", "300ms")
    conn.negotiate(3)
    conn.send(t.w.sleep(1, 1000) + t.w.sleep(2, 1000) + t.w.sleep(3, 1))
    seen, ended = set(), set()
    while len(ended) < 3:
        response = conn.response()
        t.check(response.id not in ended, "nothing after the terminal response", response)
        (ended if isinstance(response, Ok) else seen).add(response.id)
    t.equal(seen - {3}, {1, 2})


@case("Processing that is overdue when it is granted is sent at once", "E5", slow=True)
def _(t):
    conn = t.connect("--processing", "2s")
    conn.send(t.w.sleep(1, 5000))
    time.sleep(2.4)
    conn.negotiate(2)
    conn.expect(Processing(1), within=1.0)


@case("a request that is not accepted gets no Processing", "E5")
def _(t):
    conn = t.connect("--processing", "150ms")
    conn.negotiate(2)
    request = t.w.request(ECHO, 1, b"abc")
    conn.send(request[:-1])
    conn.quiet(0.6)
    conn.send(request[-1:])
    conn.expect(Ok(1, b"abc"))


@case("Processing does not break into another response", "E5, N8", slow=True)
def _(t):
    conn, n = t.connect("--processing", "100ms", receive_buffer=8192), 6 << 20
    conn.negotiate(2)
    conn.send(t.w.sleep(1, 2500, b"r") + t.w.produce(2, n))
    for _ in range(40):
        time.sleep(0.02)
        conn.decoder.feed(conn.receive(2, 65_536))
    terminal = []
    while len(terminal) < 2:
        response = conn.response(within=8)
        if not isinstance(response, Processing):
            terminal.append(response)
    t.check(sorted(terminal) == [Ok(1, b"r"), Ok(2, pattern(n))], "both responses whole", [r[0] for r in terminal])


# Goodbye, by the cause that is cheapest to bring about: the idle time.

def counted(name, count, requests, skip):
    @case(f"Goodbye counts {name}", "E4, L1")
    def _(t):
        conn = t.connect("--wait", "700ms", "--linger", "300ms")
        conn.send(t.w.negotiate(1000, 1) + requests(t.w))
        conn.responses(1 + skip)
        conn.expect_fin(Goodbye(count), within=4)


counted("the Negotiate that granted it", 1, lambda w: b"", 0)
counted("tasks", 4, lambda w: b"".join(w.request(ECHO, i) for i in range(3)), 3)
counted("KeepAlives and unknown codes", 4, lambda w: w.request(KEEP_ALIVE, 1) + w.request(UNREGISTERED, 2) + w.request(255, 3), 3)
counted("Cancels, live or not", 4, lambda w: w.sleep(1, 60_000) + w.cancel(1) + w.cancel(77), 1)
counted("malformed Negotiates", 2, lambda w: w.request(NEGOTIATE, 1), 1)
counted("panics and failures", 3, lambda w: w.request(5, 1) + w.request(3, 2, b"\1"), 2)
counted("requests before the Negotiate as well", 3, lambda w: w.request(ECHO, 1) + w.negotiate(2, 1), 2)


@case("no Goodbye without the grant", "E4")
def _(t):
    for features in (None, 0, 2):
        conn = t.connect("--wait", "700ms", "--linger", "300ms")
        if features is not None:
            conn.negotiate(features)
        conn.expect_fin(within=4)


@case("a later Negotiate can call Goodbye off", "E3, E4")
def _(t):
    conn = t.connect("--wait", "700ms", "--linger", "300ms")
    conn.send(t.w.negotiate(1, 1) + t.w.negotiate(2, 2))
    conn.responses(2)
    conn.expect_fin(within=4)


def goodbye_then_fin(name, rule, count, act):
    @both_orders(f"Goodbye comes when {name}", rule)
    def _(t):
        conn = t.connect("--linger", "400ms")
        conn.negotiate(1)
        t.equal(conn.call(ECHO, 1, b"x"), Ok(1, b"x"))
        act(t, conn)
        conn.expect_fin(Goodbye(count), within=4)


def duplicate_id(t, conn):
    conn.send(t.w.sleep(7, 5000))
    conn.goes_on()
    conn.send(t.w.request(ECHO, 7))


def end_inside(t, conn):
    conn.send(t.w.request(ECHO, 7, b"abc")[:7])
    conn.finish()


goodbye_then_fin("a task function fails, that request not counted", "E4, D8, T3", 2, lambda t, conn: conn.send(t.w.request(REJECT, 2)))
goodbye_then_fin("a run function fails, that request counted", "E4, D8, T8", 3, lambda t, conn: conn.send(t.w.request(BREAK, 2)))
goodbye_then_fin("an id is used twice, the second not counted", "E4, D8, T11", 4, duplicate_id)
goodbye_then_fin("the client is gone", "E4, D7", 2, lambda t, conn: conn.finish())
goodbye_then_fin("the stream ends inside a request, not counted", "E4, D7", 2, end_inside)
goodbye_then_fin("a body fails before its response has begun", "E4, D8, T7", 3, lambda t, conn: conn.send(t.w.produce(2, 100, TEAR)))


@case("no Goodbye stands behind a response that is not whole", "E4, D8")
def _(t):
    from cases_tasks import check_torn
    conn = t.connect("--linger", "400ms")
    conn.negotiate(1)
    conn.send(t.w.produce(9, 500_000, TEAR))
    t.equal(conn.rest(), ([], "fin"))
    check_torn(t, conn, 9, 500_000)


@case("Goodbye waits behind a response that has begun", "E4, D7", slow=True)
def _(t):
    conn, n = t.connect("--half-close", "--linger", "400ms", receive_buffer=8192), 4 << 20
    conn.negotiate(1)
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    conn.finish()
    responses, how = conn.rest(within=8)
    t.equal(([type(r).__name__ for r in responses], how), (["Ok", "Goodbye"], "fin"))
    t.check(responses == [Ok(1, pattern(n)), Goodbye(2)], "the pattern, then Goodbye 2", "something else")


@case("after Goodbye the live tasks' responses still come", "E4, D7")
def _(t):
    conn = t.connect("--half-close", "--linger", "400ms")
    conn.negotiate(1)
    conn.send(t.w.sleep(1, 500, b"a") + t.w.sleep(2, 700, b"b"))
    conn.finish()
    conn.expect_fin(Goodbye(3), Ok(1, b"a"), Ok(2, b"b"))
