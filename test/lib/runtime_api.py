"""A Lambda Runtime API for tests, and the function that polls it for events.

    with RuntimeApi() as api:
        with Function(api, program, env) as function:
            invocation = api.invoke({...}, timeout=30)
            invocation.result()     # the response, or raises FunctionError
"""

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid

from . import process
from .web import WebServer, body_of, respond

PREFIX = "/2018-06-01/runtime"


class FunctionError(Exception):
    """The function reported an error: type and message."""

    def __init__(self, type, message, header):
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.header = header


class Invocation:
    def __init__(self, payload, timeout, request_id=None, trace_id=None):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.payload = payload
        self.request_id = request_id or str(uuid.uuid4())
        self.trace_id = trace_id
        self.deadline = time.time() + timeout
        self.taken = threading.Event()
        self.ended = threading.Event()
        self.ended_at = None
        self.body = None
        self.error = None

    def end(self, body=None, error=None):
        self.body, self.error = body, error
        self.ended_at = time.time()
        self.ended.set()

    def result(self, timeout=60):
        if not self.ended.wait(timeout):
            raise AssertionError("no response to the event")
        if self.error:
            raise self.error
        return json.loads(self.body)


class RuntimeApi(WebServer):
    """next_statuses: the statuses of the first responses of /next, before it
    sends events.

    listener: a socket to use, such as one of another network namespace.
    """

    def __init__(self, listener=None):
        super().__init__(listener)
        self._events = queue.Queue()
        self._running = {}
        self.requests = []  # (method, path)
        self.init_errors = []  # (header, document)
        self.next_statuses = []
        self._closing = False

    def __exit__(self, *exception):
        self._closing = True
        super().__exit__(*exception)

    def invoke(self, payload, timeout=60, **more):
        invocation = Invocation(payload, timeout, **more)
        self._events.put(invocation)
        return invocation

    def requests_to(self, method, path):
        return [r for r in self.requests if r == (method, PREFIX + path)]

    # Inside

    def _get(self, handler):
        self.requests.append(("GET", handler.path))
        if self.next_statuses:
            status = self.next_statuses.pop(0)
            if status is None:
                handler.close_connection = True
                handler.connection.close()
                return
            respond(handler, status, b'{"errorType": "scripted"}')
            return
        while True:
            try:
                invocation = self._events.get(timeout=0.2)
                break
            except queue.Empty:
                if self._closing:
                    return
        self._running[invocation.request_id] = invocation
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn":
                "arn:aws:lambda:us-east-1:123456789012:function:onboard",
            "Content-Type": "application/json",
        }
        if invocation.trace_id:
            headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id
        invocation.taken.set()
        respond(handler, 200, invocation.payload, headers)

    def _post(self, handler):
        self.requests.append(("POST", handler.path))
        body = body_of(handler)
        kind = handler.headers.get("Lambda-Runtime-Function-Error-Type")
        if handler.path == PREFIX + "/init/error":
            self.init_errors.append((kind, json.loads(body)))
            respond(handler, 202, b'{"status": "OK"}')
            return
        _, _, rest = handler.path.partition(PREFIX + "/invocation/")
        request_id, _, what = rest.partition("/")
        invocation = self._running.pop(request_id, None)
        if invocation is None:
            respond(handler, 400, b'{"errorType": "InvalidRequestID"}')
            return
        if what == "response":
            invocation.end(body=body)
        else:
            document = json.loads(body)
            invocation.end(
                error=FunctionError(
                    document["errorType"], document["errorMessage"], kind
                )
            )
        respond(handler, 202, b'{"status": "OK"}')


class Function:
    """The program as Lambda runs it; its log lines are kept."""

    def __init__(self, api, program, env):
        # A file contains all lines that were written before a response, once
        # that is there.
        self._output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *program],
            env={
                "AWS_LAMBDA_RUNTIME_API": api.address,
                "AWS_LAMBDA_FUNCTION_NAME": "onboard",
                "AWS_REGION": "us-east-1",
                "PATH": os.environ["PATH"],
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        process.at_end(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def lines(self):
        fd = self._output.fileno()
        data = os.pread(fd, os.fstat(fd).st_size, 0).decode()
        # without an unfinished last line
        return [line for line in data.splitlines(True) if line.endswith("\n")]

    @property
    def log(self):
        return [json.loads(line) for line in self.lines]

    def wait(self, timeout=30):
        """The exit status."""
        return self.process.wait(timeout)

    def close(self):
        process.forget(self.close)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
