"""PROTOCOL sections 1 to 4: connections, messages, requests, responses."""
import random
import time

from case import both_orders, case
from wire import (BLOCK, DIGEST, ECHO, FAIL, FIRST, KEEP_ALIVE, NONE, PANIC, PRODUCE, UNKNOWN_TASK, UNREGISTERED, Error, Ok,
                  blocks, encoded_length, pattern, sha256, uneven_blocks)

LENGTHS = [0, 1, 2, 16, 254, 255, 256, 509, 510, 511, 1024, 4096, 65025]


@case("the server sends nothing before the first request", "N1")
def _(t):
    conn = t.connect()
    conn.quiet(0.4)
    conn.goes_on()


@case("the byte order is big endian by default", "N2")
def _(t):
    conn = t.connect()
    conn.send(bytes.fromhex("04 00000001 04 00000005 00"))
    conn.expect(Ok(1, b"\0\1\2\3\4"))


@case("the byte order is little endian where the server is set so", "N2", order="little")
def _(t):
    conn = t.connect()
    conn.send(bytes.fromhex("04 01000000 04 05000000 00"))
    conn.expect(Ok(1, b"\0\1\2\3\4"))


@case("--byte-order big is the default said aloud", "N2")
def _(t):
    conn = t.connect("--byte-order", "big")
    conn.send(conn.w.produce(1, 3))
    conn.expect(Ok(1, b"\0\1\2"))


@case("the empty message is the single byte 00", "N3")
def _(t):
    conn = t.connect()
    conn.send(bytes.fromhex("01 01020304 00"))
    t.equal(exactly(conn, 6), bytes.fromhex("00 01020304 00"))
    conn.quiet(0.2)


def exactly(conn, count):
    """So many raw bytes, past the decoder."""
    data = b""
    while len(data) < count:
        part = conn.receive(5, count - len(data))
        conn.t.check(part, f"{count} bytes", f"{len(data)} bytes: {data[:64].hex()}")
        data += part
    return data


def golden(n):
    @both_orders(f"an echo of {n} bytes comes back in canonical bytes", "N4")
    def _(t):
        conn = t.connect()
        expected = t.w.header(0, 0x01020304) + blocks(pattern(n))
        conn.send(t.w.header(ECHO, 0x01020304) + blocks(pattern(n)))
        t.equal(exactly(conn, len(expected)), expected)


for length in LENGTHS:
    golden(length)


def golden_bytes(name, rule, order, request, response):
    @case(f"golden bytes: {name} [{order}]", rule, order)
    def _(t):
        conn = t.connect()
        conn.send(bytes.fromhex(request))
        t.equal(exactly(conn, len(bytes.fromhex(response))).hex(), bytes.fromhex(response).hex())
        conn.goes_on()


for order, ids in (("big", ("01020304", "00000002")), ("little", ("04030201", "02000000"))):
    golden_bytes("an unregistered code with id 0", "T4", order, "00 00000000 00", "01 00000000 fb")
    golden_bytes("code 249 with the largest id", "T4", order, "f9 ffffffff 01aa 00", "01 ffffffff fb")
    golden_bytes("KeepAlive", "E1", order, f"fa {ids[0]} 00", f"00 {ids[0]} 00")
    golden_bytes("fail with code 7", "T8", order, f"03 {ids[0]} 0107 00", f"01 {ids[0]} 07")
    golden_bytes("panic", "T9", order, f"05 {ids[1]} 00", f"01 {ids[1]} fe")
    golden_bytes("a malformed Negotiate", "E3", order, f"fc {ids[1]} 00", f"01 {ids[1]} fa")

golden_bytes("Negotiate and its answer", "E3", "big", "fc 00000001 05 01 00000003 00",
             "00 00000001 15 01 00000003 00000400 00400000 00000708 0000000f 00")
golden_bytes("Negotiate and its answer", "E3", "little", "fc 01000000 05 01 03000000 00",
             "00 01000000 15 01 03000000 00040000 00004000 08070000 0f000000 00")


@case("a streamed body costs n + n/255 + 1 bytes", "N4")
def _(t):
    for n in (0, 1, 255, 256, 65535, 65536, 65537, 100_000, 1 << 20):
        conn = t.connect()
        conn.send(t.w.produce(1, n))
        conn.expect(Ok(1, pattern(n)))
        t.equal(conn.received_total, 5 + encoded_length(n))
        conn.close()


@both_orders("a message may come in blocks of any one size", "N4")
def _(t):
    conn, message = t.connect(), pattern(300)
    for size in range(1, 256):
        conn.send(t.w.request(ECHO, size, message, size))
        conn.expect(Ok(size, message))


@both_orders("block sizes carry no meaning", "N5")
def _(t):
    conn, rng = t.connect(), random.Random(5)
    for task_id in range(100):
        message = rng.randbytes(rng.randrange(2000))
        sizes = iter(lambda: rng.choice((1, 1, 2, 3, 7, 100, 254, 255)), None)
        conn.send(t.w.header(ECHO, task_id) + uneven_blocks(message, sizes))
        conn.expect(Ok(task_id, message))


@case("100,000 blocks of one byte are one message", "N4")
def _(t):
    conn, message = t.connect(), pattern(100_000)
    conn.send(t.w.request(DIGEST, 1, message, size=1))
    conn.expect(Ok(1, sha256(message)))


@both_orders("requests may be split at every byte", "N5")
def _(t):
    conn = t.connect()
    stream = (t.w.request(ECHO, 1, b"abc", 2) + t.w.produce(2, 3) + t.w.request(KEEP_ALIVE, 3, b"x") +
              t.w.request(UNREGISTERED, 4, b"yz") + t.w.request(FAIL, 5, b"\7") + t.w.request(DIGEST, 6, b"q"))
    answers = [Ok(1, b"abc"), Ok(2, b"\0\1\2"), Ok(3, b""), Error(4, UNKNOWN_TASK), Error(5, 7), Ok(6, sha256(b"q"))]
    for cut in range(1, len(stream)):
        conn.send(stream[:cut])
        time.sleep(0.004)
        conn.send(stream[cut:])
        conn.expect_all(answers)


@both_orders("requests may come byte by byte", "N5")
def _(t):
    conn = t.connect()
    conn.drip(t.w.request(ECHO, 7, pattern(20), 9) + t.w.produce(8, 4) + t.w.request(NONE, 9), 0.003)
    conn.expect_all([Ok(7, pattern(20)), Ok(8, b"\0\1\2\3"), Ok(9, b"")])


@case("1,000 requests may come in one piece", "N5")
def _(t):
    conn = t.connect()
    conn.send(b"".join(t.w.request(ECHO, i, b"%d" % i) for i in range(1000)))
    conn.expect_all([Ok(i, b"%d" % i) for i in range(1000)])


@case("10,000 requests of many codes pass through one connection", "N8", slow=True)
def _(t):
    conn = t.connect()
    kinds = [(ECHO, b"m", lambda i: Ok(i, b"m")), (NONE, b"m", lambda i: Ok(i, b"")), (FAIL, b"\11", lambda i: Error(i, 9)),
             (KEEP_ALIVE, b"", lambda i: Ok(i, b"")), (UNREGISTERED, b"m", lambda i: Error(i, UNKNOWN_TASK)),
             (FIRST, b"mn", lambda i: Ok(i, b"m"))]
    for start in range(0, 10_000, 1000):
        batch = [(i, kinds[i % len(kinds)]) for i in range(start, start + 1000)]
        conn.send(b"".join(t.w.request(kind[0], i, kind[1]) for i, kind in batch))
        conn.expect_all([kind[2](i) for i, kind in batch])


@case("every code below 250 that is not registered is UNKNOWN_TASK", "N6, T4")
def _(t):
    conn = t.connect()
    for code in [0, *range(16, 250)]:
        t.equal(conn.call(code, code, b"message"), Error(code, UNKNOWN_TASK))
    conn.goes_on()


@both_orders("any 32 bits are an id", "N7")
def _(t):
    conn = t.connect()
    for task_id in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01020304, 0xFF00FF00):
        t.equal(conn.call(ECHO, task_id, b"x"), Ok(task_id, b"x"))


@case("an id may be used again as soon as its response has come", "N7")
def _(t):
    conn = t.connect()
    for turn in range(300):
        message = b"%d" % turn
        t.equal(conn.call(ECHO, 7, message), Ok(7, message))


@case("an id may be used again after every kind of terminal response", "N7")
def _(t):
    conn = t.connect()
    for _ in range(5):
        t.equal(conn.call(FAIL, 7, b"\1"), Error(7, 1))
        t.equal(conn.call(UNREGISTERED, 7), Error(7, UNKNOWN_TASK))
        t.equal(conn.call(KEEP_ALIVE, 7), Ok(7, b""))
        conn.negotiate(0, 7)
        t.equal(conn.call(PANIC, 7), Error(7, 254))
        t.equal(conn.call(NONE, 7), Ok(7, b""))
        conn.send(t.w.sleep(7, 60_000) + t.w.cancel(7))
        conn.expect(Error(7, 255))
        t.equal(conn.call(PRODUCE, 7, t.w.u32(70_000)), Ok(7, pattern(70_000)))
        t.equal(conn.call(BLOCK, 7, t.w.u32(1)), Ok(7, b"done"))


@case("responses come as tasks end, not in the order of requests", "N8")
def _(t):
    conn = t.connect()
    conn.send(t.w.sleep(1, 1500, b"late") + t.w.sleep(2, 50, b"soon"))
    conn.expect(Ok(2, b"soon"), Ok(1, b"late"))


@both_orders("50 streamed responses do not interleave", "N8", slow=True)
def _(t):
    conn = t.connect()
    sizes = {i: 60_000 + 3_001 * i for i in range(50)}
    conn.send(b"".join(t.w.produce(i, n) for i, n in sizes.items()))
    conn.expect_all([Ok(i, pattern(n)) for i, n in sizes.items()], within=8)


@case("small responses do not interleave with streamed ones", "N8", slow=True)
def _(t):
    conn = t.connect(receive_buffer=8192)
    requests, answers = b"", []
    for i in range(0, 300, 3):
        requests += t.w.produce(i, 50_000 + i) + t.w.sleep(i + 1, i, b"rest") + t.w.request(KEEP_ALIVE, i + 2)
        answers += [Ok(i, pattern(50_000 + i)), Ok(i + 1, b"rest"), Ok(i + 2, b"")]
    conn.send(requests)
    conn.expect_all(answers, within=8)


@case("echoes of every length up to 600 are right", "N4")
def _(t):
    conn = t.connect()
    for start in range(0, 600, 100):
        conn.send(b"".join(t.w.request(ECHO, n, pattern(n)) for n in range(start, start + 100)))
        conn.expect_all([Ok(n, pattern(n)) for n in range(start, start + 100)])
