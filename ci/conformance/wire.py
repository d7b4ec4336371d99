"""The bytes of PROTOCOL sections 2 to 5, written from the text alone."""
import hashlib
import struct
from typing import NamedTuple

ECHO, SLEEP, FAIL, PRODUCE, PANIC, NONE, REJECT, BREAK = range(1, 9)
TEAR, DIGEST, FIRST, TIDY, TASKS, BLOCK, LIMITED = range(9, 16)
UNREGISTERED = 99
KEEP_ALIVE, CANCEL, NEGOTIATE = 250, 251, 252

CANCELLED, PANICKED, DEADLINE, UNAVAILABLE, UNKNOWN_TASK, MALFORMED = 255, 254, 253, 252, 251, 250

GOODBYE_FEATURE, PROCESSING_FEATURE = 1, 2
ABSENT = 0xFFFFFFFF


class Ok(NamedTuple):
    id: int
    body: bytes


class Error(NamedTuple):
    id: int
    code: int


class Goodbye(NamedTuple):
    accepted: int


class Processing(NamedTuple):
    id: int


class Request(NamedTuple):
    code: int
    id: int
    message: bytes


class Negotiated(NamedTuple):
    version: int
    granted: int
    max_in_flight: int
    max_message_bytes: int
    idle_limit_s: int
    processing_interval_s: int


class Malformed(Exception):
    """The peer sent what no rule allows."""


def pattern(n):
    """The body of the demo tasks produce and tear: byte i is i mod 251."""
    return (bytes(range(251)) * (n // 251 + 1))[:n]


def sha256(data):
    return hashlib.sha256(data).digest()


def blocks(payload, size=255):
    """N3, N4: a message in blocks of `size` bytes, the last one aside."""
    out = bytearray()
    for at in range(0, len(payload), size):
        part = payload[at:at + size]
        out.append(len(part))
        out += part
    out.append(0)
    return bytes(out)


def uneven_blocks(payload, sizes):
    """N5: a message cut into blocks of the sizes that the iterator names."""
    out, at = bytearray(), 0
    while at < len(payload):
        part = payload[at:at + next(sizes)]
        out.append(len(part))
        out += part
        at += len(part)
    out.append(0)
    return bytes(out)


def encoded_length(n):
    """N4: what n payload bytes cost."""
    return n + -(-n // 255) + 1


class Wire:
    """Everything that depends on the connection's byte order (N2)."""

    def __init__(self, order):
        self.order = order
        self.mark = {"big": ">", "little": "<"}[order]

    def u32(self, value):
        return struct.pack(self.mark + "I", value)

    def read_u32(self, data):
        return struct.unpack(self.mark + "I", data)[0]

    def header(self, code, task_id):
        return bytes([code]) + self.u32(task_id)

    def request(self, code, task_id, message=b"", size=255):
        return self.header(code, task_id) + blocks(message, size)

    def sleep(self, task_id, ms, rest=b"", code=SLEEP):
        return self.request(code, task_id, self.u32(ms) + rest)

    def produce(self, task_id, n, code=PRODUCE):
        return self.request(code, task_id, self.u32(n))

    def cancel(self, task_id):
        return self.request(CANCEL, task_id)

    def negotiate(self, task_id, features, version=1, more=b""):
        return self.request(NEGOTIATE, task_id, bytes([version]) + self.u32(features) + more)

    def response(self, response):
        if isinstance(response, Ok):
            return self.header(0, response.id) + blocks(response.body)
        if isinstance(response, Error):
            return self.header(1, response.id) + bytes([response.code])
        if isinstance(response, Goodbye):
            return self.header(2, response.accepted)
        return self.header(3, response.id)

    def negotiated(self, answer):
        return bytes([answer.version]) + b"".join(self.u32(value) for value in answer[1:])

    def read_negotiated(self, body):
        if len(body) != 21:
            raise Malformed(f"the answer to Negotiate has {len(body)} bytes, not 21 (E3)")
        return Negotiated(body[0], *struct.unpack(self.mark + "5I", body[1:]))

    def ids(self, body):
        """The result of the demo task `tasks`."""
        if len(body) % 4:
            raise Malformed(f"{len(body)} bytes are no list of ids")
        return [self.read_u32(body[at:at + 4]) for at in range(0, len(body), 4)]


class MessageDecoder:
    """One message out of a growing buffer; also says whether its encoder kept to N4."""

    def __init__(self):
        self.parts = []
        self.canonical = True
        self.last_size = 255

    def step(self, data, at):
        """Takes whole blocks from data[at:]; returns the new position, and whether the message has ended."""
        while at < len(data):
            size = data[at]
            if size == 0:
                return at + 1, True
            if at + 1 + size > len(data):
                return at, False
            self.canonical = self.canonical and self.last_size == 255
            self.last_size = size
            self.parts.append(bytes(data[at + 1:at + 1 + size]))
            at += 1 + size
        return at, False

    def payload(self):
        return b"".join(self.parts)


class Decoder:
    """Bytes in, in any split; whole responses (or requests) out."""

    def __init__(self, wire):
        self.wire = wire
        self.data = bytearray()
        self.at = 0
        self.open = None  # (header, MessageDecoder) of what has begun and is not whole
        self.canonical = True

    def feed(self, data):
        if self.at:
            del self.data[:self.at]
            self.at = 0
        self.data += data

    def pending(self):
        """True while something has begun that is not whole."""
        return self.open is not None or self.at < len(self.data)

    def _take(self, count):
        if len(self.data) - self.at < count:
            return None
        taken = bytes(self.data[self.at:self.at + count])
        self.at += count
        return taken

    def _message(self, header):
        """The payload behind `header`, or None while more bytes are needed."""
        if self.open is None:
            self.open = (header, MessageDecoder())
        message = self.open[1]
        self.at, ended = message.step(self.data, self.at)
        if not ended:
            return None
        self.canonical = self.canonical and message.canonical
        self.open = None
        return message.payload()

    def next_response(self):
        if self.open is None:
            if self.at >= len(self.data):
                return None
            code = self.data[self.at]
            if code > 3:
                raise Malformed(f"unknown response code {code}")
            header = self._take(6 if code == 1 else 5)
            if header is None:
                return None
        else:
            header = self.open[0]
        number = self.wire.read_u32(header[1:5])
        if header[0] == 0:
            body = self._message(header)
            return None if body is None else Ok(number, body)
        return (Error(number, header[-1]), Goodbye(number), Processing(number))[header[0] - 1]

    def next_request(self):
        header = self.open[0] if self.open else self._take(5)
        if header is None:
            return None
        message = self._message(header)
        return None if message is None else Request(header[0], self.wire.read_u32(header[1:5]), message)
