"""Lambda's Invoke for tests: verifies each signature with botocore, and queues.

Accepted payloads are kept in accepted, and passed to deliver(payload, trace),
if that is set: so tests can run the children.
"""

import json
import re
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from .web import WebServer, body_of, respond

PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations$")


class InvokeApi(WebServer):
    def __init__(self, access_key, secret_key, session_token=None):
        super().__init__()
        self._credentials = botocore.credentials.Credentials(
            access_key, secret_key, session_token
        )
        self.accepted = []  # (payload, headers)
        self.refused = []  # the reasons
        self.open_now = 0
        self.open_most = 0
        self.responses = {}  # number of the request: (status, body)
        self.hold = None  # an Event for which each request waits
        self.deliver = None
        self._lock = threading.Lock()
        self._count = 0

    def __exit__(self, *exception):
        if self.hold:
            self.hold.set()
        super().__exit__(*exception)

    def _post(self, handler):
        body = body_of(handler)
        with self._lock:
            self._count += 1
            number = self._count
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
        if self.hold:
            self.hold.wait(30)
        status, response = self._judge(handler, body, number)
        with self._lock:
            self.open_now -= 1
        respond(
            handler, status, response, {"Content-Type": "application/json"}
        )

    def _judge(self, handler, body, number):
        headers = {name.lower(): value for name, value in
                   handler.headers.items()}
        wrong = self._wrong(handler, headers, body)
        if wrong:
            self.refused.append(wrong)
            text = {"__type": "InvalidSignatureException", "message": wrong}
            return 403, json.dumps(text).encode()
        if number in self.responses:
            return self.responses[number]
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
