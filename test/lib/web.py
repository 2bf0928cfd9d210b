"""An HTTP server on loopback, for the stand-ins of AWS's services."""

import http.server
import threading


class WebServer:
    """Calls _get(handler) and _post(handler), each request in a thread.

    listener: a socket to use, such as one of another network namespace.
    """

    def __init__(self, listener=None):
        self._listener = listener
        self._server = None

    def __enter__(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise a body waits for the acknowledgement of its headers: 40
            # ms.
            disable_nagle_algorithm = True

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                owner._get(self)

            def do_POST(self):
                owner._post(self)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler, bind_and_activate=not self._listener
        )
        if self._listener:
            self._server.socket.close()
            self._server.socket = self._listener
            self._server.server_address = self._listener.getsockname()
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, daemon=True
        ).start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self):
        return "%s:%d" % self._server.server_address

    @property
    def endpoint(self):
        return f"http://{self.address}"

    def _get(self, handler):
        handler.send_error(405)

    def _post(self, handler):
        raise NotImplementedError


def body_of(handler):
    return handler.rfile.read(int(handler.headers["Content-Length"]))


def respond(handler, status, body=b"", headers=None):
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
