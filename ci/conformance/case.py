"""A case: a fact, the rule that it follows from, and a function that fails if it is not so."""
import threading
import time

from wire import Wire

CASES = []
LONGEST_CASE_S = 20.0


class Fail(Exception):
    def __init__(self, expected, came):
        super().__init__(f"expected {expected}, came {came}")


class Case:
    def __init__(self, name, rule, order, slow, function):
        self.name, self.rule, self.order, self.slow, self.function = name, rule, order, slow, function
        self.section = function.__module__.removeprefix("cases_")


def case(name, rule, order="big", slow=False):
    """Registers a function under the name of the fact that it checks. `slow` ones are started first."""
    def register(function):
        CASES.append(Case(name, rule, order, slow, function))
        return function
    return register


def both_orders(name, rule, slow=False):
    def register(function):
        for order in ("big", "little"):
            CASES.append(Case(f"{name} [{order}]", rule, order, slow, function))
        return function
    return register


class Context:
    """What a running case has in its hands; everything it opens is closed with it."""

    def __init__(self, running, fleet, call_path):
        self.case = running
        self.order = running.order
        self.w = Wire(running.order)
        self.fleet = fleet
        self.call_path = call_path
        self.started = time.monotonic()
        self.conns = []
        self.used = []
        self.closers = []
        self.lock = threading.Lock()

    def _flags(self, flags):
        """A flag that is named twice has its last value."""
        values, at = {}, 0
        while at < len(flags):
            has_value = at + 1 < len(flags) and not flags[at + 1].startswith("--")
            values[flags[at]] = flags[at + 1:at + 2] if has_value else ()
            at += 2 if has_value else 1
        if self.order == "little":
            values["--byte-order"] = ("little",)
        return tuple(word for flag, value in values.items() for word in (flag, *value))

    def server(self, *flags):
        """The one server of this configuration, which other cases use at the same time."""
        server = self.fleet.shared(self._flags(flags))
        self.used.append(server)
        return server

    def own(self, *flags):
        """A server of this case alone."""
        server = self.fleet.start(self._flags(flags))
        self.used.append(server)
        self.closers.append(server.kill)
        return server

    def connect(self, *flags, **options):
        return self.connect_to(self.server(*flags), **options)

    def connect_to(self, server, **options):
        from harness import Conn
        conn = Conn(server.address, self, **options)
        with self.lock:
            self.conns.append(conn)
        return conn

    def left(self, at_most):
        """A wait of `at_most` seconds, cut where the case's own time ends."""
        return max(0.05, min(at_most, self.started + LONGEST_CASE_S - time.monotonic()))

    def check(self, condition, expected, came):
        if not condition:
            raise Fail(expected, came)

    def equal(self, came, expected):
        if came != expected:
            raise Fail(short(expected), short(came))

    def close(self):
        for conn in self.conns:
            conn.close()
        for closer in self.closers:
            closer()


def short(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def run_case(running, fleet, call_path):
    """None if the case holds, else one line that says why not."""
    context = Context(running, fleet, call_path)
    try:
        running.function(context)
        for server in context.used:
            if server.died():
                raise Fail("a server that goes on", f"exit status {server.process.poll()}: {server.stderr_tail()}")
        return None
    except Exception as error:  # a case may fail in any way: all of them are reported
        why = f"{error}" if isinstance(error, Fail) else f"{type(error).__name__}: {error} ({_place(error)})"
        bytes_seen = "; ".join(conn.trace() for conn in context.conns[-2:])
        took = time.monotonic() - context.started
        line = f"FAIL {running.name} [{running.rule}]: {why} (after {took:.2f} s)" + (f" | {bytes_seen}" if bytes_seen else "")
        return line.replace("\n", " ")
    finally:
        context.close()


def _place(error):
    frame, place = error.__traceback__, "?"
    while frame:
        name = frame.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
        place = f"{name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return place
