"""HTTP/1.1 as bytes of a connection, for servers that violate it on purpose."""

import select
import socket
import struct
from dataclasses import dataclass, field

_CHUNK = 256 * 1024


class Dropped(Exception):
    """The connection ends here, on purpose or because the peer ended it."""


@dataclass
class Response:
    """A response.  A header with value None is not sent."""

    status: int
    body: bytes = b""
    headers: dict = field(default_factory=dict)

    def head(self):
        headers = {"Content-Length": len(self.body), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [
            f"{name}: {value}"
            for name, value in headers.items()
            if value is not None
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    @property
    def closes(self):
        return self.headers.get("Connection", "").lower() == "close"


def s3_error(status, code, message="scripted", headers=None, extra=""):
    """A Response with S3's error document; extra: additional XML inside it."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}"
        "<RequestId>scripted</RequestId></Error>"
    )
    headers = {"Content-Type": "application/xml", **(headers or {})}
    return Response(status, body.encode(), headers)


def redirect(location, status=307):
    """A Response that redirects the client."""
    return s3_error(
        status, "TemporaryRedirect", headers={"Location": location}
    )


class Stream:
    """A connected socket, TLS or not, with a buffer for reading headers."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.reset = False  # close() sends RST, not FIN
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self):
        """The start line, and headers as sent and as a dict; None at a clean
        end."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                if self.buffer:
                    raise Dropped
                return None
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return first, raw + b"\r\n\r\n", headers

    def body(self, headers, until_end=False):
        """Yields the body as it is on the wire."""
        if is_chunked(headers):
            yield from self._chunked()
        elif "content-length" in headers:
            yield from self._exactly(int(headers["content-length"]))
        elif until_end:
            while self.buffer or self._fill():
                yield self._take(len(self.buffer))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Dropped from None

    def end_sending(self):
        """Ends sending, and waits for the peer's end."""
        shut_down(self.sock, socket.SHUT_WR)
        self.buffer = b""
        while self._fill():
            self.buffer = b""

    def close(self):
        if self.reset:
            self.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        else:
            shut_down(self.sock)
        self.sock.close()

    def has_data(self):
        """Whether received data is waiting to be read."""
        pending = getattr(self.sock, "pending", None)
        return bool(self.buffer) or pending is not None and pending() > 0

    def _fill(self):
        try:
            data = self.sock.recv(_CHUNK)
        except OSError:
            return False
        self.buffer += data
        return bool(data)

    def _take(self, count):
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _exactly(self, count):
        while count:
            if not self.buffer and not self._fill():
                raise Dropped
            data = self._take(count)
            count -= len(data)
            yield data

    def _line(self):
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise Dropped
        return self._take(self.buffer.index(b"\r\n") + 2)

    def _chunked(self):
        while True:
            line = self._line()
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            yield from self._exactly(size + 2)
        while True:  # trailers, and the empty line
            line = self._line()
            yield line
            if line == b"\r\n":
                return


def shut_down(sock, how=socket.SHUT_RDWR):
    """Wakes a thread in recv() or accept(), even of a TLS socket, whose own
    shutdown() would break a thread that reads it."""
    try:
        socket.socket.shutdown(sock, how)
    except OSError:
        pass


def wait_for_request(client, server):
    """Waits for the next request; false once the server has closed the
    connection."""
    if client.has_data():
        return True
    ready, _, _ = select.select([client.sock, server.sock], [], [])
    return client.sock in ready or server.sock not in ready


def is_chunked(headers):
    return "chunked" in headers.get("transfer-encoding", "").lower()


def status_of(head):
    return int(head[0].split(" ")[1])


# Bodies in transit, piece by piece


def chain(first, pieces, last):
    yield first
    yield from pieces
    yield last


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def in_chunks(raw, pieces):
    """Chunks a response (headers and body) that has a Content-Length."""
    lines = [
        line
        for line in raw[:-4].split(b"\r\n")
        if not line.lower().startswith(b"content-length:")
    ]
    lines += [b"Transfer-Encoding: chunked", b"", b""]
    framed = (chunk(data) for data in pieces if data)
    return b"\r\n".join(lines), chain(b"", framed, chunk(b""))


def split_at(pieces, at, act):
    """Calls act() when this many bytes have passed, or at the end of fewer."""
    seen = 0
    acted = False
    for data in pieces:
        if not acted and seen + len(data) >= at:
            if at > seen:
                yield data[: at - seen]
            acted = True
            act()
            data = data[at - seen :]
            seen = at
        if data:
            yield data
            seen += len(data)
    if not acted:
        act()


def flip(pieces, at):
    """Inverts one bit of byte number at."""
    seen = 0
    for data in pieces:
        if seen <= at < seen + len(data):
            data = bytearray(data)
            data[at - seen] ^= 1
        seen += len(data)
        yield bytes(data)


def paced(pieces, rate, rest):
    """Yields this many bytes a second; rest(seconds) waits."""
    step = max(1, rate // 10)
    for data in pieces:
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            yield piece
            rest(len(piece) / rate)
