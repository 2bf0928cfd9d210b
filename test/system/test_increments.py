"""Random increments: no row is lost, and every report is true.

Sessions write, commit late, prepare and roll back.  Others export these rows
at the same time: with old snapshots, with run ids that were used before, as
roles that see more or fewer rows, and in all formats.  Meanwhile the store
fails, queries, servers, policies and names change, watermarks are reset, and
sessions, workers and the server are cancelled, killed and restarted.
increments.py draws all of this from a seed.

These conditions must hold after each batch of steps:

- the objects that have landed since a watermark was reset, according to the
  history, have every row up to that watermark that must land (see the model),
  as the role sees the registered query;
- each object that the history, a manifest or a call's result names exists, with
  the reported rows, bytes and checksum, and nothing else: no row twice, no row
  that was never committed, and no row that the role may not see;
- an increment that has landed never changes and never vanishes;
- a row of the history keeps naming its object until the table has landed at
  another place, or is empty;
- _SUCCESS exists only beside a correct manifest whose objects all exist;
- an object that no row of the history names was reported as one that may exist.

In the end every transaction ends, and every table is exported once more: then
no row may be missing.  The test reads objects with boto3 and the codecs' own
programs, and tables with SQL.

    ONBOARD_INCREMENT_STEPS=10000   this many steps, each time with a new seed
    ONBOARD_SEED=123                the steps of that seed
    ONBOARD_SEED=123/4              only one episode of that seed
    ONBOARD_INCREMENT_SERVERS=3     this many episodes at the same time
    ONBOARD_INCREMENT_WITHOUT=keys,xids
                                    leaves out these steps, tables or faults, to
                                    get beyond a known fault
"""

import base64
import collections
import contextlib
import csv
import dataclasses
import io
import json
import os
import re
import secrets
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from conftest import QUIET, Server
from increments import (
    BAD_KEYS, BATCH, EPISODE, LARGE, QUERIES, ROLES, SETUP, UUID, WHOLE,
    Episode,
)
from lib import process
from lib.exports import select, value
from lib.postgres import Cluster, crashes
from lib.proxy import Proxy
from test_storm import plain

STEPS = 500
SERVERS = int(os.environ.get("ONBOARD_INCREMENT_SERVERS", 1))
SETTINGS = {
    "max_connections": "60",
    "max_worker_processes": "24",
    "max_prepared_transactions": "20",
    "deadlock_timeout": "200ms",
    # Committed data survives a crash of the server; a crash of the machine is
    # not tested.
    "synchronous_commit": "on",
    "autovacuum": "off",
}
FAILURES = 4
csv.field_size_limit(10 * LARGE)
LINES = 1000


class World:
    """Objects and state that outlast an episode."""

    def __init__(self, cluster, s3, rgw, proxy):
        self.cluster = cluster
        self.s3 = s3
        self.rgw = rgw
        self.proxy = proxy
        self.names = list(ROLES)  # the current names of the roles
        with contextlib.closing(cluster.connect("onboard")) as db:
            self.oids = [
                value(db, "SELECT oid::bigint FROM pg_roles"
                      " WHERE rolname = %s", (name,)) for name in ROLES
            ]
        self.buckets = []
        self.counts = collections.Counter()
        self.log_from = 0

    def episode_begins(self):
        token = secrets.token_hex(4)
        self.buckets = [f"increments-{token}-{n}" for n in (1, 2)]
        for name in self.buckets:
            self.s3.create_bucket(Bucket=name)
        with contextlib.closing(self.cluster.connect("onboard")) as db:
            select(
                db, "ALTER SERVER s3 OPTIONS (SET bucket"
                f" '{self.buckets[0]}', SET prefix '');"
                f"ALTER SERVER other OPTIONS (SET bucket '{self.buckets[1]}')"
            )
        self.log_from = os.path.getsize(self.cluster.logfile)

    def episode_ends(self):
        for name in self.buckets:
            for upload in self.rgw.unfinished(name):
                self.s3.abort_multipart_upload(
                    Bucket=name, Key=upload["Key"],
                    UploadId=upload["UploadId"],
                )
            for page in self.pages(name):
                found = [{"Key": one["Key"]} for one in page]
                self.s3.delete_objects(Bucket=name, Delete={"Objects": found})
            self.s3.delete_bucket(Bucket=name)
        self.buckets = []

    def pages(self, bucket):
        pages = self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket):
            if page.get("Contents"):
                yield page["Contents"]

    def listing(self):
        """{uri: (etag, when, size)} of all objects."""
        return {
            f"s3://{bucket}/{one['Key']}":
                (one["ETag"], one["LastModified"], one["Size"])
            for bucket in self.buckets for page in self.pages(bucket)
            for one in page
        }

    def body(self, uri):
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def log(self):
        with open(self.cluster.logfile, errors="replace") as log:
            log.seek(self.log_from)
            return log.read()

    def proxy_is_quiet(self):
        """Waits until no request is running, and no rule is left."""
        process.wait_until(
            lambda: all(request.ended for request in self.proxy.requests()),
            60, "all requests end", interval=0.01,
        )
        self.proxy.clear()

    def is_up(self):
        try:
            with contextlib.closing(self.cluster.connect("onboard")) as db:
                return value(db, "SELECT NOT pg_is_in_recovery()")
        except psycopg2.OperationalError:
            return False


@dataclasses.dataclass
class Landed:
    """A landed object."""

    size: int
    crc32: str
    rows: list  # dicts
    wrong: str = None  # why it cannot be read

    @property
    def vers(self):
        return [int(row["ver"]) for row in self.rows]


# Error texts that apply to all objects of a run.
OF_THE_RUN = re.compile(
    "published in part|objects of the run are visible|whose objects are"
)
COLUMNS = ("id", "v", "tenant", "ver", "pad")
ESCAPES = {"t": "\t", "n": "\n", "\\": "\\", "r": "\r"}


def rows_of(name, text):
    """The rows of an object's text, by its extension."""
    if ".jsonl" in name:
        return [json.loads(line) for line in text.splitlines()]
    if ".csv" in name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    rows = []
    for line in text.split("\n")[:-1]:
        fields = [
            re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), field)
            for field in line.split("\t")
        ]
        rows.append(dict(zip(COLUMNS, fields, strict=True)))
    return rows


def read(uri, data):
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    landed = Landed(len(data), crc, [])
    try:
        landed.rows = rows_of(
            uri.rsplit("/", 1)[1], plain(data, uri).decode()
        )
        assert all(row["ver"] is not None for row in landed.rows)
    except (ValueError, KeyError, EOFError, OSError, AssertionError,
            process.RigError) as error:
        landed.wrong = f"cannot be read: {error}, {data[:300]!r}"
    return landed


class Judge:
    """Collects everything that is wrong after a batch of an episode."""

    def __init__(self, world, episode):
        self.world = world
        self.episode = episode
        self.model = episode.model
        self.known = {}  # uri: (etag and time, Landed)
        self.claimed = {}  # increments: uri: (etag and time, claimed by)
        self.seen = set()  # uris of unclaimed objects that are explained
        self.named = {}  # by role, run and table: the last uri of its row
        self.wrong = []

    def judge(self, last=False):
        self.wrong = []
        self.listing = self.world.listing()
        self.log = self.world.log()
        with contextlib.closing(self.world.cluster.connect("onboard")) as db:
            select(db, "SET timezone = 'UTC';"
                   "BEGIN ISOLATION LEVEL REPEATABLE READ")
            history = select(
                db, "SELECT run_id::text, name, role_id::bigint AS role_id,"
                " status, uri, rows, bytes, started, error FROM onboard_history"
            )
            self.history = [row for row in history if row["status"] == "done"]
            self.not_done = [row for row in history if row["status"] != "done"]
            self.check_claimed()
            self.check_remembered(history)
            self.check_history()
            self.check_reported()
            self.check_manifests(db)
            if "strangers" not in self.episode.without:
                self.check_strangers()
            self.check_watermarks(db)
            if last:
                self.check_end(db)
        if crashes(self.log):
            self.note(f"the server crashed: {crashes(self.log)}")
        self.check_errors()
        self.world.counts["judged"] += 1
        return self.wrong

    def note(self, what):
        self.wrong.append(what[:3000])

    def check_errors(self):
        """Asserts that no error is an internal one, except for that of a job
        that was terminated before it could begin."""
        for many in self.episode.calls.values():
            for call in many:
                code = getattr(call.error, "pgcode", None) or ""
                if code.startswith("XX") and (
                    "worker could not begin" not in str(call.error)
                ):
                    lines = [line for line in self.log.splitlines()
                             if re.search("FATAL|ERROR|onboard job", line)]
                    self.note(f"{call.arguments} failed with {call}:"
                              f" {lines[-12:]}")

    # Objects

    def look(self, uri):
        """The object, or None."""
        if uri not in self.listing:
            return None
        state = self.listing[uri][:2]
        if uri not in self.known or self.known[uri][0] != state:
            self.known[uri] = state, read(uri, self.world.body(uri))
            self.world.counts["objects"] += 1
        return self.known[uri][1]

    def check(self, who, uri, rows, bytes_):
        """Checks that the object is as a row or manifest describes it."""
        landed = self.look(uri)
        if landed is None:
            self.note(f"{who} says {uri}, which is not there")
        elif landed.wrong:
            self.note(f"{uri} {landed.wrong}")
        elif (len(landed.rows), landed.size) != (rows, bytes_):
            self.note(f"{who} says {uri} has {rows} rows, {bytes_} bytes, but"
                      f" it has {len(landed.rows)}, {landed.size}")
        return landed

    def check_claimed(self):
        for uri, (state, who) in self.claimed.items():
            found = self.listing.get(uri)
            if found is None:
                self.note(f"{uri}, an increment of {who}, has vanished")
            elif found[:2] != state:
                self.note(f"{uri}, an increment of {who}, has been replaced")

    def check_remembered(self, history):
        """A row that has named an object keeps naming it until the run has
        another object, or has found no rows, even if repetitions fail."""
        for row in history:
            key = row["role_id"], row["run_id"], row["name"]
            if row["uri"] is None and row["status"] != "empty" and (
                key in self.named
            ):
                self.note(f"the history has forgotten {self.named[key]} of"
                          f" {key}: {row['status']}")
            self.named[key] = row["uri"]
            if row["uri"] is None:
                del self.named[key]
            elif row["status"] != "done":
                self.world.counts["named, not done"] += 1

    def may_be_replaced(self, run_id, name, uri):
        """Whether a later object may replace it: that of a whole table whose
        run is repeated or whose key does not contain the run id."""
        return name == WHOLE and (
            run_id in self.episode.repeated or run_id not in uri
        )

    def check_history(self):
        uris = collections.Counter(row["uri"] for row in self.history)
        for row in self.history:
            who = f"the history, of {row['name']} in run {row['run_id']},"
            uri, name = row["uri"], row["name"]
            if self.may_be_replaced(row["run_id"], name, uri):
                continue
            if name != WHOLE and uris[uri] > 1:
                self.note(f"two rows of the history have {uri}")
            landed = self.check(who, uri, row["rows"], row["bytes"])
            if landed is None or uri in self.claimed:
                continue
            if name != WHOLE:
                self.claimed[uri] = self.listing[uri][:2], who
            self.check_rows(row, landed)

    def check_rows(self, row, landed):
        """Checks that the rows are those of committed versions, each once."""
        vers, uri = landed.vers, row["uri"]
        if len(vers) != len(set(vers)):
            self.note(f"{uri} has rows twice: {vers}")
        sees_all = row["role_id"] != self.world.oids[2]
        for one in landed.rows:
            version = self.model.versions.get(int(one["ver"]))
            if version is None or version.state != "committed":
                self.note(f"{uri} has a row that never was: {one}")
            elif (version.table, version.row, version.tenant, version.pad) != (
                row["name"], int(one["id"]), int(one["tenant"]), one["pad"]
            ):
                self.note(f"{uri} has {one}, but it was {version}")
            elif not sees_all and version.tenant != 1 and (
                row["name"] not in self.model.widened
            ):
                self.note(f"{uri} has a row that its role may not see: {one}")

    def check_reported(self):
        for uri, rows, bytes_, name, run_id in self.model.reported:
            if not self.may_be_replaced(run_id, name, uri):
                self.check(f"the result of run {run_id}", uri, rows, bytes_)

    def check_strangers(self):
        """Checks objects that no row of the history claims."""
        reported = {one[0] for one in self.model.reported}
        ours = {row["uri"] for row in self.history}
        for uri in self.listing:
            if "/_onboard/" in uri or uri in ours or uri in self.claimed:
                continue
            if uri not in reported and uri not in self.seen:
                if not self.is_explained(uri):
                    found = re.search(UUID, uri.split("/", 3)[3])
                    messages = [call.messages for call in
                                self.calls_of(found and found[0])]
                    self.note(f"{uri} exists, but no message reported it:"
                              f" {messages}")
                self.seen.add(uri)

        self.check_denials()

    def check_denials(self):
        """Checks that an object which the history or a manifest reports as
        failed does not exist; if it exists, or may, they must name it."""
        there = {
            (found[0], self.model.versions[vers[0]].table): uri
            for uri in self.seen if isinstance(uri, str)
            and (found := re.search(UUID, uri.split("/", 3)[3]))
            and (vers := (self.look(uri) or Landed(0, "", [])).vers)
        }
        denied = [
            ("the history", row["run_id"], row["name"],
             f"{row['status']} ({row['error']})")
            for row in self.not_done
            if row["status"] in ("failed", "withheld", "empty")
            and row["uri"] is None
        ]
        denied += [
            (uri, manifest["run_id"], table["name"], table["status"])
            for uri, (_, manifest) in self.known.items()
            if uri.endswith("/manifest.json") and uri in self.listing
            for table in manifest["tables"]
            if table["uri"] is None and table.get("object") is None
        ]
        for who, run_id, name, status in denied:
            if (run_id, name) in there and not (
                {run_id} & (self.episode.repeated | self.model.interrupted)
            ):
                self.note(f"{who} says that {name} of run {run_id} is {status},"
                          f" but there is {there[run_id, name]}")

    def is_explained(self, uri):
        """Whether a message reported that it exists or may exist: to the
        client, or in the server's log if there was no client any more."""
        key = uri.split("/", 3)[3]
        found = re.search(UUID, key)
        run_id = found and found[0]
        if self.model.crashes and (
            run_id is None or run_id in self.model.interrupted
        ):
            return True
        if key in self.log or f"{run_id}, whose objects are" in self.log:
            return True
        return any(
            key in call.messages or OF_THE_RUN.search(call.messages)
            or OF_THE_RUN.search("\n".join(re.findall(
                rf".*\[{call.pid}\].*", self.log
            )))
            for call in self.calls_of(run_id)
        )

    def calls_of(self, run_id):
        """The calls that may have made an object with that id in its key."""
        calls = self.episode.calls
        if run_id is not None:
            return calls[run_id]
        return [
            call for many in calls.values() for call in many
            if call.shared.get("key") in BAD_KEYS
        ]

    # Manifests

    def check_manifests(self, db):
        for uri in self.listing:
            if uri.endswith("/manifest.json"):
                self.check_manifest(db, uri)
            elif uri.endswith("/_SUCCESS"):
                beside = uri.removesuffix("_SUCCESS") + "manifest.json"
                if beside not in self.listing:
                    self.note(f"{uri} has no manifest")

    def check_manifest(self, db, uri):
        state = self.listing[uri][:2]
        if self.known.get(uri, (None,))[0] != state:
            self.known[uri] = state, json.loads(self.world.body(uri))
            self.world.counts["manifests"] += 1
        manifest = self.known[uri][1]
        success = uri.removesuffix("manifest.json") + "_SUCCESS"
        if success in self.listing and not manifest["success"]:
            self.note(f"{success} stands beside a manifest of a failure")
        for table in manifest["tables"]:
            self.check_manifest_table(
                db, uri, manifest, table, success in self.listing
            )

    def check_manifest_table(self, db, uri, manifest, table, has_success):
        name, where = table["name"], table["uri"]
        if manifest["success"] and table["status"] not in ("done", "empty"):
            self.note(f"{uri} says success, and {name} {table['status']}")
        if where is None or table["status"] == "failed":
            return
        if where.split("/")[2] != uri.split("/")[2]:
            self.note(f"{uri} names an object of another bucket: {where}")
        if self.may_be_replaced(manifest["run_id"], name, where) and not (
            has_success and manifest["run_id"] in where and all(
                # A run without a manifest does not look for an earlier one.
                call.shared.get("manifest")
                for call in self.episode.calls[manifest["run_id"]]
            )
        ):
            return
        landed = self.check(uri, where, table["rows"], table["bytes"])
        if landed is None:
            return
        # The table landed before the run was repeated.
        if table.get("crc32") not in (landed.crc32, None):
            self.note(f"{uri} says that {where} has crc32 {table['crc32']},"
                      f" not {landed.crc32}")
        self.check_bounds(db, uri, table, landed)

    def check_bounds(self, db, uri, table, landed):
        """Checks that the rows are within the bounds in the manifest."""
        mark = table.get("watermark")
        if not mark or not landed.rows or (uri, table["name"]) in self.seen:
            return
        self.seen.add((uri, table["name"]))
        outside = value(
            db, f"SELECT count(*) FROM unnest(%s::text[]::{mark['type']}[]) v"
            f" WHERE v IS NULL OR v > %s::{mark['type']}"
            f" OR v < %s::{mark['type']}",
            ([str(row["v"]) for row in landed.rows], mark["up_to"],
             mark["above"]),
        )
        if outside:
            self.note(f"{uri}: {outside} rows of {table['uri']} are not within"
                      f" {mark}")

    # Rows

    def union(self, role, name):
        """All rows that have landed since the watermark was reset."""
        since = self.model.forgotten.get((role, name))
        unclear = self.model.unclear[role, name]
        vers = set()
        for row in self.history:
            if (row["role_id"], row["name"]) == (role, name) and (
                since is None or row["started"] >= since
                or row["run_id"] in unclear
            ):
                landed = self.look(row["uri"])
                vers.update(landed.vers if landed else ())
        return vers

    def visible(self, db, role, name, query, condition):
        """The versions that a query shows to a role now."""
        role_name = self.world.names[self.world.oids.index(role)]
        select(db, f"SET LOCAL ROLE {role_name}")
        found = select(
            db, f"SELECT ver, v::text FROM ({QUERIES[query]}) q"
            .format(name=name) + f" WHERE {condition}",
        )
        select(db, "RESET ROLE")
        return {row["ver"]: row["v"] for row in found}

    def check_rows_of(self, db, role, name, query, what, condition):
        visible = self.visible(db, role, name, query, condition)
        landed = self.union(role, name)
        missing = {
            ver: v for ver, v in visible.items()
            if ver not in landed
            and self.model.is_due(role, name, query, ver)
        }
        self.world.counts["rows"] += len(visible)
        if missing:
            self.note(
                f"{len(missing)} rows of {name} are lost for"
                f" {self.world.names[self.world.oids.index(role)]}: {what},"
                f" but nothing that has landed has {missing} (ver: v)"
            )

    def check_watermarks(self, db):
        for mark in select(
            db, "SELECT name, role_id::bigint AS role_id, type, value, uri,"
            " run_id::text FROM onboard_watermarks"
        ):
            role, name = mark["role_id"], mark["name"]
            if mark["uri"] not in self.claimed:
                self.note(f"the watermark of {name} is of {mark['uri']}, which"
                          " no row of the history has")
            query = self.model.query_of(
                role, name, mark["run_id"], role == self.world.oids[2]
            )
            if query is None:
                self.world.counts["watermarks unsure"] += 1
                continue
            self.world.counts["watermarks"] += 1
            self.check_rows_of(
                db, role, name, query, f"the watermark is {mark['value']}",
                f"v <= '{mark['value']}'::{mark['type']}",
            )

    def check_end(self, db):
        """Every table was exported, and no session writes any more."""
        for role in range(len(ROLES)):
            for name, kind in self.episode.kinds.items():
                error = self.episode.refused.get((role, name))
                if error is None:
                    self.check_rows_of(
                        db, self.world.oids[role], name,
                        self.model.definitions[name]["query"],
                        "all was landed in the end", "true",
                    )
                elif not kind.coarse:
                    self.note(f"{name} cannot be landed: {error}")
                else:
                    self.world.counts["coarse, refused"] += 1


@pytest.fixture(scope="module")
def worlds(rgw, canaries):
    """One world for each server."""
    with contextlib.ExitStack() as stack:
        yield [make_world(stack, rgw, canaries) for _ in range(SERVERS)]


def make_world(stack, rgw, canaries):
    cluster = stack.enter_context(Cluster(settings=SETTINGS))
    proxy = stack.enter_context(Proxy(rgw.endpoint))
    cluster.psql("CREATE DATABASE onboard")
    cluster.psql("CREATE EXTENSION onboard", "onboard")
    server = Server(cluster, canaries)
    for name in ("s3", "other"):
        server(
            proxy.endpoint, rgw.access_key, rgw.secret_key, name=name,
            user="PUBLIC", bucket="none", prefix="",
        )
    cluster.psql(f"{QUIET}; {SETUP}", "onboard")
    return World(cluster, rgw.s3, rgw, proxy)


def chosen():
    """The seed, the episodes, and the number of steps of each."""
    steps = int(os.environ.get("ONBOARD_INCREMENT_STEPS", 0))
    seed, _, number = os.environ.get("ONBOARD_SEED", "").partition("/")
    seed = seed or (str(secrets.randbelow(10**9)) if steps else "1")
    steps = steps or STEPS
    numbers = range(-(-steps // EPISODE))
    return seed, [int(number)] if number else numbers


def run(world, episode):
    """Runs an episode; returns everything that is wrong."""
    judge = Judge(world, episode)
    episode.prepare()
    for step in range(EPISODE):
        episode.step()
        if step % BATCH == BATCH - 1:
            episode.settle()
            wrong = judge.judge()
            if wrong:
                return wrong
    episode.end_all()
    return judge.judge(last=True)


def report(episode, wrong):
    steps = "\n".join(episode.steps_taken[-LINES:])
    more = len(wrong) - FAILURES
    return "\n".join([
        f"ONBOARD_SEED={episode.seed}/{episode.number}",
        *wrong[:FAILURES], *([f"and {more} more"] if more > 0 else []),
        f"what was done (tick: what):\n{steps}",
    ])


def carry_out(world, seed, number):
    """Runs one episode; returns a report, or None."""
    episode = Episode(world, seed, number)
    try:
        wrong = run(world, episode)
    except Exception:
        wrong = [traceback.format_exc()]
    if wrong:
        # No export may write to the buckets that are removed.
        episode.let_go()
        world.cluster.stop("immediate")
    else:
        episode.close()
    world.episode_ends()
    return report(episode, wrong) if wrong else None


def test_increments(worlds, show):
    seed, numbers = chosen()
    show(f"ONBOARD_SEED={seed}")
    left = list(reversed(numbers))
    failures = []

    def run_episodes(world):
        while left and not failures:
            number = left.pop()
            found = carry_out(world, seed, number)
            if found:
                failures.append(found)
            show(f"episode {number}: {dict(world.counts)}")

    with ThreadPoolExecutor(len(worlds)) as pool:
        list(pool.map(run_episodes, worlds))
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)
    counts = sum((world.counts for world in worlds), collections.Counter())
    show(f"increments: {dict(counts)}")
    assert counts["watermarks"] > counts["watermarks unsure"]
