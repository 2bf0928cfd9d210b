"""AWS's three sources of temporary credentials, as one scripted server.

It is EC2's metadata service (version 2), the containers' endpoint, and STS.  It
is scripted like the proxy, and issues the credentials that issue() returns.
These are real ones of RGW's own STS, so S3 verifies how they are used.

    with Identity(rgw.temporary) as identity:
        identity.rule("GET", "security-credentials/lander", hold=True)
"""

import datetime
import json
import secrets
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from .script import Script
from .wire import Response

ROLE = "lander"
ROLE_ARN = "arn:aws:iam::123456789012:role/lander"
METADATA = "/latest/meta-data/iam/security-credentials/"
CONTAINER = "/container"
_SKEW = datetime.timedelta(minutes=15)


class Identity(Script):
    """issue: returns an access key, a secret and a session token."""

    def __init__(self, issue, tls=None):
        super().__init__(tls)
        self._issue = issue
        self.reset()

    def reset(self):
        """Restores the initial state."""
        self.clear()
        self._metadata_tokens = set()
        self._trusted = {}  # access key: (secret, session token)
        self.lifetime = 3600  # lifetime of credentials in seconds, as reported
        self.authorization = None  # what the container endpoint requires
        self.external_id = None  # what AssumeRole requires
        self.web_identity_token = "web-identity-token"
        self.issued = []  # access keys, in order
        self.assumed = []  # forms of successful AssumeRole... requests

    def trust(self, access_key, secret_key, session_token=None):
        """Lets these keys call AssumeRole, in addition to those that were
        issued here."""
        self._trusted[access_key] = secret_key, session_token

    def forget_metadata_tokens(self):
        """Lets all tokens expire."""
        self._metadata_tokens.clear()

    def respond(self, request, headers):
        if request.path.startswith("/latest/"):
            return self._metadata(request, headers)
        if request.path == CONTAINER:
            return self._container(headers)
        if (request.method, request.path) == ("POST", "/"):
            return self._sts(request, headers)
        return Response(404)

    # Credentials

    def _new(self):
        access_key, secret_key, session_token = self._issue()
        self.trust(access_key, secret_key, session_token)
        self.issued.append(access_key)
        end = _now() + datetime.timedelta(seconds=self.lifetime)
        return {
            "AccessKeyId": access_key,
            "SecretAccessKey": secret_key,
            "Token": session_token,
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    # EC2

    def _metadata(self, request, headers):
        if request.path == "/latest/api/token":
            ttl = headers.get("x-aws-ec2-metadata-token-ttl-seconds")
            if request.method != "PUT" or not ttl:
                return Response(400)
            token = secrets.token_urlsafe(24)
            self._metadata_tokens.add(token)
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": ttl}
            return Response(200, token.encode(), ttl)
        token = headers.get("x-aws-ec2-metadata-token")
        if token not in self._metadata_tokens:
            return Response(401)
        if request.path == METADATA:
            return Response(200, ROLE.encode())
        if request.path == METADATA + ROLE:
            return _json({
                "Code": "Success", "Type": "AWS-HMAC",
                "LastUpdated": "2020-01-01T00:00:00Z", **self._new(),
            })
        return Response(404)

    # ECS and EKS

    def _container(self, headers):
        if headers.get("authorization") != self.authorization:
            return _json({"code": "AccessDenied"}, 403)
        return _json({"RoleArn": ROLE_ARN, **self._new()})

    # STS

    def _sts(self, request, headers):
        fields = parse_qs(request.body.decode(), keep_blank_values=True)
        form = {name: values[0] for name, values in fields.items()}
        action = form.get("Action")
        refusal = {
            "AssumeRole": self._refuse_role,
            "AssumeRoleWithWebIdentity": self._refuse_web_identity,
        }.get(action)
        if refusal is None or form.get("Version") != "2011-06-15":
            return _sts_error(400, "InvalidAction", "no such action")
        code, message = refusal(request, headers, form) or (None, None)
        if not code and not form.get("RoleSessionName"):
            code, message = "ValidationError", "RoleSessionName is missing"
        if code:
            status = 403 if code in _FORBIDDEN else 400
            return _sts_error(status, code, message)
        self.assumed.append(form)
        new = self._new()
        new["SessionToken"] = new.pop("Token")
        fields = "".join(f"<{n}>{escape(v)}</{n}>" for n, v in new.items())
        text = (
            f"<{action}Response"
            ' xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<{action}Result><AssumedRoleUser><Arn>{ROLE_ARN}</Arn>"
            f"</AssumedRoleUser><Credentials>{fields}</Credentials>"
            f"</{action}Result></{action}Response>"
        )
        return Response(200, text.encode(), {"Content-Type": "text/xml"})

    def _refuse_role(self, request, headers, form):
        problem = self._check_signature(request, headers)
        if problem:
            return problem
        if form.get("RoleArn") != ROLE_ARN:
            return "AccessDenied", "not authorized to assume this role"
        if form.get("ExternalId") != self.external_id:
            return "AccessDenied", "not authorized with this external id"
        return None

    def _refuse_web_identity(self, request, headers, form):
        if "authorization" in headers:
            return "InvalidAction", "this action is not signed"
        if form.get("WebIdentityToken") != self.web_identity_token:
            return "InvalidIdentityToken", "the token is not ours"
        if form.get("RoleArn") != ROLE_ARN:
            return "AccessDenied", "not authorized to assume this role"
        return None

    def _check_signature(self, request, headers):
        """The error in the signature, verified by botocore; None if it is
        right."""
        try:
            algorithm, _, rest = headers["authorization"].partition(" ")
            fields = dict(
                field.strip().split("=", 1) for field in rest.split(",")
            )
            scope = fields["Credential"].split("/")
            access_key, date, region, service, end = scope
            stamp = headers["x-amz-date"]
            names = fields["SignedHeaders"].split(";")
            given = {name: headers[name] for name in names}
        except (KeyError, ValueError):
            return "IncompleteSignature", "the Authorization is not complete"
        if access_key not in self._trusted:
            return "InvalidClientTokenId", "the access key is not known"
        secret_key, session_token = self._trusted[access_key]
        if headers.get("x-amz-security-token") != session_token:
            return "InvalidClientTokenId", "the session token is not its own"
        when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
        if abs(when - _now().replace(tzinfo=None)) > _SKEW:
            return "SignatureDoesNotMatch", "Signature expired"
        if (algorithm, service, end, date) != (
            "AWS4-HMAC-SHA256", "sts", "aws4_request", stamp[:8]
        ):
            return "SignatureDoesNotMatch", "the credential's scope is wrong"
        if not _MUST_BE_SIGNED.intersection(headers) <= set(names):
            return "SignatureDoesNotMatch", "a header is not signed"
        signed = botocore.awsrequest.AWSRequest(
            request.method,
            f"http://{headers['host']}{request.target}",
            headers=given, data=request.body,
        )
        signed.context["timestamp"] = stamp
        signer = botocore.auth.SigV4Auth(
            botocore.credentials.Credentials(
                access_key, secret_key, session_token
            ),
            service, region,
        )
        text = signer.string_to_sign(signed, signer.canonical_request(signed))
        if signer.signature(text, signed) != fields["Signature"]:
            return "SignatureDoesNotMatch", "the signature is wrong"
        return None


_MUST_BE_SIGNED = {"host", "x-amz-date", "x-amz-security-token"}
_FORBIDDEN = (
    "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch",
)


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


def _json(document, status=200):
    body = json.dumps(document).encode()
    return Response(status, body, {"Content-Type": "application/json"})


def _sts_error(status, code, message):
    text = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<Error><Type>Sender</Type><Code>{code}</Code>"
        f"<Message>{message}</Message></Error>"
        "<RequestId>scripted</RequestId></ErrorResponse>"
    )
    return Response(status, text.encode(), {"Content-Type": "text/xml"})
