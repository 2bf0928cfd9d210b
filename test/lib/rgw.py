"""A real S3 server: a single-node Ceph RGW on loopback.

One monitor, one OSD that keeps its objects in memory and one radosgw, all in
one temporary folder.  It verifies signatures and payload hashes, does real
multipart uploads and responds with S3's XML.  It starts in 1 to 6 seconds.

    with Rgw() as rgw:
        rgw.client().create_bucket(Bucket="b")
"""

import functools
import json
import os
import secrets
import shutil
import string
import subprocess
import tempfile
import threading
import uuid
from urllib.parse import unquote_plus

import boto3
import botocore.config
import botocore.exceptions

from . import process
from .process import RigError
from .tls import Authority

_CONFIG = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd crush chooseleaf type = 0
osd pool default pg num = 8
mon max pg per osd = 1000
# The monitor stops on a nearly full disk otherwise.
mon data avail crit = 1
mon data avail warn = 2
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
crash dir = {folder}
{owner}
[mon]
# Pools are made one paxos round each; the default pauses make start-up slow.
paxos propose interval = 0.05
paxos min wait = 0.01
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
[client.rgw]
rgw data = {folder}
rgw frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:{port} {tls}
# Encryption by a key that it knows itself, also without TLS.
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = lake-key=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
# Both http://127.0.0.1:PORT/bucket and http://bucket.localhost:PORT/ work.
rgw dns name = localhost
rgw enable usage log = false
# The OSD's memory holds every stripe of an object but its first twice.
rgw obj stripe size = 16777216
# The parts of deleted objects go at once, not after two hours: they are in
# memory.
rgw gc obj min wait = 2
rgw gc processor period = 3
rgw gc processor max time = 3
# A second gateway to the same store, see sts().
[client.sts]
rgw data = {folder}
rgw frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:{sts_port}
rgw enable usage log = false
rgw s3 auth use sts = true
# It encrypts session tokens by it; it must have 16 bytes.
rgw sts key = {sts_key}
"""

_ALPHABET = string.ascii_letters + string.digits


def _random(length, alphabet=_ALPHABET):
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _policy(action, **others):
    statement = {"Effect": "Allow", "Action": [action], **others}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# With these settings, the memory of freed objects returns to the system.
# Otherwise glibc raises the threshold to the size of objects, and its heaps
# keep a gigabyte; so do those of tcmalloc, which Debian 13's Ceph uses.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "TCMALLOC_AGGRESSIVE_DECOMMIT": "1",
}


class _PortTaken(Exception):
    """Another process took a port after it was found free and before its use.
    """


# The owner of all buckets: an account id, as on AWS.  Ceph 20 compares it with
# the expected bucket owner, 16 does not.
OWNER = "011122223333"
# The only key for SSE-KMS.
KMS_KEY = "lake-key"


@functools.cache
def release():
    """The number of the installed Ceph release: 16 in Debian 12."""
    return int(process.run(["radosgw", "--version"]).split()[2].split(".")[0])


class Rgw:
    """memory_gb limits the size of all buckets; it is not allocated ahead.

    keep: its processes can outlive this program (which must then call forget()
    for stop: see process.py).
    """

    def __init__(self, memory_gb=12, tls=False, keep=False):
        self.memory = memory_gb * 1024**3
        self.tls = tls
        self.keep = keep
        self.access_key = "OB" + _random(18).upper()
        # The secret has the two characters that careless encoders break.
        self.secret_key = _random(19) + "/" + _random(18) + "+" + _random(1)
        self.folder = None
        self.endpoint = None
        self.tls_endpoint = None
        self.ca_file = None
        self._daemons = []
        self.role = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        process.at_end(self.stop)
        for attempt in range(1, 6):
            try:
                self._start()
                break
            except _PortTaken:
                self._end_daemons()
                if attempt == 5:
                    raise RigError("found no free port for Ceph") from None
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self):
        process.forget(self.stop)
        self._end_daemons()

    @property
    def pids(self):
        return [daemon.pid for _, daemon in self._daemons]

    def client(self, endpoint=None, **config):
        """A boto3 client: path style, no retries, so that faults are visible.
        """
        options = {
            "retries": {"total_max_attempts": 1},
            "s3": {"addressing_style": "path"},
            "connect_timeout": 5,
            "read_timeout": 60,
            "proxies": {},
        }
        access_key = config.pop("access_key", self.access_key)
        secret_key = config.pop("secret_key", self.secret_key)
        verify = config.pop("verify", self.ca_file or True)
        options.update(config)
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=verify,
            config=botocore.config.Config(**options),
        )

    @functools.cached_property
    def s3(self):
        """A shared client with the defaults: making one takes a while."""
        return self.client()

    def buckets(self):
        response = self.s3.list_buckets()
        return [bucket["Name"] for bucket in response["Buckets"]]

    def unfinished(self, bucket):
        """All pending multipart uploads of the bucket.

        Keys are listed encoded, since XML cannot contain control characters.
        """
        found, place = [], {}
        while True:
            page = self.s3.list_multipart_uploads(
                Bucket=bucket, EncodingType="url", **place
            )
            found += [
                {**upload, "Key": unquote_plus(upload["Key"])}
                for upload in page.get("Uploads", [])
            ]
            if not page["IsTruncated"]:
                return found
            place = {
                "KeyMarker": unquote_plus(page["NextKeyMarker"]),
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def add_user(self, name):
        """Makes another user, who may not use the first one's buckets.

        Returns its access key and its secret.
        """
        access_key, secret_key = "OB" + _random(18).upper(), _random(40)
        self._make_user(name, access_key, secret_key)
        return access_key, secret_key

    def add_key(self):
        """Makes another key of the user; returns an access key and its secret.
        """
        access_key, secret_key = "OB" + _random(18).upper(), _random(40)
        self._tool(
            "radosgw-admin", "key", "create", "-n", "client.rgw",
            f"--uid={OWNER}", "--key-type=s3", f"--access-key={access_key}",
            f"--secret-key={secret_key}",
        )
        return access_key, secret_key

    def drop_key(self, access_key):
        """Removes an access key."""
        self._tool(
            "radosgw-admin", "key", "rm", "-n", "client.rgw",
            f"--uid={OWNER}", "--key-type=s3", f"--access-key={access_key}",
        )

    @property
    def sts(self):
        """The endpoint of a gateway to the same store that is its own STS.

        It accepts temporary credentials, whose session token it verifies.  (For
        invalid ones it responds only AccessDenied, without the reason.)
        """
        if not self.role:
            if threading.current_thread() is not threading.main_thread():
                # PDEATHSIG belongs to the thread that starts a daemon.
                raise RigError("the first to ask must be the main thread")
            self._daemon("radosgw", "-n", "client.sts")
            self._make_role("lander")
            process.wait_until(
                lambda: self._ready(self._sts_endpoint), 60,
                "the second radosgw responds",
            )
        return self._sts_endpoint

    def temporary(self):
        """Temporary credentials with all rights of the first user.

        Returns an access key, its secret and a session token, valid at sts.
        """
        sts = boto3.client(
            "sts",
            endpoint_url=self.sts,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        found = sts.assume_role(
            RoleArn=self.role, RoleSessionName="test", DurationSeconds=900
        )["Credentials"]
        return (
            found["AccessKeyId"], found["SecretAccessKey"],
            found["SessionToken"],
        )

    # Start

    def _start(self):
        self.folder = tempfile.mkdtemp(prefix="onboard-rgw-")
        ports = process.free_ports(4)
        mon_port, port, _, sts_port = ports
        self.endpoint = f"http://127.0.0.1:{port}"
        self._sts_endpoint = f"http://127.0.0.1:{sts_port}"
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        self._write_config(fsid, *ports)
        for data in ("mon", "osd"):
            os.mkdir(self._path(data))

        monmap = self._path("monmap")
        address = f"[v1:127.0.0.1:{mon_port}]"
        self._tool(
            "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address,
            monmap,
        )
        self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a")
        self._tool("ceph", "osd", "new", osd)
        # The UUID must be the same, or the OSD ends with "wrong fsid".
        self._tool("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._daemon("ceph-osd", "-i", "0")
        self._daemon("radosgw", "-n", "client.rgw")
        self._make_user(OWNER, self.access_key, self.secret_key)
        process.wait_until(self._ready, 60, "radosgw responds")

    def _write_config(self, fsid, mon_port, port, tls_port, sts_port):
        tls = ""
        if self.tls:
            authority = Authority(self.folder)
            certificate, key = authority.certificate()
            self.ca_file = authority.ca_file
            self.tls_endpoint = f"https://127.0.0.1:{tls_port}"
            tls = (
                f"ssl_endpoint=127.0.0.1:{tls_port}"
                f" ssl_certificate={certificate} ssl_private_key={key}"
            )
        # Started as root, Ceph's programs would change to their own user.
        owner = "setuser = root\nsetgroup = root" if os.getuid() == 0 else ""
        with open(self._path("ceph.conf"), "w") as config:
            config.write(
                _CONFIG.format(
                    fsid=fsid,
                    folder=self.folder,
                    memory=self.memory,
                    mon_port=mon_port,
                    port=port,
                    tls=tls,
                    sts_port=sts_port,
                    owner=owner,
                    sts_key=_random(16),
                )
            )

    def _make_user(self, name, access_key, secret_key):
        self._tool(
            "radosgw-admin", "user", "create", "-n", "client.rgw",
            f"--uid={name}", f"--display-name={name}", "--max-buckets=0",
            f"--access-key={access_key}", f"--secret-key={secret_key}",
        )

    def _make_role(self, name):
        """Makes a role that the first user may assume and that may do
        everything in S3."""
        self._tool(
            "radosgw-admin", "role", "create", "-n", "client.rgw",
            f"--role-name={name}", "--assume-role-policy-doc="
            + _policy("sts:AssumeRole", Principal={
                "AWS": [f"arn:aws:iam:::user/{OWNER}"]
            }),
        )
        self._tool(
            "radosgw-admin", "role-policy", "put", "-n", "client.rgw",
            f"--role-name={name}", "--policy-name=all",
            "--policy-doc=" + _policy("s3:*", Resource="arn:aws:s3:::*"),
        )
        self.role = f"arn:aws:iam:::role/{name}"

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _tool(self, program, *arguments):
        """Runs a Ceph tool to its end.

        All of them can be repeated.  They contact the monitor before they know
        its fsid, as explained in _daemon(), so it sometimes refuses them.
        """
        command = [program, "-c", self._path("ceph.conf"), *arguments]
        for _ in range(10):
            if self._run_tool(command) == 0:
                return
            output = process.tail(self._path("tools.log"))
            if "EPERM" not in output and "wrong fsid" not in output:
                break
        raise RigError(f"{program} failed:\n{output}")

    def _run_tool(self, command):
        """The exit status; it ends early when a daemon that the tool needs
        dies."""
        with open(self._path("tools.log"), "a") as log:
            tool = subprocess.Popen(
                command,
                env=process.clean_env(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                process.wait_until(
                    lambda: self._check_daemons() or tool.poll() is not None,
                    90,
                    f"{command[0]} ends",
                )
            finally:
                if tool.poll() is None:
                    tool.kill()
                    tool.wait()
        return tool.returncode

    def _daemon(self, program, *arguments):
        # --no-mon-config: all settings are in the file.  A daemon that asks the
        # monitor for more starts with its monitor's address but without its
        # fsid, so the monitor sometimes refuses it ("wrong fsid").
        command = [
            program, "-c", self._path("ceph.conf"), "-f", "--no-mon-config",
            *arguments,
        ]
        # They run in /, because Debian's later OSD searches its classes in
        # "lib/...", without a leading slash.
        if not self.keep:
            # Even a killed test run leaves no server behind.
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        output = self._path(f"{program}.{arguments[-1]}.out")
        with open(output, "w") as log:
            daemon = subprocess.Popen(
                command,
                env=process.clean_env(_MALLOC),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons.append((output, daemon))

    def _check_daemons(self):
        for output, daemon in self._daemons:
            if daemon.poll() is None:
                continue
            logs = process.tail(output)
            for name in os.listdir(self.folder):
                if name.endswith(".log"):
                    logs += process.tail(self._path(name), 40)
            if "in use" in logs or "unable to bind" in logs:
                raise _PortTaken
            raise RigError(
                f"{os.path.basename(output)} ended early:\n"
                + process.tail(output, 8)
            )

    def _ready(self, endpoint=None):
        self._check_daemons()
        options = {"connect_timeout": 1, "read_timeout": 5}
        try:
            self.client(endpoint, **options).list_buckets()
            return True
        except (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
        ):
            return False

    def _end_daemons(self):
        # All data is in memory, so no orderly shutdown is needed.
        for _, daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()
        self._daemons = []
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
