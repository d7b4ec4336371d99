"""The `call` program against scripted servers: wrong, cut and strange answers (C1, C3, C8)."""
import random

from case import both_orders, case
from fake_server import FakeServer, one_call, run_call
from wire import CANCEL, ECHO, NEGOTIATE, Error, Goodbye, Ok, Processing, blocks, pattern

BASE, ONCE = "--no-negotiate", ("--retries", 0)
GONE_BEFORE_SENT = ("not_started", "protocol_error")


def tasks(fake):
    """Every request but Negotiate and Cancel, of all connections."""
    return [request for peer in fake.peers for request in peer.requests if request.code not in (NEGOTIATE, CANCEL)]


def answered_by(t, reply, *arguments, outcomes, negotiate=True, granted=3):
    """One call whose request is answered by reply(peer, request)."""
    def script(peer):
        if negotiate:
            peer.negotiated(granted)
        reply(peer, peer.request())

    fake = FakeServer(t, script)
    mode = () if negotiate else (BASE,)
    found = one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, *mode, *arguments, outcomes=outcomes)
    fake.finish()
    return found, fake


def faulty(name, rule, outcomes, reply, **options):
    @both_orders(f"{name}: {' or '.join(outcomes)}", rule)
    def _(t):
        for negotiate in options.get("modes", (True, False)):
            answered_by(t, reply, outcomes=outcomes, negotiate=negotiate, granted=options.get("granted", 3))


PROTOCOL_ERROR, INTERRUPTED = ("protocol_error",), ("interrupted",)

faulty("OK for an id that is not live", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Ok(r.id ^ 1, b"abc")))
faulty("Error for an id that is not live", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Error(r.id ^ 0x80, 1)))
faulty("the id in the other byte order", "C1, N2", PROTOCOL_ERROR,
       lambda peer, r: peer.answer(Ok(int.from_bytes(r.id.to_bytes(4, "big"), "little") ^ 0x01020304, b"abc")))
for code in (4, 5, 100, 254, 255):
    faulty(f"unknown response code {code}", "C1", PROTOCOL_ERROR, lambda peer, r, code=code: peer.send(peer.w.header(code, r.id) + b"\0"))
faulty("Goodbye that was not granted", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Goodbye(2), Ok(r.id, b"")), granted=0)
faulty("Processing that was not granted", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Processing(r.id), Ok(r.id, b"")), granted=0)
faulty("Processing where only Goodbye was granted", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Processing(r.id)), granted=1, modes=(True,))
faulty("Processing for an id that is not live", "C1", PROTOCOL_ERROR, lambda peer, r: peer.answer(Processing(r.id ^ 2)), modes=(True,))
faulty("a connection closed instead of an answer", "C3", INTERRUPTED, lambda peer, r: None)
faulty("a connection reset instead of an answer", "C3", INTERRUPTED, lambda peer, r: peer.reset())


@both_orders("a response cut at any byte is interrupted", "C3")
def _(t):
    for whole in (t.w.response(Ok(9, b"abc")), t.w.response(Error(9, 1))):
        for cut in range(len(whole)):
            answered_by(t, lambda peer, r: peer.send(whole[:cut]), "--id", 9, outcomes=INTERRUPTED, negotiate=False)


@case("a response cut inside a long body is interrupted", "C3")
def _(t):
    whole = t.w.response(Ok(9, pattern(5000)))
    for cut in (6, 260, 261, 262, 4000, len(whole) - 1):
        answered_by(t, lambda peer, r: peer.send(whole[:cut]), "--id", 9, outcomes=INTERRUPTED)


@case("a Goodbye cut short is interrupted", "C3")
def _(t):
    answered_by(t, lambda peer, r: peer.send(t.w.response(Goodbye(2))[:3]), outcomes=INTERRUPTED)


@case("a second terminal response is a protocol error for what is pending", "C1")
def _(t):
    for first in (Ok(0, b"abc"), Error(0, 7)):
        def script(peer):
            peer.negotiated()
            one, _ = peer.request(), peer.request()
            peer.answer(first._replace(id=one.id), first._replace(id=one.id))

        fake = FakeServer(t, script)
        result = run_call(t, fake.address, ECHO, "--text", "abc", "--repeat", 2, "--in-flight", 2, *ONCE)
        fake.finish()
        expected = sorted(["ok" if isinstance(first, Ok) else "error", "protocol_error"])
        t.equal((sorted(one["outcome"] for one in result.objects()), result.status), (expected, 1))


@case("a response before any request is a protocol error", "C1")
def _(t):
    def script(peer):
        peer.answer(Ok(77, b"abc"))
        while peer.request(3) is not None:
            pass

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", BASE, *ONCE, outcomes=GONE_BEFORE_SENT)
    fake.finish()


@both_orders("garbage for an answer is a protocol error", "C1, section 9")
def _(t):
    rng = random.Random(11)
    for _ in range(12):
        noise = rng.randbytes(200)
        answered_by(t, lambda peer, r: peer.send(noise), outcomes=PROTOCOL_ERROR, negotiate=False)


@case("a call id given by the user is the id on the wire", "N7")
def _(t):
    for task_id in (0, 77, 0xFFFFFFFF):
        _, fake = answered_by(t, lambda peer, r: peer.answer(Ok(r.id, b"")), "--id", task_id, outcomes=["ok"])
        t.equal([(r.code, r.id, r.message) for r in tasks(fake)], [(ECHO, task_id, b"abc")])


# strange but true answers

def fine(name, rule, reply, body, *arguments, slow=False):
    @both_orders(name, rule, slow=slow)
    def _(t):
        found, _ = answered_by(t, reply, *arguments, outcomes=["ok"])
        t.equal((found["length"], found.get("hex", "")), (len(body), body.hex()))


fine("a response in blocks of one byte is understood", "N4",
     lambda peer, r: peer.send(peer.w.header(0, r.id) + blocks(pattern(600), 1)), pattern(600))
fine("a response in uneven blocks is understood", "N5",
     lambda peer, r: peer.send(peer.w.header(0, r.id) + b"\2ab\1c\3def\0"), b"abcdef")
fine("a response that drips byte by byte is understood", "N5",
     lambda peer, r: peer.drip(peer.w.response(Ok(r.id, b"slow")), 0.06), b"slow")
fine("Processing before the response is understood", "E5",
     lambda peer, r: peer.answer(*[Processing(r.id)] * 5, Ok(r.id, b"x")), b"x")
fine("the empty response is understood", "N3", lambda peer, r: peer.answer(Ok(r.id, b"")), b"")
fine("Goodbye before the response of an accepted call is understood", "C2", lambda peer, r: peer.answer(Goodbye(2), Ok(r.id, b"x")), b"x")
fine("Goodbye right behind the response is understood", "C2", lambda peer, r: peer.answer(Ok(r.id, b"x"), Goodbye(2)), b"x")


@case("every error code is told", "N9, C7")
def _(t):
    for code in (0, 1, 42, 249, 250, 251, 252, 253, 254):
        found, _ = answered_by(t, lambda peer, r: peer.answer(Error(r.id, code)), outcomes=["error"])
        t.equal(found["error_code"], code)
    answered_by(t, lambda peer, r: peer.answer(Error(r.id, 255)), outcomes=["cancelled", "error"])


@case("a response of more than 64 MiB is too long, or told whole", "C8", slow=True)
def _(t):
    size = 65 << 20

    def reply(peer, request):
        peer.send(peer.w.header(0, request.id))
        chunk = blocks(bytes(255 * 4096))[:-1]
        for _ in range(size // (255 * 4096) + 1):
            peer.send(chunk)
        peer.send(b"\0")

    found, _ = answered_by(t, reply, outcomes=["too_long", "ok"])
    t.check(found["outcome"] == "too_long" or found["length"] > size, "too_long, or its length", found)
