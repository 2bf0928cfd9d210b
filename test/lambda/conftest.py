"""Fixtures of the orchestrator's tests: the real program, database and S3.

Secrets Manager, SNS and Lambda's Invoke are replaced: by moto, with its
verification of signatures switched on, and by a server of our own that verifies
each signature with botocore.
"""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test"))

from lib import process  # noqa: E402
from lib.postgres import Cluster  # noqa: E402
from lib.proxy import Proxy  # noqa: E402
from lib.rgw import Rgw  # noqa: E402
from lib.runtime_api import Function, RuntimeApi  # noqa: E402
from lib.tls import Authority  # noqa: E402

PROGRAM = ROOT / "build" / "lambda" / "bootstrap"
REGION = "us-east-1"
PASSWORD = "p@:/s%s'\\ \"" + secrets.token_hex(8)
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["secretsmanager:*", "sns:*", "sqs:*", "iam:*"],
            "Resource": "*",
        }
    ],
}


class Moto:
    """moto_server, which verifies signatures: the user's key has all rights."""

    def __init__(self):
        (port,) = process.free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self._server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program("moto_server"),
             "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process.at_end(self.close)
        process.wait_until(self._is_up, 60, "moto responds")
        iam = self._client("iam", "a", "b")
        iam.create_user(UserName="function")
        iam.put_user_policy(
            UserName="function", PolicyName="all",
            PolicyDocument=json.dumps(POLICY),
        )
        role = iam.create_role(
            RoleName="function", AssumeRolePolicyDocument="{}"
        )["Role"]["Arn"]
        iam.put_role_policy(
            RoleName="function", PolicyName="all",
            PolicyDocument=json.dumps(POLICY),
        )
        # Temporary keys: AccessKeyId, SecretAccessKey, SessionToken.
        self.role_keys = self._client("sts", "a", "b").assume_role(
            RoleArn=role, RoleSessionName="function"
        )["Credentials"]
        key = iam.create_access_key(UserName="function")["AccessKey"]
        self.access_key = key["AccessKeyId"]
        self.secret_key = key["SecretAccessKey"]
        # Verification begins here; without the content type it silently stays
        # off.
        self._post("/moto-api/reset-auth", b"0")

    def client(self, service):
        return self._client(service, self.access_key, self.secret_key)

    def close(self):
        process.forget(self.close)
        self._server.terminate()
        self._server.wait(20)

    def _client(self, service, key, secret):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION,
            aws_access_key_id=key, aws_secret_access_key=secret,
        )

    def _post(self, path, body):
        request = urllib.request.Request(
            self.endpoint + path, body, {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.read()

    def _is_up(self):
        try:
            urllib.request.urlopen(self.endpoint + "/moto-api/", timeout=2)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


_figures = []


def figure(text):
    """Records a measured figure, which decides nothing, for the end of the run.
    """
    _figures.append(text)


def pytest_terminal_summary(terminalreporter):
    for text in _figures:
        terminalreporter.write_line("measured: " + text)
    for report in terminalreporter.stats.get("skipped", ()):
        terminalreporter.write_line("skipped: " + report.nodeid)


def program(name):
    """The path of a program; without it, the test that needs it is skipped."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"there is no {name} here: see requirements.txt")
    return found


@pytest.fixture(scope="session")
def canaries():
    """Secrets that no log, payload or message may contain."""
    yield {PASSWORD}


@pytest.fixture(scope="session")
def rgw(canaries):
    with Rgw() as server:
        canaries.add(server.secret_key)
        yield server


@pytest.fixture(scope="session")
def moto():
    server = Moto()
    yield server
    server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def speak_tls(cluster, authority):
    """Makes a certificate for 127.0.0.1 for a cluster that is not yet started.
    """
    names = ("server.crt", "server.key")
    owner = os.stat(cluster.datadir)
    for path, name in zip(authority.certificate(), names):
        target = os.path.join(cluster.datadir, name)
        shutil.copyfile(path, target)
        os.chown(target, owner.st_uid, owner.st_gid)
        os.chmod(target, 0o600)
    cluster.settings["ssl"] = "on"


@pytest.fixture(scope="session")
def pg(rgw, authority):
    """A cluster with the extension, and a role that logs in with a password."""
    (port,) = process.free_ports(1)
    settings = {
        "listen_addresses": "127.0.0.1", "port": str(port),
        "password_encryption": "scram-sha-256", "max_connections": "60",
        "max_worker_processes": "16",
    }
    server = Cluster(settings).create()
    speak_tls(server, authority)
    try:
        server.start()
        server.psql("CREATE EXTENSION onboard")
        server.psql(
            "CREATE SERVER s3 FOREIGN DATA WRAPPER onboard OPTIONS"
            f" (endpoint '{rgw.endpoint}', region '{REGION}')"
        )
        quoted = PASSWORD.replace("'", "''")
        server.psql(
            "SET standard_conforming_strings = on;"
            f"CREATE ROLE exporter LOGIN PASSWORD '{quoted}';"
            "GRANT USAGE ON FOREIGN SERVER s3 TO exporter;"
            "GRANT SELECT ON onboard_tables TO exporter;"
            "CREATE USER MAPPING FOR exporter SERVER s3 OPTIONS"
            f" (access_key_id '{rgw.access_key}',"
            f" secret_access_key '{rgw.secret_key}')"
        )
        with open(server.datadir + "/pg_hba.conf", "r+") as hba:
            rules = hba.read()
            hba.seek(0)
            hba.write("host all exporter 127.0.0.1/32 scram-sha-256\n" + rules)
        server.psql("SELECT pg_reload_conf()")
        yield server
    finally:
        server.close()


@pytest.fixture
def db(pg):
    connection = pg.connect()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM onboard_tables")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def s3(rgw):
    return rgw.client()


@pytest.fixture
def bucket(s3):
    name = "lake-" + secrets.token_hex(6)
    s3.create_bucket(Bucket=name)
    yield name


@pytest.fixture
def secret(moto, pg):
    """The id of a secret with the database's address."""
    return make_secret(moto, pg)


def address(pg, **other):
    return {
        "engine": "postgres", "host": "127.0.0.1",
        "port": int(pg.settings["port"]), "username": "exporter",
        "password": PASSWORD, "dbname": "postgres", "sslmode": "disable",
        **other,
    }


@pytest.fixture
def aws(moto):
    """moto behind a proxy, whose log has the calls."""
    with Proxy(moto.endpoint) as proxy:
        yield proxy


def make_secret(moto, pg, **other):
    """Makes another secret, of another server or with other members; returns
    its id."""
    name = "db-" + secrets.token_hex(6)
    moto.client("secretsmanager").create_secret(
        Name=name, SecretString=json.dumps(address(pg, **other))
    )
    return name


def fetched(aws):
    """The number of requests for the secret."""
    return sum(
        request.headers.get("x-amz-target") == "secretsmanager.GetSecretValue"
        for request in aws.requests("POST")
    )


@pytest.fixture
def api(canaries):
    with RuntimeApi() as server:
        yield server


@pytest.fixture
def start(api, moto, aws, secret, bucket, canaries):
    """Starts the program; keyword arguments are additional environment
    variables."""
    running = []

    def begin(api=api, program=(str(PROGRAM),), **env):
        function = Function(
            api, program,
            {
                "ONBOARD_SECRETS": secret,
                "ONBOARD_BUCKET": bucket,
                "AWS_ACCESS_KEY_ID": moto.access_key,
                "AWS_SECRET_ACCESS_KEY": moto.secret_key,
                "AWS_ENDPOINT_URL": aws.endpoint,
                **env,
            },
        )
        running.append(function)
        return function

    yield begin
    for function in running:
        function.close()
        text = "".join(function.lines)
        assert "AddressSanitizer" not in text, text
        for canary in canaries | {moto.secret_key}:
            assert canary not in text
            assert json.dumps(canary)[1:-1] not in text
