"""The `call` program against scripted servers: negotiation, Goodbye, what is sent again, limits (C2 to C7)."""
from case import both_orders, case
from cases_call_faults import BASE, GONE_BEFORE_SENT, ONCE, answered_by, tasks
from fake_server import FakeServer, one_call, run_call
from wire import CANCEL, ECHO, MALFORMED, NEGOTIATE, UNAVAILABLE, UNKNOWN_TASK, Error, Goodbye, Ok, Processing


# C6, Negotiate

@both_orders("Negotiate is the first request, well formed, and nothing follows until it is answered", "C6, E3")
def _(t):
    def script(peer):
        request = peer.request()
        t.equal((request.code, len(request.message) >= 5, request.message[:1]), (NEGOTIATE, True, b"\1"))
        t.check(peer.w.read_u32(request.message[1:5]) & ~3 == 0, "known feature bits", request)
        t.check(peer.is_quiet(0.5), "nothing behind Negotiate", "bytes")
        peer.answer(Error(request.id, UNKNOWN_TASK))
        task = peer.request()
        peer.answer(Ok(task.id, task.message))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=["ok"])
    fake.finish()


@case("without negotiation the first request is the task", "C6")
def _(t):
    _, fake = answered_by(t, lambda peer, r: peer.answer(Ok(r.id, b"")), outcomes=["ok"], negotiate=False)
    t.equal([request.code for peer in fake.peers for request in peer.requests], [ECHO])


@both_orders("UNKNOWN_TASK for Negotiate means a base server", "C6")
def _(t):
    def script(peer):
        while (request := peer.request()) is not None:
            peer.answer(Error(request.id, UNKNOWN_TASK) if request.code == NEGOTIATE else Ok(request.id, request.message))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=["ok"])
    t.equal([(r.code, r.message) for r in tasks(fake)], [(ECHO, b"abc")])


def closed_on_negotiate(name, leave):
    @both_orders(f"a connection {name} on Negotiate means a base server", "C6")
    def _(t):
        def script(peer):
            request = peer.request()
            if request.code == NEGOTIATE:
                return leave(peer)
            peer.answer(Ok(request.id, request.message))

        fake = FakeServer(t, script)
        one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=["ok"])
        fake.finish()
        t.equal([[r.code for r in peer.requests] for peer in fake.peers], [[NEGOTIATE], [ECHO]])


closed_on_negotiate("closed", lambda peer: None)
closed_on_negotiate("reset", lambda peer: peer.reset())


@case("a base server is sent neither Cancel nor Negotiate again", "C5, C6")
def _(t):
    def script(peer):
        while (request := peer.request()) is not None:
            if request.code == NEGOTIATE:
                peer.answer(Error(request.id, UNKNOWN_TASK))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", "--cancel-after", "200ms", *ONCE, outcomes=["cancelled", "timed_out", "interrupted"])
    fake.finish()
    t.equal([r.code for peer in fake.peers for r in peer.requests], [NEGOTIATE, ECHO])


@case("Negotiate that is never answered ends in bounded time", "C4, C6")
def _(t):
    def script(peer):
        while peer.request() is not None:
            pass

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", "--timeout", "500ms", *ONCE, outcomes=["timed_out", "not_started"])
    t.equal(tasks(fake), [])


@case("Negotiate answered under a wrong id is a protocol error", "C1")
def _(t):
    fake = FakeServer(t, lambda peer: peer.answer(Ok(peer.request().id ^ 1, b"")))
    one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=GONE_BEFORE_SENT)
    fake.finish()
    t.equal(tasks(fake), [])


@case("Negotiate answered with what cannot be understood ends in bounded time", "C6")
def _(t):
    for body in (b"", b"\1\0\0", bytes(21), b"\1" + b"\xff" * 20):
        def script(peer):
            while (request := peer.request(3)) is not None:
                peer.answer(Ok(request.id, body if request.code == NEGOTIATE else request.message))

        fake = FakeServer(t, script)
        one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=["ok", "protocol_error", "not_started"])


# C2, Goodbye

def goodbye(name, accepted, then, outcomes):
    @both_orders(f"Goodbye {accepted}, {name}: {' or '.join(outcomes)}", "C2")
    def _(t):
        answered_by(t, lambda peer, r: (peer.answer(Goodbye(accepted)), then(peer, r)), outcomes=outcomes)


goodbye("the call beyond it", 1, lambda peer, r: None, ["not_started"])
goodbye("the call beyond it, the connection reset", 1, lambda peer, r: peer.is_quiet(0.3) and peer.reset(), ["not_started"])
goodbye("then the answer", 2, lambda peer, r: peer.answer(Ok(r.id, b"x")), ["ok"])
goodbye("then an error", 2, lambda peer, r: peer.answer(Error(r.id, 3)), ["error"])
goodbye("then the end", 2, lambda peer, r: None, ["interrupted"])
goodbye("fewer than were answered already", 0, lambda peer, r: None, ["not_started", "protocol_error"])


@case("of two calls Goodbye tells which was not started", "C2")
def _(t):
    def script(peer):
        peer.negotiated()
        one, _ = peer.request(), peer.request()
        peer.answer(Goodbye(2), Ok(one.id, b"x"))

    fake = FakeServer(t, script)
    result = run_call(t, fake.address, ECHO, "--text", "abc", "--repeat", 2, "--in-flight", 2, *ONCE)
    t.equal((sorted(one["outcome"] for one in result.objects()), result.status), (["not_started", "ok"], 1))


@case("a call that was not started is sent again on a new connection", "C2, C3")
def _(t):
    def script(peer):
        peer.negotiated()
        request = peer.request()
        peer.answer(Goodbye(1) if peer.number == 0 else Ok(request.id, request.message))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", "--retries", 3, outcomes=["ok"])
    t.equal(len(tasks(fake)), 2)


@case("after Goodbye no request is sent on that connection", "C2")
def _(t):
    def script(peer):
        peer.negotiated()
        request = peer.request()
        if peer.number == 0:
            peer.answer(Ok(request.id, b"x"), Goodbye(2))
            return t.check(peer.request(1.5) is None, "no request behind Goodbye", peer.requests[-1])
        while request is not None:
            peer.answer(Ok(request.id, b"x"))
            request = peer.request()

    fake = FakeServer(t, script)
    result = run_call(t, fake.address, ECHO, "--text", "abc", "--repeat", 4, "--in-flight", 1, "--retries", 3)
    # One request may cross Goodbye on the wire; it must then be sent again.
    t.equal([one["outcome"] for one in result.objects()], ["ok"] * 4)


@case("an interrupted call is not sent again by itself", "C3")
def _(t):
    def script(peer):
        peer.negotiated()
        request = peer.request()
        if peer.number:
            peer.answer(Ok(request.id, b"again"))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", "--retries", 3, outcomes=["interrupted"])
    t.equal(len(tasks(fake)), 1)


@case("an unavailable call is sent again", "C7")
def _(t):
    def script(peer):
        peer.negotiated()
        count = 0
        while (request := peer.request()) is not None:
            peer.answer(Error(request.id, UNAVAILABLE) if count == 0 else Ok(request.id, b"x"))
            count += 1

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", "--retries", 3, outcomes=["ok"])
    t.equal(len(tasks(fake)), 2)


# C4, C5, C7

@case("a call that is never answered times out and is given up with E2", "C4, C5")
def _(t):
    def reply(peer, request):
        cancel = peer.request(4)
        t.check(cancel is not None and (cancel.code, cancel.id) == (CANCEL, request.id), f"Cancel {request.id}", cancel)

    found, _ = answered_by(t, reply, "--timeout", "400ms", outcomes=["timed_out"])
    t.check(350 <= found["elapsed_ms"] < 4000, "an end soon after 400 ms", found)


@both_orders("a call given up by its user sends E2 behind its message", "C5, E2")
def _(t):
    def reply(peer, request):
        cancel = peer.request(4)
        t.check(cancel is not None and (cancel.code, cancel.id) == (CANCEL, request.id), f"Cancel {request.id}", cancel)
        peer.answer(Error(request.id, 255))

    answered_by(t, reply, "--cancel-after", "250ms", outcomes=["cancelled"])


@case("an answer that crosses the cancel is no protocol error", "C5")
def _(t):
    def reply(peer, request):
        peer.request(4)
        peer.answer(Ok(request.id, b"late"))

    answered_by(t, reply, "--cancel-after", "250ms", outcomes=["cancelled", "ok"])


@case("Processing starts the response time afresh", "C4, E5")
def _(t):
    def reply(peer, request):
        for _ in range(5):
            peer.is_quiet(0.35)
            peer.answer(Processing(request.id))
        peer.answer(Ok(request.id, b"x"))

    found, _ = answered_by(t, reply, "--timeout", "1s", outcomes=["ok"])
    t.check(found["elapsed_ms"] > 1500, "more than 1.5 s", found)


@case("no more calls are in flight than the server told", "C7")
def _(t):
    def script(peer):
        peer.negotiated(max_in_flight=2)
        for _ in range(3):
            pair = [peer.request(), peer.request()]
            t.check(peer.is_quiet(0.3), "two requests at a time", "a third")
            peer.answer(*(Ok(request.id, b"x") for request in reversed(pair)))
        peer.request(2)

    fake = FakeServer(t, script)
    result = run_call(t, fake.address, ECHO, "--text", "abc", "--repeat", 6, "--in-flight", 6, *ONCE)
    t.equal(([one["outcome"] for one in result.objects()], result.status), (["ok"] * 6, 0))
    fake.finish()


@case("a message longer than the server told is not sent", "C7")
def _(t):
    def script(peer):
        peer.negotiated(max_message_bytes=10)
        request = peer.request(3)
        t.check(request is None, "no request", request)

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "elevenbytes", *ONCE, outcomes=["too_long"])
    fake.finish()


@case("an accepted connection that is closed at once leaves the call undone", "C3")
def _(t):
    for mode in ((), (BASE,)):
        fake = FakeServer(t, lambda peer: peer.reset())
        one_call(t, fake.address, ECHO, "--text", "abc", *mode, *ONCE, outcomes=["not_started", "interrupted"])


@case("ids of calls in flight are distinct", "N7")
def _(t):
    def script(peer):
        peer.negotiated()
        requests = [peer.request() for _ in range(20)]
        t.equal(len({request.id for request in requests}), 20)
        peer.answer(*(Ok(request.id, b"x") for request in reversed(requests)))
        peer.request(2)

    fake = FakeServer(t, script)
    result = run_call(t, fake.address, ECHO, "--text", "abc", "--repeat", 20, "--in-flight", 20, *ONCE)
    t.equal((len(result.objects()), result.status), (20, 0))
    fake.finish()


@case("a malformed Negotiate by the server's word ends in bounded time", "C6")
def _(t):
    def script(peer):
        while (request := peer.request(3)) is not None:
            peer.answer(Error(request.id, MALFORMED) if request.code == NEGOTIATE else Ok(request.id, b""))

    fake = FakeServer(t, script)
    one_call(t, fake.address, ECHO, "--text", "abc", *ONCE, outcomes=["ok", "error", "protocol_error", "not_started"])
