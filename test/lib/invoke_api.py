"""Lambda's Invoke for tests: verifies each signature with botocore, queues.

What is accepted is kept in accepted, and given to deliver(payload, trace) if
there is one: so children can be run.
"""

import http.server
import json
import re
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials

PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations$")


class InvokeApi:
    def __init__(self, access_key, secret_key, session_token=None):
        self._credentials = botocore.credentials.Credentials(
            access_key, secret_key, session_token
        )
        self.accepted = []  # (payload, headers)
        self.refused = []  # why
        self.open_now = 0
        self.open_most = 0
        self.answers = {}  # number of the request: (status, body)
        self.hold = None  # an Event that each request waits for
        self.deliver = None
        self._lock = threading.Lock()
        self._count = 0
        self._server = None

    def __enter__(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else a body waits for the acknowledgement of its head: 40 ms.
            disable_nagle_algorithm = True

            def log_message(self, *arguments):
                pass

            def do_POST(self):
                api._post(self)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, daemon=True
        ).start()
        return self

    def __exit__(self, *exception):
        if self.hold:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self):
        return "http://127.0.0.1:%d" % self._server.server_address[1]

    def _post(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._lock:
            self._count += 1
            number = self._count
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
        if self.hold:
            self.hold.wait(30)
        status, answer = self._judge(handler, body, number)
        with self._lock:
            self.open_now -= 1
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _judge(self, handler, body, number):
        headers = {name.lower(): value for name, value in
                   handler.headers.items()}
        wrong = self._wrong(handler, headers, body)
        if wrong:
            self.refused.append(wrong)
            text = {"__type": "InvalidSignatureException", "message": wrong}
            return 403, json.dumps(text).encode()
        if number in self.answers:
            return self.answers[number]
        payload = json.loads(body)
        self.accepted.append((payload, headers))
        if self.deliver:
            self.deliver(payload, headers.get("x-amzn-trace-id"))
        return 202, b""

    def _wrong(self, handler, headers, body):
        if not PATH.search(handler.path):
            return f"no such path: {handler.path}"
        if headers.get("x-amz-invocation-type") != "Event":
            return "not an asynchronous invocation"
        if len(body) > 1024 * 1024:
            return "the payload is too large"
        authorization = headers.get("authorization", "")
        found = dict(
            re.findall(r"(Credential|SignedHeaders|Signature)=([^, ]+)",
                       authorization)
        )
        if len(found) != 3:
            return "no signature"
        key, date, region, service, end = found["Credential"].split("/")
        if (key, service, end) != (
            self._credentials.access_key, "lambda", "aws4_request"
        ):
            return f"signed for {service}"
        names = found["SignedHeaders"].split(";")
        if not {"host", "x-amz-date"} <= set(names):
            return "a header is not signed"
        if self._credentials.token and (
            headers.get("x-amz-security-token") != self._credentials.token
            or "x-amz-security-token" not in names
        ):
            return "the session token is not signed"
        request = botocore.awsrequest.AWSRequest(
            "POST", f"http://{headers['host']}{handler.path}",
            headers={name: headers[name] for name in names}, data=body,
        )
        request.context["timestamp"] = headers["x-amz-date"]
        signer = botocore.auth.SigV4Auth(self._credentials, service, region)
        text = signer.string_to_sign(
            request, signer.canonical_request(request)
        )
        if signer.signature(text, request) != found["Signature"]:
            return "the signature is wrong"
        return None
