"""PROTOCOL section 7: limits of time."""
import time

from case import both_orders, case
from wire import (CANCEL, DIGEST, ECHO, FIRST, KEEP_ALIVE, PRODUCE, SLEEP, UNREGISTERED, Error, Goodbye, Ok, pattern, sha256)

LINGER = ("--linger", "300ms")


@case("every flag of the contract is known", "section 7")
def _(t):
    server = t.own(
        "--byte-order", "big", "--grace", "10s", "--wait", "30m", "--read", "5s", "--write", "5s", "--max-in-flight", "1024",
        "--max-message-bytes", "4194304", "--processing", "15s", "--max-tasks", "65536", "--max-connections", "10000",
        "--max-unsent-bytes", "1048576", "--max-server-unsent-bytes", "1073741824", "--max-held-bytes", "16777216",
        "--max-server-held-bytes", "1073741824", "--linger", "2s", "--task-function", "5s", "--body", "30s", "--handshake", "10s",
        "--half-close")
    t.connect_to(server).goes_on()


# L1, the wait for a task

@both_orders("an idle connection ends after the wait", "L1")
def _(t):
    started = time.monotonic()
    conn = t.connect("--wait", "400ms", *LINGER)
    conn.expect_fin(not_before=started + 0.38, within=3)


@case("an idle connection is told Goodbye where granted", "L1, E4")
def _(t):
    conn = t.connect("--wait", "700ms", *LINGER)
    conn.negotiate(3)
    conn.expect_fin(Goodbye(1), within=3)


@case("the wait counts from the end of the last task", "L1")
def _(t):
    conn = t.connect("--wait", "700ms", *LINGER)
    conn.send(t.w.sleep(1, 1500, b"r"))
    conn.expect(Ok(1, b"r"))
    conn.expect_fin(not_before=time.monotonic() + 0.5, within=4)


@case("a partly read request is no idleness", "L1", slow=True)
def _(t):
    conn, request = t.connect("--wait", "500ms", *LINGER), t.w.request(ECHO, 1, b"abc")
    for cut in (1, 3, 5, 6, 8):
        conn.send(request[:cut])
        time.sleep(0.9)
        conn.send(request[cut:])
        conn.expect(Ok(1, b"abc"))


@case("a silent connection outlives the handshake's time where there is no handshake", "L9")
def _(t):
    conn = t.connect("--handshake", "200ms")
    conn.quiet(0.8)
    conn.goes_on()


# L2, the reading of a request

for cut in (1, 2, 3, 4):
    @case(f"a header that stops after {cut} bytes ends the connection", "L2")
    def _(t, cut=cut):
        conn = t.connect("--read", "400ms", *LINGER)
        started = time.monotonic()
        conn.send(t.w.request(ECHO, 1, b"abc")[:cut])
        conn.expect_fin(not_before=started + 0.38, within=3)


@case("a header that drips ends the connection in the limit of one silence", "L2")
def _(t):
    conn = t.connect("--read", "600ms", *LINGER)
    started = time.monotonic()
    for byte in t.w.header(ECHO, 1)[:4]:
        conn.send(bytes([byte]))
        time.sleep(0.12)
    conn.expect_fin(not_before=started + 0.58, within=started + 1.5 - time.monotonic())


def stalled_body(name, begin):
    @case(f"{name} ends the connection when it stalls", "L2")
    def _(t):
        conn = t.connect("--read", "400ms", *LINGER)
        started = time.monotonic()
        conn.send(begin(t.w))
        conn.expect_fin(not_before=started + 0.38, within=3)


stalled_body("a message of which nothing has come", lambda w: w.header(ECHO, 1))
stalled_body("a block that is not whole", lambda w: w.header(ECHO, 1) + b"\5ab")
stalled_body("a message that only lacks its end", lambda w: w.header(ECHO, 1) + b"\2ab")
stalled_body("an unknown code's message", lambda w: w.header(UNREGISTERED, 1) + b"\5ab")
stalled_body("a KeepAlive's message", lambda w: w.header(KEEP_ALIVE, 1) + b"\5ab")
stalled_body("a Cancel's message", lambda w: w.header(CANCEL, 1))
stalled_body("a message that its task function does not want", lambda w: w.header(FIRST, 1) + b"\5abcd")
stalled_body("a digest's message", lambda w: w.header(DIGEST, 1) + b"\5abcd")


@case("a reading that ends too late cancels the live tasks", "L2, D8")
def _(t):
    conn = t.connect("--read", "400ms", *LINGER)
    conn.negotiate(1)
    conn.send(t.w.sleep(1, 6000) + t.w.header(ECHO, 2))
    conn.expect_fin(Goodbye(2), within=3)


@case("the body's time begins afresh behind the header's", "L2")
def _(t):
    conn, request = t.connect("--read", "1200ms"), t.w.request(ECHO, 1, b"abc")
    conn.send(request[:3])
    time.sleep(0.8)
    conn.send(request[3:5])
    time.sleep(0.8)
    conn.send(request[5:])
    conn.expect(Ok(1, b"abc"))


@case("an honest slow body may take longer than the limit", "L2", slow=True)
def _(t):
    conn, message = t.connect("--read", "900ms"), pattern(2500)
    request, started = t.w.request(DIGEST, 1, message), time.monotonic()
    conn.send(request[:5])
    for at in range(5, len(request), 20):
        conn.send(request[at:at + 20])
        ahead = started + (at - 5) / 900 - time.monotonic()  # 900 bytes/s, where 240 would do
        if ahead > 0:
            time.sleep(ahead)
    t.check(time.monotonic() - started > 2, "a body of more than 2 s", "a shorter one")
    conn.expect(Ok(1, sha256(message)))


@case("a body that drips below 240 bytes/s uses its credit up", "L2", slow=True)
def _(t):
    conn, started = t.connect("--read", "600ms", *LINGER), time.monotonic()
    conn.send(t.w.header(DIGEST, 1))
    while time.monotonic() - started < 5:
        if not conn.try_send(b"\1x"):
            break
        data = conn.receive(0.06)
        if data is not None:
            t.equal(data, b"")
            break
    took = time.monotonic() - started
    # At about 33 bytes/s the credit of 600 ms lasts some 700 ms.
    t.check(0.58 <= took < 2.5, "an end after 0.6 to 2.5 s", f"{took:.2f} s")


@case("the reading time does not run between requests", "L2")
def _(t):
    conn = t.connect("--read", "300ms")
    conn.quiet(0.9)
    conn.goes_on()


@case("each body starts with a whole credit", "L2")
def _(t):
    conn, request = t.connect("--read", "1s"), t.w.request(ECHO, 1, b"abc")
    for _ in range(5):
        conn.send(request[:7])
        time.sleep(0.5)
        conn.send(request[7:])
        conn.expect(Ok(1, b"abc"))


# L3, the writing of responses

@case("a client that reads nothing is left after its credit", "L3", slow=True)
def _(t):
    conn = t.connect("--write", "300ms", *LINGER, receive_buffer=8192)
    conn.send(t.w.produce(1, 64 << 20))
    time.sleep(4.0)  # six limits and the linger are 2.1 s
    responses, how = conn.rest(within=8)
    t.check(responses == [] and how != "open", "part of a response, then the end", f"{len(responses)} responses, {how}")
    t.check(conn.received_total < 32 << 20, "much less than 64 MiB", conn.received_total)


@case("a client that drips its reading below 240 bytes/s is left", "L3", slow=True)
def _(t):
    conn, started = t.connect("--write", "300ms", *LINGER, receive_buffer=4096), time.monotonic()
    conn.send(t.w.produce(1, 64 << 20))
    while time.monotonic() - started < 5.5:
        try:
            conn.decoder.feed(conn.receive(0.3, at_most=10) or b"")
        except ConnectionError:
            return
        time.sleep(0.1)
    responses, how = conn.rest(within=8)
    t.check(responses == [] and how != "open", "part of a response, then the end", f"{len(responses)} responses, {how}")


@case("a client that reads slowly but honestly gets everything", "L3", slow=True)
def _(t):
    conn, n = t.connect("--write", "600ms", receive_buffer=16_384), 4 << 20
    conn.send(t.w.produce(1, n))
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        conn.decoder.feed(conn.receive(2, 16_384))
        time.sleep(0.02)
    response = conn.response(within=8)
    t.check(response == Ok(1, pattern(n)), f"{n} bytes of the pattern", f"{len(response.body)} bytes")


@case("the writing time does not run while there is nothing to write", "L3")
def _(t):
    conn = t.connect("--write", "200ms")
    conn.send(t.w.sleep(1, 1200, b"r"))
    conn.expect(Ok(1, b"r"))
    conn.quiet(0.6)
    conn.goes_on()


@case("a pause of a reader within six limits is forgiven", "L3", slow=True)
def _(t):
    conn, n = t.connect("--write", "2s", receive_buffer=16_384), 16 << 20
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    time.sleep(1.2)
    response = conn.response(within=8)
    t.check(response == Ok(1, pattern(n)), f"{n} bytes of the pattern", f"{len(response.body)} bytes")


@case("a server left by one client that reads nothing serves the others", "L3, L7", slow=True)
def _(t):
    server = t.server("--write", "300ms", *LINGER)
    deaf = t.connect_to(server, receive_buffer=8192)
    deaf.send(t.w.produce(1, 64 << 20))
    conn, until = t.connect_to(server), time.monotonic() + 3
    while time.monotonic() < until:
        started = time.monotonic()
        t.equal(conn.call(ECHO, 1, b"x"), Ok(1, b"x"))
        t.check(time.monotonic() - started < 1.5, "an answer soon", f"one after {time.monotonic() - started:.2f} s")
        time.sleep(0.05)


# L14 and L15: the demo tasks never reach them; a slow client must not, either

@case("a late client does not use up the task function's time", "L14", slow=True)
def _(t):
    conn = t.connect("--task-function", "300ms")
    for code, answer in ((DIGEST, sha256(b"abcdef")), (ECHO, b"abcdef"), (FIRST, b"a")):
        request = t.w.request(code, 1, b"abcdef", 3)
        for part in (request[:5], request[5:8], request[8:11], request[11:]):
            conn.send(part)
            time.sleep(0.45)
        conn.expect(Ok(1, answer))


@case("a late reader does not use up a body's time", "L15", slow=True)
def _(t):
    conn, n = t.connect("--body", "300ms", receive_buffer=8192), 16 << 20
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    time.sleep(1.5)
    response = conn.response(within=8)
    t.check(response == Ok(1, pattern(n)), f"{n} bytes of the pattern", f"{len(response.body)} bytes")


@case("a task without a body is not judged by the body's time", "L15")
def _(t):
    conn = t.connect("--body", "200ms")
    conn.send(t.w.sleep(1, 900, b"r"))
    conn.expect(Ok(1, b"r"))


# L4, the longest message

def longest(name, code, answer):
    @case(f"{name} of the longest length is taken", "L4")
    def _(t):
        conn = t.connect("--max-message-bytes", "1000", *LINGER)
        for size in (255, 1, 7):
            conn.send(t.w.request(code, 1, bytes(1000), size))
            conn.expect(answer)

    @case(f"{name} of one byte more ends the connection", "L4")
    def _(t):
        conn = t.connect("--max-message-bytes", "1000", *LINGER)
        conn.goes_on()
        conn.send(t.w.request(code, 1, bytes(1001)))
        conn.expect_fin(within=3)


longest("an echo", ECHO, Ok(1, bytes(1000)))
longest("a digest", DIGEST, Ok(1, sha256(bytes(1000))))
longest("an unread message", FIRST, Ok(1, b"\0"))
longest("a sleep", SLEEP, Ok(1, bytes(996)))
longest("an unknown code's message", UNREGISTERED, Error(1, 251))
longest("a KeepAlive", KEEP_ALIVE, Ok(1, b""))
longest("a Negotiate", 252, Error(1, 250))
longest("a produce", PRODUCE, Ok(1, b""))


@case("a Cancel's message is as long as any may be", "L4, E2")
def _(t):
    conn = t.connect("--max-message-bytes", "1000", *LINGER)
    conn.send(t.w.request(CANCEL, 1, bytes(1000)))
    conn.goes_on()
    conn.send(t.w.request(CANCEL, 1, bytes(1001)))
    conn.expect_fin(within=3)


@case("a message without end is stopped at the limit, without a reset", "L4, D3")
def _(t):
    conn = t.connect("--max-message-bytes", "1000", "--linger", "2s")
    conn.negotiate(1)
    conn.send(t.w.header(ECHO, 1) + b"\xff" * 256 * 2000)
    conn.expect_fin(Goodbye(1), within=3)


@case("4 MiB are the default limit", "L4", slow=True)
def _(t):
    conn, message = t.connect(*LINGER), pattern(4 << 20)
    t.equal(conn.call(DIGEST, 1, message), Ok(1, sha256(message)))
    response = conn.call(ECHO, 2, message)
    t.check(response == Ok(2, message), "4 MiB back", repr(response)[:80])
    conn.send(t.w.request(DIGEST, 3, message + b"x"))
    conn.expect_fin(within=4)
