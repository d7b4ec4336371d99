"""PROTOCOL section 11: the demo tasks, one by one."""
import time

from case import both_orders, case
from wire import (BLOCK, CANCELLED, DEADLINE, DIGEST, ECHO, FAIL, FIRST, LIMITED, NONE, PANIC, PANICKED, PRODUCE, SLEEP, TASKS, TEAR,
                  TIDY, BREAK, REJECT, KEEP_ALIVE, UNREGISTERED, Error, Ok, pattern, sha256)


@case("echo returns every byte value", "section 11: 1")
def _(t):
    t.equal(t.connect().call(ECHO, 1, bytes(range(256)) * 3), Ok(1, bytes(range(256)) * 3))


@both_orders("sleep returns the rest, not before its time", "section 11: 2")
def _(t):
    conn, started = t.connect(), time.monotonic()
    conn.send(t.w.sleep(1, 300, b"the rest"))
    conn.expect(Ok(1, b"the rest"))
    t.check(time.monotonic() - started >= 0.28, "at least 300 ms", f"{time.monotonic() - started:.3f} s")


@case("sleep without a rest returns the empty message", "section 11: 2")
def _(t):
    t.equal(t.connect().call(SLEEP, 1, t.w.u32(0)), Ok(1, b""))


def too_short(name, code, layout):
    @case(f"{name} answers a message shorter than its layout with Error 1", "section 11")
    def _(t):
        conn = t.connect()
        for length in range(layout):
            t.equal(conn.call(code, length, bytes(length)), Error(length, 1))
        conn.goes_on()


for task, number, size in (("sleep", SLEEP, 4), ("fail", FAIL, 1), ("produce", PRODUCE, 4), ("tear", TEAR, 4), ("tidy", TIDY, 4),
                           ("block", BLOCK, 4), ("limited", LIMITED, 4)):
    too_short(task, number, size)


@case("what follows the layout is ignored", "section 11")
def _(t):
    conn, more = t.connect(), b"more" * 200
    t.equal(conn.call(FAIL, 1, b"\5" + more), Error(1, 5))
    t.equal(conn.call(PRODUCE, 2, t.w.u32(4) + more), Ok(2, b"\0\1\2\3"))
    t.equal(conn.call(TIDY, 3, t.w.u32(1) + more), Ok(3, b"done"))
    t.equal(conn.call(BLOCK, 4, t.w.u32(1) + more), Ok(4, b"done"))
    t.equal(conn.call(PANIC, 5, more), Error(5, PANICKED))
    t.equal(conn.call(NONE, 6, more), Ok(6, b""))


@case("fail answers with each of the application's codes", "section 11: 3; N9")
def _(t):
    conn = t.connect()
    for code in range(250):
        t.equal(conn.call(FAIL, code, bytes([code])), Error(code, code))


@case("fail answers with the library's codes as well", "section 11: 3")
def _(t):
    conn = t.connect()
    for code in range(250, 256):
        t.equal(conn.call(FAIL, code, bytes([code])), Error(code, code))
    conn.goes_on()


@both_orders("produce makes n bytes", "section 11: 4")
def _(t):
    conn = t.connect()
    for n in (0, 1, 250, 251, 252, 255, 256, 65_279, 65_280, 65_535, 65_536, 65_537, 131_072, 1_000_000):
        t.equal(conn.call(PRODUCE, n, t.w.u32(n)), Ok(n, pattern(n)))


@case("produce streams 64 MiB", "section 11: 4; T7", slow=True)
def _(t):
    conn = t.connect()
    conn.send(t.w.produce(1, 64 << 20))
    response = conn.response(within=15)
    t.check(response == Ok(1, pattern(64 << 20)), "64 MiB of the pattern", f"{len(response.body)} bytes that differ")
    conn.goes_on()


@case("a panic is answered and the connection goes on", "section 11: 5; T9")
def _(t):
    conn = t.connect()
    for task_id in range(50):
        t.equal(conn.call(PANIC, task_id, b"any"), Error(task_id, PANICKED))
    conn.goes_on()


@case("a panic does not touch the tasks beside it", "T9")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 300, b"a") + b"".join(t.w.request(PANIC, i) for i in range(2, 12)) + t.w.sleep(12, 200, b"b"))
    conn.expect_all([Ok(1, b"a"), Ok(12, b"b")] + [Error(i, PANICKED) for i in range(2, 12)])


@case("no run function is answered OK and empty", "section 11: 6; T6")
def _(t):
    conn = t.connect()
    t.equal(conn.call(NONE, 1), Ok(1, b""))
    t.equal(conn.call(NONE, 2, pattern(100_000)), Ok(2, b""))


def connection_error(name, code, rule):
    @both_orders(f"{name} is a connection error without a response", rule)
    def _(t):
        conn = t.connect("--linger", "500ms")
        conn.goes_on()
        conn.send(t.w.request(code, 9, b"any"))
        conn.expect_fin(within=3)

    @case(f"{name} ends the tasks beside it without a response", f"{rule}; D8")
    def _(t):
        conn = t.connect("--linger", "500ms")
        conn.send(t.w.sleep(1, 3000))
        conn.goes_on()
        conn.send(t.w.request(code, 9, b"any"))
        conn.expect_fin(within=3)


connection_error("reject", REJECT, "section 11: 7; T3")
connection_error("break", BREAK, "section 11: 8; T8")


def tear_small(n):
    @case(f"tear of {n} bytes sends nothing of the response", "section 11: 9; T7")
    def _(t):
        conn = t.connect("--linger", "500ms")
        conn.send(t.w.produce(9, n, code=TEAR))
        conn.expect_fin(within=3)


for torn in (0, 1, 1000, 65_535):
    tear_small(torn)


def tear_big(n, order):
    @case(f"tear of {n} bytes never completes its response [{order}]", "section 11: 9; T7", order)
    def _(t):
        conn = t.connect("--linger", "500ms")
        conn.send(t.w.produce(9, n, code=TEAR))
        responses, how = conn.rest(within=6)
        t.equal((responses, how), ([], "fin"))
        check_torn(t, conn, 9, n)


def check_torn(t, conn, task_id, n):
    """What came is a true beginning of `OK task_id` with the pattern, or nothing."""
    if conn.decoder.open is None:
        return t.check(len(conn.decoder.data) - conn.decoder.at < 5, "part of a header or nothing", "something else")
    header, message = conn.decoder.open
    came = message.payload() + bytes(conn.decoder.data[conn.decoder.at + 1:])
    t.equal(header, t.w.header(0, task_id))
    t.check(came == pattern(n)[:len(came)], "the pattern's beginning", f"{len(came)} bytes that differ")


for order in ("big", "little"):
    tear_big(200_000, order)
tear_big(65_537, "big")
tear_big(8 << 20, "big")


@case("digest is SHA-256 of the message", "section 11: 10")
def _(t):
    conn = t.connect()
    for message in (b"", b"abc", pattern(255), pattern(65_536), pattern(4 << 20)):
        t.equal(conn.call(DIGEST, 1, message), Ok(1, sha256(message)))


@case("first reads one byte and the rest is discarded", "section 11: 11; T2")
def _(t):
    conn = t.connect()
    t.equal(conn.call(FIRST, 1), Ok(1, b""))
    t.equal(conn.call(FIRST, 2, b"z"), Ok(2, b"z"))
    for size in (1, 255):
        conn.send(t.w.request(FIRST, 3, b"q" + pattern(300_000), size) + t.w.request(ECHO, 4, b"next"))
        conn.expect_all([Ok(3, b"q"), Ok(4, b"next")])


@case("tidy answers done", "section 11: 12")
def _(t):
    t.equal(t.connect().call(TIDY, 1, t.w.u32(100)), Ok(1, b"done"))


@both_orders("tasks lists the live ids, ascending, itself included", "section 11: 13")
def _(t):
    conn, sleeping = t.connect(), [0xFFFFFFFF, 3, 0x80000000, 256, 1]
    conn.send(b"".join(t.w.sleep(i, 3000) for i in sleeping))
    conn.send(t.w.request(TASKS, 77, b"any"))
    response = conn.response()
    t.equal((response.id, t.w.ids(response.body)), (77, sorted([*sleeping, 77])))


@case("tasks lists neither what has ended nor what is no task", "section 11: 13; section 5")
def _(t):
    conn = t.connect()
    conn.send(t.w.request(ECHO, 1) + t.w.sleep(2, 60_000) + t.w.sleep(3, 60_000))
    conn.expect(Ok(1, b""))
    conn.send(t.w.cancel(3))
    conn.expect(Error(3, CANCELLED))
    t.equal(conn.call(KEEP_ALIVE, 4), Ok(4, b""))
    t.equal(conn.call(UNREGISTERED, 5), Error(5, 251))
    t.equal(t.w.ids(conn.call(TASKS, 6).body), [2, 6])


@case("tasks lists only its own client's", "section 11: 13")
def _(t):
    other, conn = t.connect(), t.connect()
    other.send(t.w.sleep(1, 3000))
    other.goes_on()
    t.equal(t.w.ids(conn.call(TASKS, 6).body), [6])


@case("block answers done", "section 11: 14")
def _(t):
    conn, started = t.connect(), time.monotonic()
    conn.send(t.w.sleep(1, 200, code=BLOCK))
    conn.expect(Ok(1, b"done"))
    t.check(time.monotonic() - started >= 0.18, "at least 200 ms", f"{time.monotonic() - started:.3f} s")


@case("block does not hold up the connection", "section 11: 14")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 800, code=BLOCK) + t.w.request(ECHO, 2, b"x"))
    conn.expect(Ok(2, b"x"), Ok(1, b"done"))


@case("limited within its run limit is sleep", "section 11: 15; T12")
def _(t):
    t.equal(t.connect().call(LIMITED, 1, t.w.u32(1) + b"rest"), Ok(1, b"rest"))


@case("limited over its run limit is answered DEADLINE", "section 11: 15; T12")
def _(t):
    conn, started = t.connect(), time.monotonic()
    conn.send(t.w.sleep(1, 5000, b"rest", code=LIMITED))
    conn.expect(Error(1, DEADLINE), within=3)
    t.check(time.monotonic() - started >= 0.18, "at least 200 ms", f"{time.monotonic() - started:.3f} s")
    conn.goes_on()
    t.equal(conn.call(ECHO, 1, b"again"), Ok(1, b"again"))


@case("100 sleeps run at the same time", "T6")
def _(t):
    conn, started = t.connect(), time.monotonic()
    conn.send(b"".join(t.w.sleep(i, 500) for i in range(100)))
    conn.expect_all([Ok(i, b"") for i in range(100)])
    t.check(time.monotonic() - started < 3, "about 0.5 s", f"{time.monotonic() - started:.1f} s")
