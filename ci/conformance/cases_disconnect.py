"""PROTOCOL sections 8 and 9: ends of connections, and bad input."""
import random
import time

from case import both_orders, case
from wire import BLOCK, CANCEL, DIGEST, ECHO, FIRST, KEEP_ALIVE, PRODUCE, REJECT, TIDY, UNREGISTERED, Error, Ok, pattern

LINGER = ("--linger", "400ms")


# D7, the client's end of stream

@both_orders("an end of stream before any request ends the connection", "D7")
def _(t):
    conn = t.connect("--linger", "5s")
    conn.finish()
    conn.expect_fin(within=2)


@case("an end of stream between requests ends the connection, without lingering", "D7, D3")
def _(t):
    conn = t.connect("--linger", "5s")
    t.equal(conn.call(ECHO, 1, b"x"), Ok(1, b"x"))
    conn.finish()
    conn.expect_fin(within=2)


@case("an end of stream cancels the live tasks by default", "D7, D8")
def _(t):
    conn = t.connect(*LINGER)
    conn.send(t.w.sleep(1, 3000) + t.w.sleep(2, 3000, code=BLOCK))
    conn.goes_on()
    conn.finish()
    conn.expect_fin(within=2)


@case("who half-closes at once gets any part of the answers, each whole", "D7")
def _(t):
    for count in (1, 10, 500):
        conn = t.connect(*LINGER)
        conn.send(b"".join(t.w.request(ECHO, i, pattern(200)) for i in range(count)))
        conn.finish()
        responses, how = conn.rest()
        t.equal((how, conn.decoder.pending()), ("fin", False))
        ids = [response.id for response in responses]
        t.check(len(set(ids)) == len(ids) and set(ids) <= set(range(count)), "each answer at most once", ids)
        t.check(all(response == Ok(response.id, pattern(200)) for response in responses), "echoes", "something else")


@both_orders("a server that is set to half-close answers everything first", "D7")
def _(t):
    conn = t.connect("--half-close", *LINGER)
    conn.send(b"".join(t.w.sleep(i, 5 * i, b"%d" % i) for i in range(100)))
    conn.finish()
    responses, how = conn.rest()
    t.equal((sorted(responses), how), (sorted(Ok(i, b"%d" % i) for i in range(100)), "fin"))


@case("half-close with nothing to do ends at once", "D7")
def _(t):
    conn = t.connect("--half-close", "--linger", "5s")
    conn.goes_on()
    conn.finish()
    conn.expect_fin(within=2)


@case("half-close has no deadline of its own", "D7")
def _(t):
    conn = t.connect("--half-close", "--grace", "300ms", "--wait", "300ms", *LINGER)
    conn.send(t.w.sleep(1, 1500, b"r"))
    conn.finish()
    conn.expect_fin(Ok(1, b"r"), within=4)


@case("half-close finishes a long response", "D7", slow=True)
def _(t):
    conn = t.connect("--half-close", *LINGER)
    conn.send(t.w.produce(1, 8 << 20))
    conn.finish()
    responses, how = conn.rest(within=8)
    t.check(responses == [Ok(1, pattern(8 << 20))] and how == "fin", "8 MiB, then FIN", f"{len(responses)} responses, {how}")


def end_at_every_byte(name, flags, request):
    @both_orders(f"an end of stream at every byte of {name} is an error without an answer", "D7, section 9")
    def _(t):
        whole = request(t.w)
        for cut in range(1, len(whole)):
            conn = t.connect(*flags, *LINGER)
            conn.send(whole[:cut])
            conn.finish()
            conn.expect_fin(within=3)
            conn.close()


SHORT = (("an echo", lambda w: w.request(ECHO, 1, b"abcdef", 4)), ("a digest", lambda w: w.request(DIGEST, 1, b"abc", 2)),
         ("a KeepAlive", lambda w: w.request(KEEP_ALIVE, 1, b"ab")), ("an unknown code", lambda w: w.request(UNREGISTERED, 1, b"ab")),
         ("a Negotiate", lambda w: w.negotiate(1, 3)), ("an unread message", lambda w: w.request(FIRST, 1, b"abc")))
for name, request in SHORT:
    end_at_every_byte(name, (), request)
end_at_every_byte("an echo to a half-close server", ("--half-close",), SHORT[0][1])


@case("an end of stream inside a Cancel cancels nothing but by the connection's end", "T3, D7")
def _(t):
    for cut in range(1, 6):
        conn = t.connect(*LINGER)
        conn.send(t.w.sleep(1, 5000, code=TIDY) + t.w.request(CANCEL, 1)[:cut])
        conn.finish()
        conn.expect_fin(within=3)
        conn.close()


@case("an end of stream inside a request ends live tasks of a half-close server too", "D7, D8")
def _(t):
    conn = t.connect("--half-close", *LINGER)
    conn.send(t.w.sleep(1, 3000) + t.w.header(ECHO, 2) + b"\3a")
    conn.finish()
    conn.expect_fin(within=2)


# D3 and D8, the end without a reset

@case("the server lingers after a connection error, then closes", "D3, D8", slow=True)
def _(t):
    conn = t.connect("--linger", "2s")
    conn.send(t.w.request(REJECT, 1))
    conn.expect_fin(within=2)
    conn.lingers_then_closes(2)


@case("the server lingers after an idle end, then closes", "D3, L1", slow=True)
def _(t):
    conn = t.connect("--wait", "300ms", "--linger", "2s")
    conn.expect_fin(within=3)
    conn.lingers_then_closes(2)


@case("answers on their way survive a connection error and what is sent behind it", "D3, D8")
def _(t):
    conn = t.connect("--linger", "2s")
    conn.send(b"".join(t.w.request(ECHO, i, pattern(100)) for i in range(200)))
    time.sleep(0.7)
    conn.send(t.w.request(REJECT, 500) + t.w.request(ECHO, 501, b"never") * 2000)
    time.sleep(0.4)
    conn.try_send(b"more that nobody reads" * 100)
    responses, how = conn.rest()
    t.equal((sorted(responses), how), (sorted(Ok(i, pattern(100)) for i in range(200)), "fin"))


@case("a long answer that has begun is not followed by another after an error", "D8", slow=True)
def _(t):
    conn = t.connect("--linger", "1s", receive_buffer=8192)
    n = 2 << 20
    conn.send(t.w.produce(1, n))
    conn.decoder.feed(conn.receive(5))
    conn.send(t.w.request(REJECT, 2) + t.w.request(ECHO, 3, b"never"))
    responses, how = conn.rest(within=8)
    # Reading may pause (L7) until the answer is whole: then it comes whole.
    t.equal(how, "fin")
    t.check(responses in ([], [Ok(1, pattern(n))]), "OK 1 whole or cut", f"{len(responses)} others")


@case("nothing behind a bad request is answered", "D8")
def _(t):
    conn = t.connect(*LINGER)
    conn.send(t.w.request(REJECT, 1) + b"".join(t.w.request(KEEP_ALIVE, i) for i in range(2, 50)))
    conn.expect_fin(within=2)


# resets

def reset_when(name, before):
    @case(f"a reset {name} harms nobody else", "D8, section 9")
    def _(t):
        server = t.server(*LINGER)
        witness = t.connect_to(server)
        witness.send(t.w.sleep(1, 900, b"w"))
        for _ in range(10):
            conn = t.connect_to(server, receive_buffer=8192)
            before(t, conn)
            conn.reset()
        witness.goes_on()
        witness.expect(Ok(1, b"w"))


def read_some(t, conn):
    conn.send(t.w.produce(1, 16 << 20))
    conn.receive(5)


def in_linger(t, conn):
    conn.send(t.w.request(REJECT, 1))
    conn.expect_fin()


reset_when("before the first byte", lambda t, conn: None)
reset_when("inside a header", lambda t, conn: conn.send(b"\1\0\0"))
reset_when("inside a block", lambda t, conn: conn.send(t.w.header(ECHO, 1) + b"\5ab"))
reset_when("with tasks running", lambda t, conn: conn.send(t.w.sleep(1, 5000) + t.w.sleep(2, 5000, code=TIDY)))
reset_when("inside a response", read_some)
reset_when("with answers unread", lambda t, conn: conn.send(b"".join(t.w.request(ECHO, i, pattern(1000)) for i in range(50))))
reset_when("while the server lingers", in_linger)
reset_when("behind the end of its stream", lambda t, conn: (conn.send(t.w.sleep(1, 200)), conn.finish()))


# garbage

def garbage(seed):
    @case(f"1,000 garbage streams end in known ways, seed {seed}", "section 9", slow=True)
    def _(t):
        server = t.own("--linger", "100ms", "--max-message-bytes", "2000", "--read", "2s")
        rng = random.Random(seed)
        started = time.monotonic()
        for turn in range(1000):
            conn = t.connect_to(server)
            judge_garbage(t, conn, garbled(t, rng, turn))
            conn.close()
            if time.monotonic() - started > 6:
                break
        t.connect_to(server).goes_on()


def garbled(t, rng, turn):
    """Random bytes, or a true stream with some of its bytes changed. No code 4 or 9: their length is anyone's guess."""
    if turn % 2:
        data = bytearray(rng.randbytes(rng.randrange(1, 400)))
    else:
        data = bytearray(b"".join(t.w.request(rng.choice((1, 3, 6, 10, 11, 13, 250, 251, 252, 254, 77)), rng.randrange(6),
                                              rng.randbytes(rng.randrange(12)), rng.randrange(1, 9)) for _ in range(rng.randrange(1, 20))))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def judge_garbage(t, conn, data):
    """Whatever was sent, what comes back is known responses, then the end."""
    conn.try_send(data)
    conn.finish()
    total, until = 0, time.monotonic() + 3
    while True:
        try:
            part = conn.receive(max(0.01, until - time.monotonic()))
        except ConnectionError:
            return
        t.check(part is not None, "an end within 3 s", f"an open connection after {data.hex()}")
        if not part:
            return
        total += len(part)
        if total > 1 << 20:  # a produce by chance
            return conn.reset()
        conn.decoder.feed(part)
        while conn.decoded() is not None:
            pass


for seed in range(1, 5):
    garbage(seed)


@case("length bytes of 255 without end are ended by the limit", "section 9, L4")
def _(t):
    conn = t.connect("--max-message-bytes", "2000", *LINGER)
    conn.send(b"\xff" * 100_000)
    conn.expect_fin(within=3)


@case("zeros are unknown codes without a message", "section 9, T4")
def _(t):
    conn = t.connect(*LINGER)
    conn.send(bytes(6 * 100))
    conn.expect(*[Error(0, 251)] * 100)


@case("an HTTP request is garbage like any other", "section 9")
def _(t):
    conn = t.connect(*LINGER)
    conn.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    conn.finish()
    responses, how = conn.rest()
    t.check(how in ("fin", "reset"), "an end", how)
    t.check(all(isinstance(response, Error) for response in responses), "errors or nothing", responses)


@case("errors of one client leave another's work alone", "D8")
def _(t):
    server = t.server(*LINGER)
    good = t.connect_to(server)
    good.send(t.w.sleep(1, 1000, b"good") + t.w.request(PRODUCE, 2, t.w.u32(1000)))
    for _ in range(20):
        bad = t.connect_to(server)
        bad.send(t.w.request(REJECT, 1))
        bad.expect_fin(within=3)
        bad.close()
    good.expect(Ok(2, pattern(1000)), Ok(1, b"good"))
