#!/usr/bin/python3
"""Makes sigv4_botocore.json: requests as botocore signs them.

    python3 test/core/sigv4_botocore.py > test/core/sigv4_botocore.json

It is run by hand when a request is added; test_sigv4.c reads the committed
file.  "service" stands for all of AWS's services except S3: their paths are
encoded twice (but, unlike botocore's, not normalised: the signer under test
leaves that to its caller, since S3 must not have it).
"""

import json
import sys
from urllib.parse import quote

import botocore
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEYS = ("AKIAEXAMPLEOFONBOARD", "not/a+Secret/butLongEnoughToLookLikeOne")
TOKEN = "FQoGZXIvYXdzEXAMPLE//+token=="
TIMESTAMP = "20240229T235959Z"
HOST = ("Host", "example.amazonaws.com")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
UNRESERVED = (
    "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

# name: method, target, headers besides Host, body
REQUESTS = {
    "vanilla": ("GET", "/", [], ""),
    "header-twice": ("GET", "/", [
        ("My-Header", "value2"), ("My-Header", "value2"),
        ("My-Header", "value1")], ""),
    "header-lines": ("GET", "/", [
        ("My-Header", "value1\n  value2\n     value3")], ""),
    "header-order-of-values": ("GET", "/", [
        ("My-Header", "value4"), ("My-Header", "value1"),
        ("My-Header", "value3")], ""),
    "header-blanks": ("GET", "/", [
        ("My-Header1", "  value1  "), ("My-Header2", ' "a   b   c" ')], ""),
    "header-empty": ("GET", "/", [("My-Header", "")], ""),
    "header-case-of-names": ("POST", "/", [("MY-HEADER", "value")], ""),
    "header-sorted": ("POST", "/", [
        ("Zoo", "z"), ("my-Header10", "a"), ("My-Header1", "b"),
        ("abc", "c")], ""),
    "header-case-of-values": ("POST", "/", [("My-Header", "VALUE")], ""),
    "header-of-bytes": ("GET", "/", [("My-Header", "!#$%&'*+^`|~:;=?@")], ""),
    "path-relative": ("GET", "/example/..", [], ""),
    "path-twice-relative": ("GET", "/example1/example2/../..", [], ""),
    "path-dot": ("GET", "/./", [], ""),
    "path-pointless-dot": ("GET", "/./example", [], ""),
    "path-slashes": ("GET", "//", [], ""),
    "path-more-slashes": ("GET", "//example//", [], ""),
    "path-unreserved": ("GET", "/" + UNRESERVED, [], ""),
    "path-space": ("GET", "/example space/", [], ""),
    "path-utf8": ("GET", "/\u1234", [], ""),
    "path-reserved": ("GET", "/a:b@c!d$e&f'g(h)i*j+k,l;m=n", [], ""),
    "query-vanilla": ("GET", "/?Param1=value1", [], ""),
    "query-empty-value": ("GET", "/?Param1=", [], ""),
    "query-no-value": ("GET", "/?Param1", [], ""),
    "query-order-of-keys": (
        "GET", "/?Param2=value2&Param1=value1&Param10=a", [], ""),
    "query-order-of-values": ("GET", "/?Param1=b&Param1=a&Param1=", [], ""),
    "query-case-of-keys": ("GET", "/?b=1&B=2&a=3&A=4", [], ""),
    "query-order-of-encoded": (
        "GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", [], ""),
    "query-unreserved": ("GET", f"/?{UNRESERVED}={UNRESERVED}", [], ""),
    "query-encoded": ("GET", "/?a%20b=c%2Fd%3D%26&~=%2B", [], ""),
    "post": ("POST", "/", [], ""),
    "post-query": ("POST", "/?Param1=value1", [], ""),
    "post-form": ("POST", "/", [FORM], "Param1=value1"),
    "post-form-charset": ("POST", "/", [
        (FORM[0], FORM[1] + "; charset=utf-8")], "Param1=value1&b=%C3%A4"),
    "token": ("GET", "/", [], ""),
    "token-post": ("POST", "/?Param1=value1", [("Zoo", "z")], "body"),
}


class Unnormalised(SigV4Auth):
    def _normalize_url_path(self, path):
        return quote(path, safe="/~")


def sign(auth, method, target, headers, body):
    request = AWSRequest(
        method=method, url="https://" + HOST[1] + target, data=body.encode()
    )
    for name, value in [HOST, *headers]:
        request.headers.add_header(name, value)
    request.context["timestamp"] = TIMESTAMP
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    to_sign = auth.string_to_sign(request, canonical)
    signature = auth.signature(to_sign, request)
    auth._inject_signature_to_request(request, signature)
    return {
        "canonical": canonical,
        "to_sign": to_sign,
        "signature": signature,
        "authorization": request.headers["Authorization"],
    }


def raw(method, target, headers, body):
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}:{value}" for name, value in [HOST, *headers]]
    return "\n".join(lines) + ("\n\n" + body if body else "\n")


def vectors():
    for name, (method, target, headers, body) in REQUESTS.items():
        token = TOKEN if name.startswith("token") else None
        credentials = Credentials(*KEYS, token)
        for service, kind in ("service", Unnormalised), ("s3", S3SigV4Auth):
            if service == "s3":
                # Paths for S3 are encoded already.
                path, mark, query = target.partition("?")
                target = quote(path, safe="/~%") + mark + query
            auth = kind(credentials, service, "eu-west-3")
            yield {
                "name": f"{service}-{name}",
                "context": {
                    "credentials": {
                        "access_key_id": KEYS[0],
                        "secret_access_key": KEYS[1],
                        **({"token": token} if token else {}),
                    },
                    "service": service,
                    "region": "eu-west-3",
                    "timestamp": "2024-02-29T23:59:59Z",
                    "sign_body": service == "s3",
                },
                "request": raw(method, target, headers, body),
                **sign(auth, method, target, headers, body),
            }


def main():
    made = {
        "made_by": f"botocore {botocore.__version__}, by sigv4_botocore.py",
        "vectors": list(vectors()),
    }
    json.dump(made, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
