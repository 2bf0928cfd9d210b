"""Signatures of core equal those of botocore, for twenty requests.

boto3's own clients make the requests; core sends the same ones, with call.c, to
a server that keeps them.  The signature that botocore computes for a request,
at the time in core's, must equal core's, to the last byte.
"""

import json
import os
import pathlib
import re
import subprocess
from urllib.parse import urlsplit

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import pytest
from conftest import REGION, ROOT

from lib import process
from lib.web import WebServer, body_of, respond

TOKEN = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVz+/=" * 8
NAME = "arn:aws:lambda:us-east-1:123456789012:function:onboard:live"
EVENT = {"onboard": {"action": "table", "run_id": "0" * 8, "depth": 1,
                     "tables": ["Straße", "日本", "a b+c/d%41"]}}
TEXT = "a b+c&d=e~f*g%20h\n\té日本\U0001f600"
TOPIC = "arn:aws:sns:us-east-1:123456789012:runs"
ROLE = "arn:aws:iam::123456789012:role/exporter"
# service, boto3's method, its arguments
CALLS = [
    ("secretsmanager", "get_secret_value", {"SecretId": "db"}),
    ("secretsmanager", "get_secret_value",
     {"SecretId": "arn:aws:secretsmanager:us-east-1:1:secret:db-AbCdEf"}),
    ("secretsmanager", "get_secret_value",
     {"SecretId": "größe/日本", "VersionStage": "AWSPREVIOUS"}),
    ("secretsmanager", "get_secret_value",
     {"SecretId": "a b+c&d=e", "VersionId": "0" * 32}),
    ("secretsmanager", "describe_secret", {"SecretId": "db"}),
    ("secretsmanager", "list_secrets", {}),
    ("sts", "get_caller_identity", {}),
    ("sts", "assume_role", {"RoleArn": ROLE, "RoleSessionName": "onboard"}),
    ("sts", "assume_role",
     {"RoleArn": ROLE, "RoleSessionName": "a=b,c.d@e-f",
      "ExternalId": "x+y/z:1", "DurationSeconds": 900}),
    ("sts", "get_session_token", {"DurationSeconds": 900}),
    ("sns", "publish", {"TopicArn": TOPIC, "Message": "done"}),
    ("sns", "publish",
     {"TopicArn": TOPIC, "Message": TEXT, "Subject": "onboard: run failed"}),
    ("sns", "publish", {"TopicArn": TOPIC, "Message": "x" * 100000}),
    ("sns", "list_topics", {}),
    ("lambda", "invoke", {"FunctionName": "onboard"}),
    ("lambda", "invoke", {"FunctionName": "onboard", "Payload": b"",
                          "InvocationType": "Event"}),
    ("lambda", "invoke", {"FunctionName": "onboard", "Payload": b"{}",
                          "InvocationType": "DryRun", "LogType": "None"}),
    ("lambda", "invoke",
     {"FunctionName": "onboard", "InvocationType": "Event",
      "Payload": json.dumps(EVENT, ensure_ascii=False).encode()}),
    ("lambda", "invoke",
     {"FunctionName": NAME, "InvocationType": "Event",
      "Payload": json.dumps(EVENT).encode()}),
    ("lambda", "invoke",
     {"FunctionName": "123456789012:function:onboard",
      "InvocationType": "RequestResponse", "Payload": b'"' + b"y" * 65536
      + b'"', "ClientContext": "e30="}),
]
# Headers that are new in each request, or not signed.
NOT_KEPT = {
    "authorization", "x-amz-date", "x-amz-security-token", "user-agent",
    "content-length", "x-amzn-trace-id", "amz-sdk-invocation-id",
    "amz-sdk-request", "host",
}


class Made(Exception):
    """Carries the request that a client was about to send."""


def request_of(service, method, arguments):
    """The request that boto3 makes for a call: method, path, headers and body.
    """
    client = boto3.client(
        service, region_name=REGION, aws_access_key_id="a",
        aws_secret_access_key="b",
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )
    made = []

    def keep(request, **_):
        made.append(request)
        raise Made

    client.meta.events.register("before-send", keep)
    with pytest.raises(Made):
        getattr(client, method)(**arguments)
    (request,) = made
    assert request.method == "POST"
    headers = [
        [name.lower(), text.decode() if isinstance(text, bytes) else text]
        for name, text in request.headers.items()
        if name.lower() not in NOT_KEPT
    ]
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    return {
        "service": service, "path": urlsplit(request.url).path,
        "headers": headers, "body": body.decode(),
    }


def signed_by_botocore(call, host, date, credentials):
    """The Authorization header that botocore computes for that time."""
    request = botocore.awsrequest.AWSRequest(
        "POST", f"http://{host}{call['path']}", headers=dict(call["headers"]),
        data=call["body"].encode(),
    )
    request.context["timestamp"] = date
    request.headers["X-Amz-Date"] = date
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    signer = botocore.auth.SigV4Auth(credentials, call["service"], REGION)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(
        request, signer.signature(text, request)
    )
    return request.headers["Authorization"]


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    """call.c, linked with core and the calls to AWS."""
    program = tmp_path_factory.mktemp("call") / "call"
    objects = ROOT / "build" / "lambda" / "objects"
    found = [*sorted((objects / "core").rglob("*.o")),
             objects / "lambda" / "services" / "aws.o"]
    used = [
        str(path) for path in found
        if (ROOT / "src" / path.relative_to(objects)).with_suffix(".c").exists()
    ]
    flags = process.run(
        ["pkg-config", "--cflags", "--libs", "libcurl", "libcrypto", "expat",
         "zlib", "libisal", "jansson"]
    ).split()
    process.run(
        ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
         *os.environ.get("COPT", "").split(),
         f"-I{ROOT}/src", str(pathlib.Path(__file__).with_name("call.c")),
         *used, *flags, "-o", str(program)], timeout=120,
    )
    return program


class Keeper(WebServer):
    """Keeps each request as (path, headers, body)."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def _post(self, handler):
        self.kept.append((handler.path, handler.headers, body_of(handler)))
        respond(handler, 200)


@pytest.fixture
def keeper():
    with Keeper() as server:
        yield server


@pytest.mark.parametrize("token", [None, TOKEN], ids=["keys", "token"])
def test_13_twenty_requests(caller, keeper, token):
    calls = [request_of(*call) for call in CALLS]
    assert len(calls) == 20
    credentials = botocore.credentials.Credentials(
        "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token
    )
    env = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": keeper.endpoint,
    }
    if token:
        env["AWS_SESSION_TOKEN"] = token
    ended = subprocess.run(
        [str(caller)], input=json.dumps(calls), env=env, text=True,
        timeout=60, capture_output=True, check=False,
    )
    assert ended.returncode == 0, ended.stderr
    kept = keeper.kept
    assert len(kept) == 20
    signatures = set()
    for call, (path, headers, body) in zip(calls, kept):
        assert (path, body) == (call["path"], call["body"].encode())
        assert headers["X-Amz-Security-Token"] == token
        ours = headers["Authorization"]
        assert ours == signed_by_botocore(
            call, headers["Host"], headers["X-Amz-Date"], credentials
        ), call
        assert ("x-amz-security-token" in ours) == bool(token)
        signatures |= set(re.findall("Signature=(.*)", ours))
    # no two requests are equal
    assert len(signatures) == 20
