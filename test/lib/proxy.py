"""A proxy in front of an S3 server that injects faults on request.

It passes HTTP/1.1 through unchanged (the Host header too, which is signed) and
keeps a log of the requests.  Rules make single requests fail:

    with Proxy(rgw.endpoint) as proxy:
        proxy.rule("PUT", "partNumber=2", response=s3_error(503, "SlowDown"))
        proxy.rule("POST", "uploadId=", nth=1, drop="after")
        held = proxy.rule("PUT", "partNumber=3", hold=True)
        ...
        held.wait()      # the request has arrived
        held.release()

Script.rule() documents the rules.  Each client connection has a thread and a
connection to the server of its own.
"""

import socket
from urllib.parse import urlsplit

from .script import Script
from .wire import (
    Dropped, Response, Stream, redirect, s3_error, status_of, wait_for_request,
)

__all__ = ["Proxy", "Response", "redirect", "s3_error"]


class Proxy(Script):
    """tls: an ssl.SSLContext for its clients; the connection to the server is
    HTTP."""

    def __init__(self, server, tls=None):
        super().__init__(tls)
        parts = urlsplit(server)
        self._server = (parts.hostname, parts.port)

    def serve(self, client, number):
        server = None
        try:
            while server is None or wait_for_request(client, server):
                head = client.head()
                if head is None:
                    return
                if server is None:
                    server = self._connect()
                if not self.handle(client, server, head, number):
                    return
        finally:
            if server is not None:
                self.unregister(server.sock)
                server.close()

    def exchange(self, client, server, head, request, rule):
        if rule.action.response:
            return super().exchange(client, server, head, request, rule)
        _, raw, headers = head
        server.send(raw)
        early = None
        if headers.get("expect", "").lower() == "100-continue":
            early = _response(server)
            if status_of(early) == 100:
                client.send(early[1])
                early = None
        complete = early is None and self._send_body(
            client, server, head, request, rule
        )
        response = early or _response(server)
        while 100 <= status_of(response) < 200:
            response = _response(server)
        self._pass_on(client, server, request, rule, response)
        closing = "close" in (
            response[2].get("connection", "").lower(),
            headers.get("connection", "").lower(),
        )
        # After an early response, the rest of the body may still arrive.
        return complete and not closing

    def _connect(self):
        try:
            server = Stream(socket.create_connection(self._server))
        except OSError:
            raise Dropped from None
        self.register(server.sock)
        return server

    def _send_body(self, client, server, head, request, rule):
        """False if the server stopped reading before the body's end."""
        for data in self.body_of(client, head, request, rule):
            try:
                server.send(data)
            except Dropped:
                return False
        return True

    def _pass_on(self, client, server, request, rule, response):
        request.server_status = status_of(response)
        pieces = ()
        no_body = request.server_status in (204, 304)
        if request.method != "HEAD" and not no_body:
            pieces = server.body(response[2], until_end=True)
        if rule.action.instead:
            for _ in pieces:  # the server has finished
                pass
            self.reply(client, request, rule, rule.action.instead)
            return
        length = int(response[2].get("content-length", 0))
        self.relay(client, request, rule, response, pieces, length)


def _response(server):
    head = server.head()
    if head is None:
        raise Dropped
    return head
