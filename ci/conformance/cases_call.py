"""The `call` program against true servers: its arguments, its JSON, its exit status."""
import os
import socket
import tempfile
import threading

from case import both_orders, case
from fake_server import one_call, run_call
from wire import (BLOCK, BREAK, CANCELLED, DEADLINE, DIGEST, ECHO, FAIL, LIMITED, NONE, PANIC, PANICKED, PRODUCE, REJECT, SLEEP,
                  UNAVAILABLE, UNKNOWN_TASK, UNREGISTERED, pattern, sha256)

KEYS = {"id", "outcome", "error_code", "length", "hex", "elapsed_ms", "reason"}
MODES = ((), ("--no-negotiate",))


def at(server):
    return "%s:%d" % server.address


def ok(t, found, body):
    """The object tells this body."""
    t.equal((found["outcome"], found.get("length")), ("ok", len(body)))
    t.check("error_code" not in found, "no error code beside ok", found)
    if len(body) <= 2048:
        t.equal(found.get("hex", ""), body.hex())
    else:
        t.check(body.hex().startswith(found.get("hex", "")) and len(found.get("hex", "")) <= 8192, "at most 4 KiB of hex", found)


@both_orders("call sends a text and tells the body", "C6")
def _(t):
    for mode in MODES:
        found = one_call(t, at(t.server()), ECHO, "--text", "grüß dich", *mode, outcomes=["ok"])
        ok(t, found, "grüß dich".encode())
        t.check(set(found) <= KEYS, f"no other keys than {sorted(KEYS)}", sorted(found))
        t.check(isinstance(found.get("id"), int) and isinstance(found.get("elapsed_ms"), (int, float)), "id and elapsed_ms", found)


@both_orders("call sends what hex says", "C6")
def _(t):
    for mode in MODES:
        ok(t, one_call(t, at(t.server()), PRODUCE, "--hex", t.w.u32(300).hex(), *mode, outcomes=["ok"]), pattern(300))


@case("call sends a file", "section 10")
def _(t):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        for message in (b"", pattern(1_000_000)):
            with open(path, "wb") as file:
                file.write(message)
            ok(t, one_call(t, at(t.server()), DIGEST, "--file", path, outcomes=["ok"]), sha256(message))


@case("call sends the empty message where none is given", "N3")
def _(t):
    ok(t, one_call(t, at(t.server()), ECHO, outcomes=["ok"]), b"")
    ok(t, one_call(t, at(t.server()), NONE, outcomes=["ok"]), b"")


@case("call tells long bodies with at most 4 KiB of hex", "section 10")
def _(t):
    for n in (4096, 4097, 100_000, 5_000_000):
        ok(t, one_call(t, at(t.server()), PRODUCE, "--hex", t.w.u32(n).hex(), outcomes=["ok"]), pattern(n))


@case("call without --json prints the body", "section 10")
def _(t):
    result = run_call(t, at(t.server()), ECHO, "--text", "hello there", json_lines=False)
    t.check(result.status == 0 and b"hello there" in result.stdout, "the body and status 0", result.describe())


@case("call without --json says what happened", "section 10")
def _(t):
    result = run_call(t, at(t.server()), FAIL, "--hex", "2a", json_lines=False)
    t.check(result.status == 1 and b"42" in result.stdout + result.stderr, "the error code 42 and status 1", result.describe())


@case("call takes the id that it is given", "N7")
def _(t):
    for task_id in (0, 5, 4_294_967_295):
        t.equal(one_call(t, at(t.server()), ECHO, "--id", task_id, outcomes=["ok"])["id"], task_id)


def failing(name, rule, code, message, error_code, outcomes=("error",), flags=()):
    @both_orders(f"call tells {name}", rule)
    def _(t):
        for mode in MODES:
            found = one_call(t, at(t.server(*flags)), code, "--hex", message(t.w).hex(), "--retries", 0, *mode, outcomes=outcomes)
            t.check(found.get("error_code") == error_code or found["outcome"] == "cancelled", f"error code {error_code}", found)
            t.check(isinstance(found.get("elapsed_ms"), (int, float)), "elapsed_ms", found)


failing("an application's error", "T8", FAIL, lambda w: b"\7", 7)
failing("error code 0", "T8", FAIL, lambda w: b"\0", 0)
failing("a panic", "T9", PANIC, lambda w: b"", PANICKED)
failing("an unknown task", "T4", UNREGISTERED, lambda w: b"x", UNKNOWN_TASK)
failing("a deadline", "T12", LIMITED, lambda w: w.u32(3000), DEADLINE)
failing("CANCELLED from the server", "N9", FAIL, lambda w: b"\xff", CANCELLED, ("cancelled", "error"))


@case("call tells the server's UNAVAILABLE when it may not send again", "C7")
def _(t):
    server = t.own("--max-tasks", "1")
    conn = t.connect_to(server)
    conn.send(t.w.sleep(1, 6000))
    conn.goes_on()
    t.equal(one_call(t, at(server), ECHO, "--retries", 0, outcomes=["error"])["error_code"], UNAVAILABLE)


@case("call sends again after UNAVAILABLE by itself", "C7")
def _(t):
    server = t.own("--max-tasks", "1")
    conn = t.connect_to(server)
    conn.send(t.w.sleep(1, 700))
    conn.goes_on()
    found = one_call(t, at(server), ECHO, "--text", "x", "--retries", 30, outcomes=["ok", "error"])
    if found["outcome"] == "error":
        t.equal(found["error_code"], UNAVAILABLE)


@both_orders("call cancels", "C5, E2")
def _(t):
    for code in (SLEEP, BLOCK):
        found = one_call(t, at(t.server()), code, "--hex", t.w.u32(6000).hex(), "--cancel-after", "200ms", outcomes=["cancelled"])
        t.check(150 <= found["elapsed_ms"] < 4000, "an end soon after 200 ms", found)


@case("call that ends before its cancel is ok", "C5")
def _(t):
    ok(t, one_call(t, at(t.server()), ECHO, "--text", "x", "--cancel-after", "5s", outcomes=["ok"]), b"x")


@case("call cancels in the server what it gave up", "C5, E2")
def _(t):
    server = t.own("--max-tasks", "1")
    one_call(t, at(server), SLEEP, "--hex", t.w.u32(60_000).hex(), "--cancel-after", "200ms", outcomes=["cancelled"])
    ok(t, one_call(t, at(server), ECHO, "--text", "x", "--retries", 20, outcomes=["ok"]), b"x")


@case("call times out", "C4, C5")
def _(t):
    for mode in MODES:
        found = one_call(t, at(t.server()), SLEEP, "--hex", t.w.u32(6000).hex(), "--timeout", "400ms", *mode, outcomes=["timed_out"])
        t.check(350 <= found["elapsed_ms"] < 4000, "an end soon after 400 ms", found)


@case("Processing keeps a call from timing out", "C4, E5")
def _(t):
    server = t.server("--processing", "250ms")
    message = t.w.u32(2000).hex()
    one_call(t, at(server), SLEEP, "--hex", message, "--timeout", "1200ms", outcomes=["ok"])
    one_call(t, at(server), SLEEP, "--hex", message, "--timeout", "1200ms", "--no-negotiate", outcomes=["timed_out"])


@case("call repeats, one object a call", "section 10")
def _(t):
    for arguments in (("--in-flight", 4), ("--in-flight", 1), ("--in-flight", 100)):
        result = run_call(t, at(t.server()), ECHO, "--text", "x", "--repeat", 40, *arguments)
        found = result.objects()
        t.check(result.status == 0 and len(found) == 40, "40 objects and status 0", result.describe())
        for one in found:
            ok(t, one, b"x")


@case("call with many in flight holds to the server's limit", "C7")
def _(t):
    result = run_call(t, at(t.server("--max-in-flight", "2")), SLEEP, "--hex", t.w.u32(50).hex(), "--repeat", 20, "--in-flight", 20)
    t.check(result.status == 0 and len(result.objects()) == 20, "20 objects and status 0", result.describe())


@case("call's exit status is 1 when all fail", "section 10")
def _(t):
    result = run_call(t, at(t.server()), FAIL, "--hex", "01", "--repeat", 5, "--in-flight", 2)
    t.equal((result.status, [one["outcome"] for one in result.objects()]), (1, ["error"] * 5))


@case("a message above the told limit is too long, and not sent", "C7")
def _(t):
    server = t.server("--max-message-bytes", "1000")
    one_call(t, at(server), ECHO, "--text", "x" * 1001, outcomes=["too_long"])
    ok(t, one_call(t, at(server), ECHO, "--text", "x" * 1000, outcomes=["ok"]), b"x" * 1000)


@case("a task that ends its connection is interrupted", "C3")
def _(t):
    server = t.server("--linger", "400ms")
    for mode in MODES:
        one_call(t, at(server), BREAK, "--retries", 0, *mode, outcomes=["interrupted"])
    one_call(t, at(server), REJECT, "--retries", 0, "--no-negotiate", outcomes=["interrupted"])


@case("a rejected request that Goodbye did not count was not started", "C2, T3")
def _(t):
    one_call(t, at(t.server("--linger", "400ms")), REJECT, "--retries", 0, outcomes=["not_started"])


@case("a torn body is interrupted", "C3, T7")
def _(t):
    server = t.server("--linger", "400ms")
    for n in (100, 300_000):
        one_call(t, at(server), 9, "--hex", t.w.u32(n).hex(), "--retries", 0, outcomes=["interrupted"])


@case("without a server a call is not started", "C3")
def _(t):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        for retries in (0, 1, 2):
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            one_call(t, address, ECHO, "--text", "x", "--retries", retries, outcomes=["not_started"])


@case("call knows its byte order", "N2", order="little")
def _(t):
    ok(t, one_call(t, at(t.server()), PRODUCE, "--hex", "03000000", outcomes=["ok"]), b"\0\1\2")


@case("bad arguments are told on stderr, not as a call", "section 10")
def _(t):
    for arguments in (("--hex", "xyz"), ("--text", "a", "--hex", "00"), ("--file", "/nonexistent/file")):
        result = run_call(t, at(t.server()), ECHO, *arguments)
        t.check(result.status != 0 and result.stderr, "a message and a status above 0", result.describe())


@case("a server that shuts down under call lets the short one end", "C2, D3")
def _(t):
    server = t.own("--linger", "1s")
    threading.Timer(1.2, server.signal).start()
    ok(t, one_call(t, at(server), SLEEP, "--hex", (t.w.u32(2500) + b"r").hex(), "--retries", 0, outcomes=["ok"]), b"r")
    server.ended(0, within=3)


@case("a server that shuts down too soon for call interrupts it", "C3, D4")
def _(t):
    server = t.own("--linger", "300ms", "--grace", "400ms")
    threading.Timer(1.2, server.signal).start()
    one_call(t, at(server), SLEEP, "--hex", t.w.u32(7000).hex(), "--retries", 0, outcomes=["interrupted"])
    server.ended(3, within=3)
