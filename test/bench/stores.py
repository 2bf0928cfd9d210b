"""Stores of the benchmarks: a server that discards, and Ceph RGW.

They have a name (of the foreign server), an endpoint, keys and pids; clear() is
called before a run, and landed() after it, which returns (bytes, parts).
"""

import json
import os
import subprocess
import urllib.request

from lib import process
from lib.proxy import Proxy
from lib.rgw import Rgw

BUCKET = "bench"


class Discard:
    """The server that discards; see discard.c."""

    name = "s3"
    access_key = "bench"
    secret_key = "bench"

    def __init__(self, program):
        self.server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program],
            env=process.clean_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.at_end(self.stop)
        words = self.server.stdout.readline().split()
        if len(words) != 2 or words[0] != "port":
            raise process.RigError(f"{program} did not print its port")
        self.pids = [self.server.pid]
        self.endpoint = f"http://127.0.0.1:{words[1]}"
        # Proxies of the environment must not be used for loopback.
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({})
        )
        self.before = None

    def stats(self):
        url = self.endpoint + "/-/stats"
        with self.opener.open(url, timeout=10) as response:
            return json.load(response)

    def clear(self):
        self.before = self.stats()

    def landed(self):
        stats = self.stats()
        return (
            stats["bytes_stored"] - self.before["bytes_stored"],
            stats["requests"]["part"] - self.before["requests"]["part"],
        )

    def faults(self):
        """A description of all violations so far, or ""."""
        stats = self.stats()
        if stats["violations"] or stats["uploads_open"]:
            return (
                f"{stats['violations']} requests against S3's rules"
                f" ({stats['first_violation']}), {stats['uploads_open']}"
                " uploads left open"
            )
        return ""

    def stop(self):
        process.forget(self.stop)
        self.server.terminate()
        self.server.wait()
        self.server.stdout.close()


class Far:
    """A server that discards, and takes 100 ms for each response."""

    name = "far"
    access_key = secret_key = Discard.access_key

    def __init__(self, program):
        self._discard = Discard(program)
        self._proxy = Proxy(self._discard.endpoint)
        self._proxy.__enter__()
        self._proxy.rule(delay=0.1, times=None)
        self.endpoint = self._proxy.endpoint
        self.pids = self._discard.pids
        self.clear = self._discard.clear
        self.landed = self._discard.landed
        self.faults = self._discard.faults

    def stop(self):
        self._proxy.__exit__()
        self._discard.stop()


class RealServer:
    """Ceph RGW, which keeps its objects in memory."""

    name = "rgw"

    def __init__(self, program):
        self.rgw = Rgw().start()
        self.endpoint = self.rgw.endpoint
        self.access_key = self.rgw.access_key
        self.secret_key = self.rgw.secret_key
        self.pids = self.rgw.pids
        self.client = self.rgw.client()
        self.client.create_bucket(Bucket=BUCKET)

    def _objects(self):
        response = self.client.list_objects_v2(Bucket=BUCKET)
        return response.get("Contents", [])

    def clear(self):
        objects = self._objects()
        for found in objects:
            self.client.delete_object(Bucket=BUCKET, Key=found["Key"])
        if objects:
            # Otherwise, deleted objects keep their memory for hours.
            process.run(
                [
                    "radosgw-admin",
                    "-c", os.path.join(self.rgw.folder, "ceph.conf"),
                    "-n", "client.rgw", "gc", "process", "--include-all",
                ],
                timeout=120,
            )

    def landed(self):
        total = parts = 0
        for found in self._objects():
            total += found["Size"]
            # The ETag of a multipart object ends with the number of parts.
            parts += int(found["ETag"].strip('"').partition("-")[2] or 0)
        return total, parts

    def faults(self):
        unfinished = len(self.rgw.unfinished(BUCKET))
        return f"{unfinished} uploads left open" if unfinished else ""

    def stop(self):
        self.rgw.stop()
