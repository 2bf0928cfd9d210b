"""A server that acts according to rules, and logs its requests.

Proxy and Identity are based on it.  Each client connection has a thread.
"""

import re
import socket
import threading
import time
from urllib.parse import urlsplit

from .rules import Action, Request, Rule
from .wire import (
    Dropped, Stream, chain, chunk, flip, in_chunks, paced, shut_down, split_at,
    status_of,
)

# The maximum size of a request's body in the log.
_KEPT = 64 * 1024
# If the server does not read, the kernel must not buffer megabytes of a client.
_RECEIVE_BUFFER = 128 * 1024
_SECRET_HEADERS = (
    "authorization", "x-amz-security-token", "x-aws-ec2-metadata-token",
)


class Script:
    """tls: an ssl.SSLContext, or None for plain HTTP."""

    def __init__(self, tls=None):
        self._tls = tls
        self._listener = None
        self._rules = []
        self._requests = []
        self._open = set()  # sockets, to be closed at the end
        self._clients = set()  # those of them that belong to clients
        self._threads = []
        self._changed = threading.Condition()
        self._closing = False
        self._to_break = 0
        self._cut = False
        self.connections = 0  # the number of clients' connections
        self.endpoint = None

    def __enter__(self):
        self._listen(0)
        self.endpoint = "%s://127.0.0.1:%d" % (
            "https" if self._tls else "http", self._listener.getsockname()[1],
        )
        return self

    def __exit__(self, *exception):
        with self._changed:
            self._closing = True
            sockets = list(self._open)
            for rule in self._rules:
                rule.release()
        # Shutting down wakes a thread in accept() or recv().
        for sock in [self._listener, *sockets]:
            shut_down(sock)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    # Interface for tests

    def rule(self, method=None, pattern="", *, nth=1, times=1, **action):
        """Acts on times requests (None: all) from the nth that matches on.

        method None matches any; pattern is searched in path?query as sent.
        The first rule that acts wins, but every rule counts its matches.

        response  a Response for the client; the server gets no request
        instead  the server acts, but the client receives this Response
        early   the response is sent when at bytes (default: none) of the
                request's body have arrived; the rest is not read, and the
                connection ends
        delay   seconds to wait; hold: wait until release() (or the end)
        when    the point at which delay or hold waits: "request" (before the
                server receives it), "body" (after at bytes of the request's
                body, by default half) or "response" (the server has acted, the
                client has received nothing yet; the default)
        dribble  seconds between blanks that the client receives during a delay
                or hold of the response, after its headers; it is chunked then
        chunked  the response is sent in chunks, whatever the server has sent
        drop    the connection is closed: "before" the server receives
                anything; "during": after at bytes of the request's body, by
                default half, have been sent to the server; "after": the server
                acts, its response is discarded; "response": after at bytes of
                the response, including its headers, by default the headers and
                half of the body, have been sent to the client
        reset   the connection ends by RST, not by FIN
        rate    bytes a second, of the request's body and of the response's
        flip    the number of a byte of the request's body that is damaged
        before, after  bytes that the client receives around the response
        """
        rule = Rule(method, pattern, nth, times, Action(**action))
        with self._changed:
            self._rules.append(rule)
        return rule

    def clear(self):
        """Removes the rules (releasing requests that they hold) and the log."""
        with self._changed:
            for rule in self._rules:
                rule.release()
            self._rules = []
            self._requests = []

    def present(self, tls):
        """Uses the certificate of that context for new connections."""
        self._tls = tls

    def break_connections(self, times=1):
        """Resets the next new connections when their first byte has arrived,
        which is in the middle of TLS's handshake."""
        with self._changed:
            self._to_break += times

    def cut(self):
        """Ends all connections, and resets new ones in the same way, until
        mend()."""
        with self._changed:
            self._cut = True
        self.hang_up()

    def mend(self):
        with self._changed:
            self._cut = False

    def refuse(self):
        """Ends all connections and refuses new ones, until listen()."""
        shut_down(self._listener)
        self._listener.close()
        self.hang_up()

    def listen(self):
        """Listens again, at the same port."""
        self._listen(urlsplit(self.endpoint).port)

    def hang_up(self):
        """Ends all connections of clients, preferably while there are no
        requests."""
        with self._changed:
            clients = list(self._clients)
        for sock in clients:
            shut_down(sock)

    def requests(self, method=None, pattern=""):
        """The log so far, or its matching part."""
        with self._changed:
            return [
                request
                for request in self._requests
                if method in (None, request.method)
                and re.search(pattern, request.target)
            ]

    def wait_for(self, method=None, pattern="", count=1, timeout=30):
        """Waits until count matching requests have ended; returns them."""

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

    # Interface for subclasses

    def respond(self, request, headers):
        """Returns the Response to a request, whose body is in the log's entry."""
        raise NotImplementedError

    def serve(self, client, number):
        """Serves all requests of a connection."""
        while (head := client.head()) is not None:
            if not self.handle(client, None, head, number):
                return

    def exchange(self, client, server, head, request, rule):
        """Handles one request; false if the connection must close."""
        if head[2].get("expect", "").lower() == "100-continue":
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in self.body_of(client, head, request, rule):
            pass
        response = rule.action.response or self.respond(request, head[2])
        self.reply(client, request, rule, response)
        return not response.closes

    def handle(self, client, server, head, number):
        """Logs a request and applies the rules."""
        request, rule = self._log(head, number)
        try:
            rule.pause("request")
            if rule.action.drop == "before":
                raise Dropped
            if rule.action.early:
                return self._respond_early(client, head, request, rule)
            return self.exchange(client, server, head, request, rule)
        except Dropped:
            client.reset = rule.action.reset
            raise
        finally:
            self._ended(request)

    def body_of(self, client, head, request, rule):
        """The request's body in pieces, changed by the rule."""
        headers, action = head[2], rule.action
        pieces = client.body(headers)
        if action.flip is not None:
            pieces = flip(pieces, action.flip)
        if action.rate:
            pieces = paced(pieces, action.rate, rule.rest)
        if action.when == "body" or action.drop == "during":
            at = action.at
            if at is None:
                at = int(headers.get("content-length", 0)) // 2
            pieces = split_at(pieces, at, lambda: _within_body(rule))
        for data in pieces:
            request.body_bytes += len(data)
            request.body += data[: _KEPT - len(request.body)]
            yield data

    def reply(self, client, request, rule, response):
        """Sends a response of a rule."""
        head = (f"HTTP/1.1 {response.status}", response.head(), response.headers)
        body = b"" if request.method == "HEAD" else response.body
        self.relay(client, request, rule, head, [body], len(body))

    def relay(self, client, request, rule, head, pieces, length):
        """Sends the server's response to the client; length: that of its body,
        if known."""
        action = rule.action
        raw = head[1]
        if action.chunked or action.dribble:
            raw, pieces = in_chunks(raw, pieces)
        if action.rate:
            pieces = paced(pieces, action.rate, rule.rest)
        raw = action.before + raw
        try:
            if action.dribble:
                self._complete_entry(request, head)
                client.send(raw)
                raw = b""
            rule.pause("response", lambda: client.send(chunk(b" ")))
            if action.drop == "after":
                for _ in pieces:  # the server has finished
                    pass
                raise Dropped
            self._complete_entry(request, head)
            pieces = chain(raw, pieces, action.after)
            if action.drop == "response":
                at = len(raw) + length // 2 if action.at is None else action.at
                pieces = split_at(pieces, at, _drop)
            for data in pieces:
                client.send(data)
        except Dropped:
            if action.drop != "response":
                request.status = None
            raise

    # Implementation

    def _respond_early(self, client, head, request, rule):
        action = rule.action
        if action.at:
            for data in client.body(head[2]):
                request.body_bytes += len(data)
                if request.body_bytes >= action.at:
                    break
        self.reply(client, request, rule, action.response)
        if action.reset:
            raise Dropped
        client.end_sending()
        return False

    def _complete_entry(self, request, head):
        """Completes the log's entry before the response is sent, since the test
        may then read the log."""
        request.status = status_of(head)
        self._ended(request)

    def _ended(self, request):
        with self._changed:
            if request.ended is None:
                request.ended = time.monotonic()
                self._changed.notify_all()

    def _spawn(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, port):
        self._listener = socket.socket()
        self._listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER
        )
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self._spawn(self._accept, self._listener)

    def _accept(self, listener):
        while not self._closing:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                number = self.connections
                broken = self._cut or self._to_break > 0
                self._to_break -= self._to_break > 0
            self._spawn(self._serve, sock, number, broken)

    def register(self, sock):
        with self._changed:
            if self._closing:
                raise Dropped
            self._open.add(sock)

    def unregister(self, sock):
        with self._changed:
            self._open.discard(sock)
            self._clients.discard(sock)

    def _serve(self, sock, number, broken):
        client = Stream(sock)
        try:
            self.register(sock)
            if broken:
                sock.recv(1, socket.MSG_PEEK)
                client.reset = True
                return
            if self._tls:
                self._shake_hands(client)
            with self._changed:
                if self._cut:  # cut() was called in the meantime
                    return
                self._clients.add(client.sock)
            self.serve(client, number)
        except (Dropped, OSError):
            pass
        finally:
            self.unregister(client.sock)
            client.close()

    def _shake_hands(self, client):
        plain = client.sock
        client.sock = self._tls.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        self.unregister(plain)
        self.register(client.sock)
        client.sock.do_handshake()

    def _log(self, head, number):
        first, _, headers = head
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        shown = {
            name: "***" if name in _SECRET_HEADERS else value
            for name, value in headers.items()
        }
        signed = headers.get("authorization", "")
        scope = re.search("Credential=[^/]*/([^, ]*)", signed)
        with self._changed:
            request = Request(
                len(self._requests) + 1, number, method, path, query, shown,
                scope and scope[1], time.monotonic(),
            )
            self._requests.append(request)
            due = [r for r in self._rules if r.matches(method, target)]
            for rule in due[:1]:
                rule.used += 1
        return request, due[0] if due else Rule(None, "", 1, None, Action())


def _drop():
    raise Dropped


def _within_body(rule):
    rule.pause("body")
    if rule.action.drop == "during":
        raise Dropped
