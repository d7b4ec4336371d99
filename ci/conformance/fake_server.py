"""A server that does what a script says, right or wrong: the other side of `call`."""
import json
import select
import socket
import struct
import subprocess
import threading
import time

from case import Fail, short
from wire import NEGOTIATE, Decoder, Negotiated, Ok, Wire

PATIENCE_S = 8.0
TOLD = Negotiated(1, 3, 1024, 4 << 20, 1800, 15)


class Gone(Exception):
    """The client ended the connection where the script still expected something."""


class Peer:
    """One connection of the client, as the script sees it. `number` counts them from 0."""

    def __init__(self, sock, number, wire):
        self.socket, self.number, self.w = sock, number, wire
        self.decoder = Decoder(wire)
        self.requests = []
        self.closed = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, within=PATIENCE_S):
        """The next request; Gone at the end of stream; None if nothing comes in time."""
        until = time.monotonic() + within
        while (request := self.decoder.next_request()) is None:
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise Gone(str(error)) from None
            if not data:
                raise Gone("end of stream")
            self.decoder.feed(data)
        self.requests.append(request)
        return request

    def negotiated(self, granted=3, **told):
        """Takes Negotiate, and answers as a server that supports `granted`."""
        request = self.request()
        if request is None or request.code != NEGOTIATE:
            raise Fail("Negotiate as the first request (C6)", short(request))
        asked = self.w.read_u32(request.message[1:5])
        answer = TOLD._replace(granted=asked & granted, **told)
        self.send(self.w.response(Ok(request.id, self.w.negotiated(answer))))
        return asked

    def send(self, data):
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from None

    def answer(self, *responses):
        self.send(b"".join(self.w.response(response) for response in responses))

    def drip(self, data, pause):
        for byte in data:
            self.send(bytes([byte]))
            time.sleep(pause)

    def is_quiet(self, seconds):
        """Nothing more comes from the client for so long."""
        return not self.decoder.pending() and not select.select([self.socket], [], [], seconds)[0]

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.closed = True
        self.socket.close()

    def hang_up(self):
        """FIN, then whatever still comes, so that no reset destroys what was sent."""
        if self.closed:
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.request(1.0) is not None:
                pass
        except (OSError, Gone):
            pass
        self.close()


class FakeServer:
    """Runs `script(peer)` for each connection; what it raises, Gone aside, fails the case."""

    def __init__(self, t, script):
        self.script, self.wire = script, Wire(t.order)
        self.peers, self.errors, self.threads = [], [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.1)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.stopped = threading.Event()
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()
        t.closers.append(self.stop)

    def _accept(self):
        while not self.stopped.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                continue
            peer = Peer(sock, len(self.peers), self.wire)
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, peer):
        try:
            self.script(peer)
        except Gone:
            pass
        except Exception as error:  # told to the case by `finish`
            self.errors.append(error)
        peer.hang_up()

    def finish(self):
        """Waits for the scripts, and raises what went wrong in one."""
        for thread in self.threads:
            thread.join(PATIENCE_S)
        if self.errors:
            raise self.errors[0]

    def stop(self):
        self.stopped.set()
        self.acceptor.join(1)
        self.listener.close()
        for peer in self.peers:
            if not peer.closed:
                peer.close()


class CallResult:
    def __init__(self, status, stdout, stderr, elapsed):
        self.status, self.stdout, self.stderr, self.elapsed = status, stdout, stderr, elapsed

    def objects(self):
        try:
            found = [json.loads(line) for line in self.stdout.decode().splitlines() if line.strip()]
        except ValueError:
            raise Fail("one JSON object a line", self.describe()) from None
        if not all(isinstance(one, dict) and "outcome" in one for one in found):
            raise Fail("objects with an outcome", self.describe())
        return found

    def describe(self):
        return f"status {self.status}, stdout {short(self.stdout)}, stderr {short(self.stderr)}"


def run_call(t, address, *arguments, json_lines=True, within=9.0):
    """Runs `call ADDRESS …` and waits for it."""
    order = ("--byte-order", "little") if t.order == "little" else ()
    command = [t.call_path, address, *map(str, arguments), *order, *(("--json",) if json_lines else ())]
    started = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within)
    except subprocess.TimeoutExpired:
        raise Fail(f"`call {short(command[2:], 150)}` to end within {within} s", "it still runs") from None
    return CallResult(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


def one_call(t, address, *arguments, outcomes, **options):
    """One call, its outcome one of `outcomes`, its exit status as the outcome demands. Returns its object."""
    result = run_call(t, address, *arguments, **options)
    found = result.objects()
    if len(found) != 1 or found[0]["outcome"] not in outcomes:
        raise Fail(f"one object with outcome {' or '.join(outcomes)}", result.describe())
    expected = 0 if found[0]["outcome"] == "ok" else 1
    if result.status != expected:
        raise Fail(f"exit status {expected}", result.describe())
    return found[0]
