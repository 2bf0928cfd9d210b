"""A proxy in front of an S3 server that breaks things on request.

It passes HTTP/1.1 through unchanged (the Host header too, which is signed) and
keeps a log of the requests.  Rules make single requests fail:

    with Proxy(rgw.endpoint) as proxy:
        proxy.rule("PUT", "partNumber=2", answer=s3_error(503, "SlowDown"))
        proxy.rule("POST", "uploadId=", nth=1, drop="after")
        held = proxy.rule("PUT", "partNumber=3", hold=True)
        ...
        held.wait()      # the request has come
        held.release()

Each client connection has a thread and a connection to the server of its own.
"""

import re
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CHUNK = 256 * 1024
_SECRET_HEADERS = ("authorization", "x-amz-security-token")


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict = field(default_factory=dict)

    def encode(self, method):
        headers = {"Content-Length": len(self.body), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if method == "HEAD" else head + self.body


def s3_error(status, code, message="scripted", headers=None, extra=""):
    """An Answer with S3's error document; extra: more XML inside it."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}"
        "<RequestId>scripted</RequestId></Error>"
    )
    headers = {"Content-Type": "application/xml", **(headers or {})}
    return Answer(status, body.encode(), headers)


@dataclass
class Request:
    """One entry of the log; status is what the client got, None if nothing."""

    number: int
    connection: int  # requests of one client connection share it
    method: str
    path: str
    query: str
    headers: dict  # lower-case names; secrets are masked
    started: float  # time.monotonic()
    ended: float = None
    status: int = None
    server_status: int = None  # what the server said, None if not asked
    body_bytes: int = 0  # of the request, framing of chunks included

    @property
    def target(self):
        return self.path + ("?" + self.query if self.query else "")


class Rule:
    """Made by Proxy.rule()."""

    def __init__(self, method, pattern, nth, times, **action):
        self.method = method
        self.pattern = re.compile(pattern)
        self.first = nth
        self.last = nth + times - 1 if times else None
        self.answer = action["answer"]
        self.delay = action["delay"]
        self.hold = action["hold"]
        self.drop = action["drop"]
        self.when = action["when"]
        self.matched = 0  # requests that looked like it
        self.used = 0  # requests it acted on
        self._reached = threading.Event()
        self._released = threading.Event()

    def matches(self, method, target):
        """Whether this request is its turn; counts it."""
        if self.method not in (None, method):
            return False
        if not self.pattern.search(target):
            return False
        self.matched += 1
        if self.matched < self.first:
            return False
        return self.last is None or self.matched <= self.last

    def wait(self, timeout=30):
        """Until a request is where delay or hold stops it."""
        if not self._reached.wait(timeout):
            raise AssertionError(
                f"no {self.method} {self.pattern.pattern} within {timeout} s"
            )

    def release(self):
        """Let all requests that it holds, now and later, go on."""
        self._released.set()

    def pause(self, when):
        if self.when != when or not (self.hold or self.delay):
            return
        self._reached.set()
        self._released.wait(None if self.hold else self.delay)


class _Dropped(Exception):
    """The connection ends here, on purpose or because the other end did."""


class _Stream:
    """A socket with a buffer for reading heads."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self):
        """Start line, headers as sent and as a dict; None at a clean end."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                if self.buffer:
                    raise _Dropped
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
        if "chunked" in headers.get("transfer-encoding", "").lower():
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
            raise _Dropped from None

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

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
                raise _Dropped
            data = self._take(count)
            count -= len(data)
            yield data

    def _line(self):
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise _Dropped
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


class Proxy:
    def __init__(self, server):
        parts = urlsplit(server)
        self._server = (parts.hostname, parts.port)
        self._listener = None
        self._rules = []
        self._requests = []
        self._open = set()  # sockets, to be closed at the end
        self._threads = []
        self._changed = threading.Condition()
        self._closing = False
        self.endpoint = None

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.endpoint = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def __exit__(self, *exception):
        with self._changed:
            self._closing = True
            sockets = list(self._open)
            for rule in self._rules:
                rule.release()
        # Shutting down wakes a thread that is in accept() or recv().
        for sock in [self._listener, *sockets]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    # For tests

    def rule(
        self, method=None, pattern="", *, nth=1, times=1, answer=None, delay=0,
        hold=False, drop=None, when=None,
    ):
        """Act on times requests (None: all) from the nth that matches on.

        method None matches any; pattern is searched in path?query as sent.
        The first rule that acts wins, but every rule counts its matches.

        answer  an Answer that the client gets; the server is not asked
        delay   seconds to wait; hold: wait until release() (or the end)
        when    delay or hold "request" (before the server sees it) or
                "answer" (the server has acted, the client does not know yet;
                the default)
        drop    "before" the server sees anything, the connection is closed;
                "during": half of the request's body reaches the server;
                "after": the server acts, its answer is thrown away;
                "answer": the client gets half of the answer's body
        """
        if drop not in (None, "before", "during", "after", "answer"):
            raise ValueError(drop)
        if when not in (None, "request", "answer"):
            raise ValueError(when)
        rule = Rule(
            method, pattern, nth, times, answer=answer, delay=delay, hold=hold,
            drop=drop, when=when or "answer",
        )
        with self._changed:
            self._rules.append(rule)
        return rule

    def clear(self):
        """Forget rules (releasing what they hold) and the log."""
        with self._changed:
            for rule in self._rules:
                rule.release()
            self._rules = []
            self._requests = []

    def requests(self, method=None, pattern=""):
        """The log so far, or the part of it that matches."""
        with self._changed:
            return [
                request
                for request in self._requests
                if method in (None, request.method)
                and re.search(pattern, request.target)
            ]

    def wait_for(self, method=None, pattern="", count=1, timeout=30):
        """Until count matching requests have ended; returns them."""

        def ended():
            return [r for r in self.requests(method, pattern) if r.ended]

        with self._changed:
            if not self._changed.wait_for(
                lambda: len(ended()) >= count, timeout
            ):
                raise AssertionError(
                    f"{len(ended())} of {count} {method} {pattern!r} "
                    f"within {timeout} s"
                )
        return ended()

    # Inside

    def _spawn(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        number = 0
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            self._spawn(self._serve, _Stream(sock), number)

    def _register(self, stream):
        with self._changed:
            if self._closing:
                raise _Dropped
            self._open.add(stream.sock)

    def _serve(self, client, number):
        server = None
        try:
            self._register(client)
            while True:
                if server is not None and not self._idle(client, server):
                    return
                head = client.head()
                if head is None:
                    return
                if server is None:
                    server = self._connect()
                if not self._exchange(client, server, head, number):
                    return
        except _Dropped:
            pass
        finally:
            for stream in (client, server):
                if stream is not None:
                    with self._changed:
                        self._open.discard(stream.sock)
                    stream.close()

    def _connect(self):
        try:
            server = _Stream(socket.create_connection(self._server))
        except OSError:
            raise _Dropped from None
        self._register(server)
        return server

    @staticmethod
    def _idle(client, server):
        """Between requests: false once the server has hung up."""
        if client.buffer:
            return True
        ready, _, _ = select.select([client.sock, server.sock], [], [])
        return client.sock in ready or server.sock not in ready

    def _log(self, head, number):
        first, _, headers = head
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        shown = {
            name: "***" if name in _SECRET_HEADERS else value
            for name, value in headers.items()
        }
        with self._changed:
            request = Request(
                len(self._requests) + 1, number, method, path, query, shown,
                time.monotonic(),
            )
            self._requests.append(request)
            due = [r for r in self._rules if r.matches(method, target)]
            for rule in due[:1]:
                rule.used += 1
        return request, due[0] if due else None

    def _exchange(self, client, server, head, number):
        """One request and its answer; false if the connection must close."""
        request, rule = self._log(head, number)
        try:
            if rule:
                rule.pause("request")
                if rule.drop == "before":
                    raise _Dropped
                if rule.answer:
                    return self._answer(client, head, request, rule)
            return self._forward(client, server, head, request, rule)
        finally:
            with self._changed:
                request.ended = time.monotonic()
                self._changed.notify_all()

    @staticmethod
    def _reply(client, request, status, data):
        """Logged first: once it is sent, the test may be reading the log."""
        request.status = status
        try:
            client.send(data)
        except _Dropped:
            request.status = None
            raise

    def _answer(self, client, head, request, rule):
        _, _, headers = head
        if headers.get("expect", "").lower() == "100-continue":
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for data in client.body(headers):
            request.body_bytes += len(data)
        rule.pause("answer")
        self._reply(client, request, rule.answer.status,
                    rule.answer.encode(request.method))
        close = rule.answer.headers.get("Connection", "").lower() == "close"
        return not close

    def _forward(self, client, server, head, request, rule):
        drop = rule.drop if rule else None
        _, raw, headers = head
        server.send(raw)
        early = None
        if headers.get("expect", "").lower() == "100-continue":
            early = self._response(server)
            if self._status(early) == 100:
                client.send(early[1])
                early = None
        complete = True
        if early is None:
            complete = self._send_body(client, server, headers, request, drop)
        answer = early or self._response(server)
        while 100 <= self._status(answer) < 200:
            answer = self._response(server)
        request.server_status = self._status(answer)
        whole = self._response_body(server, request, answer)
        if drop == "after":
            for _ in whole:
                pass
            raise _Dropped
        if rule:
            rule.pause("answer")
        self._reply(client, request, request.server_status, answer[1])
        self._relay(client, whole, answer[2], drop)
        closing = "close" in (
            answer[2].get("connection", "").lower(),
            headers.get("connection", "").lower(),
        )
        # After an early answer, the rest of the body may still be coming.
        return early is None and complete and not closing

    @staticmethod
    def _send_body(client, server, headers, request, drop):
        """False if the server stopped listening before the body's end."""
        half = int(headers.get("content-length", 0)) // 2
        if drop == "during" and half == 0:
            raise _Dropped
        for data in client.body(headers):
            if drop == "during" and request.body_bytes + len(data) >= half:
                server.send(data[: half - request.body_bytes])
                request.body_bytes = half
                raise _Dropped
            request.body_bytes += len(data)
            try:
                server.send(data)
            except _Dropped:
                return False
        return True

    @staticmethod
    def _response(server):
        head = server.head()
        if head is None:
            raise _Dropped
        return head

    @staticmethod
    def _status(head):
        return int(head[0].split(" ")[1])

    @classmethod
    def _response_body(cls, server, request, answer):
        if request.method == "HEAD" or cls._status(answer) in (204, 304):
            return iter(())
        return server.body(answer[2], until_end=True)

    @staticmethod
    def _relay(client, body, headers, drop):
        half = int(headers.get("content-length", 0)) // 2
        sent = 0
        for data in body:
            if drop == "answer" and sent + len(data) >= half:
                client.send(data[: half - sent])
                raise _Dropped
            client.send(data)
            sent += len(data)
        if drop == "answer":
            raise _Dropped
