"""Starts demo servers, and connects to them with bounded patience."""
import json
import os
import queue
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from case import Fail, short
from wire import KEEP_ALIVE, Decoder, Malformed, Ok

START_S = 10.0
ANSWER_S = 6.0


class Server:
    """A demo_server process."""

    def __init__(self, path, flags):
        self.flags = flags
        self.stderr = tempfile.TemporaryFile()
        self.signalled = False
        self.process = subprocess.Popen(
            [path, "--listen", "127.0.0.1:0", *flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.stderr, env={**os.environ, "RUST_LOG": "error", "RUST_BACKTRACE": "0"})
        self.lines = queue.Queue()
        threading.Thread(target=self._read_lines, daemon=True).start()
        try:
            first = self.lines.get(timeout=START_S)
        except queue.Empty:
            first = None
        if not first or not first.startswith("listening on "):
            tail = self.stderr_tail()
            self.kill()
            raise Fail("`listening on HOST:PORT` as the first line of stdout", f"{first!r} from flags {flags}: {tail}")
        host, port = first.removeprefix("listening on ").strip().rsplit(":", 1)
        self.address = (host, int(port))

    def _read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def signal(self, number=signal.SIGTERM):
        self.signalled = True
        self.process.send_signal(number)

    def wait(self, within):
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Fail(f"the process to end within {within:.1f} s", "it still runs") from None

    def report(self):
        """The drain report: the one line of stdout behind the first."""
        lines = []
        while (line := self.lines.get(timeout=2)) is not None:
            lines.append(line)
        if len(lines) != 1:
            raise Fail("one line of JSON behind the first line of stdout", short(lines))
        try:
            report = json.loads(lines[0])
        except ValueError:
            raise Fail("a drain report in JSON", short(lines[0])) from None
        if not isinstance(report, dict):
            raise Fail("a drain report that is one JSON object", short(report))
        return report

    def ended(self, status, within):
        """Expects the exit status and the drain report."""
        came = self.wait(within)
        self.report()
        if came != status:
            raise Fail(f"exit status {status}", f"{came}: {self.stderr_tail()}")

    def died(self):
        return not self.signalled and self.process.poll() is not None

    def stderr_tail(self):
        size = self.stderr.seek(0, os.SEEK_END)
        self.stderr.seek(max(0, size - 400))
        return self.stderr.read().decode(errors="replace").strip().replace("\n", " / ")

    def kill(self):
        self.signalled = True
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Fleet:
    """Every server of a run; one for each configuration that cases share."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.by_flags = {}
        self.all = []

    def start(self, flags):
        server = Server(self.path, flags)
        with self.lock:
            self.all.append(server)
        return server

    def shared(self, flags):
        with self.lock:
            slot = self.by_flags.setdefault(flags, {"lock": threading.Lock(), "server": None})
        with slot["lock"]:
            if slot["server"] is None or slot["server"].died():
                slot["server"] = self.start(flags)
            return slot["server"]

    def kill(self):
        for server in self.all:
            server.kill()


class Conn:
    """A client's end of a connection, byte by byte."""

    def __init__(self, address, context, receive_buffer=None):
        self.t = context
        self.w = context.w
        self.decoder = Decoder(self.w)
        self.sent, self.received = bytearray(), bytearray()
        self.sent_total = self.received_total = 0
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(address)

    # sending

    def send(self, data, within=ANSWER_S):
        self.sent = (self.sent + data[-64:])[-64:]
        self.sent_total += len(data)
        self.socket.settimeout(self.t.left(within))
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Fail("to be able to send", f"{type(error).__name__}: {error}") from None

    def try_send(self, data, within=1.0):
        """As send, but says whether it went, for peers that may have closed or stopped reading."""
        try:
            self.send(data, within)
            return True
        except Fail:
            return False

    def drip(self, data, pause):
        for byte in data:
            self.send(bytes([byte]))
            time.sleep(pause)

    def finish(self):
        """The client's end of stream."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # receiving

    def receive(self, within, at_most=1 << 18):
        """Bytes; b"" at the end of stream; None at the end of patience. A reset raises ConnectionError."""
        self.socket.settimeout(self.t.left(within))
        try:
            data = self.socket.recv(at_most)
        except TimeoutError:
            return None
        self.received = (self.received + data[-64:])[-64:]
        self.received_total += len(data)
        return data

    def receive_until(self, until):
        left = until - time.monotonic()
        return self.receive(left) if left > 0 else None

    def response(self, within=ANSWER_S):
        """The next response; a Fail if none comes."""
        until = time.monotonic() + within
        while (response := self.decoded()) is None:
            try:
                data = self.receive_until(until)
            except OSError as error:
                raise Fail("a response", f"{type(error).__name__}") from None
            if data is None:
                raise Fail(f"a response within {within:.1f} s", "nothing" if not self.decoder.pending() else "part of one")
            if data == b"":
                raise Fail("a response", "end of stream")
            self.decoder.feed(data)
        return response

    def responses(self, count, within=ANSWER_S):
        until = time.monotonic() + within
        return [self.response(max(0.0, until - time.monotonic())) for _ in range(count)]

    def decoded(self):
        try:
            response = self.decoder.next_response()
        except Malformed as error:
            raise Fail("a known response (section 4)", str(error)) from None
        if not self.decoder.canonical:
            raise Fail("blocks filled to 255 bytes, the last one aside (N4)", "a shorter block before the last")
        return response

    def rest(self, within=ANSWER_S):
        """Everything until the end: the responses, and `fin`, `reset` or `open`."""
        until, responses, how = time.monotonic() + within, [], None
        while True:
            while (response := self.decoded()) is not None:
                responses.append(response)
            if how:
                return responses, how
            try:
                data = self.receive_until(until)
            except ConnectionError:
                how = "reset"
                continue
            if data is None or data == b"":
                how = "open" if data is None else "fin"
                continue
            self.decoder.feed(data)

    # expecting

    def expect(self, *expected, within=ANSWER_S):
        for one in expected:
            self.t.equal(self.response(within), one)

    def expect_all(self, expected, within=ANSWER_S):
        """These responses, in any order (N8)."""
        came = self.responses(len(expected), within)
        self.t.equal(sorted(came, key=repr), sorted(expected, key=repr))

    def call(self, code, task_id, message=b"", within=ANSWER_S):
        self.send(self.w.request(code, task_id, message))
        return self.response(within)

    def negotiate(self, features, task_id=0xABCD):
        self.send(self.w.negotiate(task_id, features))
        response = self.response()
        if not isinstance(response, Ok) or response.id != task_id:
            raise Fail(f"OK for Negotiate {task_id}", short(response))
        return self.w.read_negotiated(response.body)

    def goes_on(self, task_id=0xFEED):
        """The connection still answers."""
        self.t.equal(self.call(KEEP_ALIVE, task_id), Ok(task_id, b""))

    def quiet(self, seconds):
        """Neither a byte nor an end for so long."""
        if self.decoder.at < len(self.decoder.data):
            raise Fail(f"silence for {seconds} s", "bytes behind the last response")
        try:
            data = self.receive(seconds)
        except OSError as error:
            raise Fail(f"silence for {seconds} s", type(error).__name__) from None
        if data is not None:
            raise Fail(f"silence for {seconds} s", f"{short(data)}" if data else "end of stream")

    def expect_fin(self, *before, within=ANSWER_S, not_before=None):
        """The server's FIN, exactly these responses before it. `not_before` is a time.monotonic() value."""
        responses, how = self.rest(within)
        ended = time.monotonic()
        if responses != list(before) or how != "fin" or self.decoder.pending():
            part = ", then part of a response" if self.decoder.pending() else ""
            raise Fail(f"{short(list(before))}, then FIN", f"{short(responses)}{part}, then {how}")
        if not_before is not None and ended < not_before:
            raise Fail("the end not so early", f"it {not_before - ended:.2f} s sooner")

    def expect_end_within(self, within):
        """FIN or reset; returns the responses before it."""
        responses, how = self.rest(within)
        if how == "open":
            raise Fail(f"the connection to end within {within} s", f"it is open, after {short(responses)}")
        return responses

    def lingers_then_closes(self, linger):
        """After the server's FIN: input is discarded without a reset, and after `linger` the socket is gone (D3)."""
        self.send(b"discarded")
        time.sleep(0.2)
        self.send(b"discarded as well")
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.t.check(error == 0, "input to be discarded while the server lingers", os.strerror(error))
        time.sleep(self.t.left(linger + 0.8))
        for _ in range(10):
            if not self.try_send(b"too late"):
                return
            time.sleep(0.1)
        raise Fail(f"a closed socket after a linger of {linger} s", "a peer that still takes bytes")

    def trace(self):
        return (f"sent {self.sent_total} bytes …{bytes(self.sent[-48:]).hex()}, "
                f"received {self.received_total} bytes …{bytes(self.received[-48:]).hex()}")

    def close(self):
        self.socket.close()
