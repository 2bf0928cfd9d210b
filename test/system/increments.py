"""The parts of the random test of increments: tables, a model, and steps.

Everything is drawn from a seed: which session writes, when it commits, which
session exports which table and how, and which faults occur meanwhile.  One
thread does one step after another; exports run beside it in sessions of their
own, and later steps hold, cancel or kill them.

The model knows for each row whether it must land.  A row is late if greater
values are already committed when it commits: an increment may have passed it,
so it must land only if the table's overlap reaches from the greatest of these
values down to it, or if the table's column is safe by itself.  All other rows
must land.  Which rows are late is known exactly, because one thread makes all
commits.
"""

import collections
import dataclasses
import datetime
import decimal
import json
import os
import random
import threading
import time
import uuid

import psycopg2

from lib import process
from lib.exports import select, value
from lib.proxy import s3_error

# The number of steps on one set of tables; then everything is exported and
# judged, and another set follows.
EPISODE = 250
# The number of steps between two inspections of landed objects.
BATCH = 25
WRITERS = 4
# A statement that takes longer must be hanging.
LONGEST = 90
ROLES = ("postgres", "inc_a", "inc_b")
READERS = ("postgres", "inc_a", "inc_a", "inc_b", "postgres")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A table: its column v, and which of its late rows must land."""

    name: str
    column: str  # its definition; {q} is a sequence
    overlap: object = None  # as written in the option
    reach: object = None  # the same as a difference between Python's values
    cache: int = 1  # of the sequence
    # A row whose value another row has already is not late: if such rows are
    # usual and nothing covers them, the table must be refused.
    coarse: bool = False
    safe: bool = False  # no row is late

    def must_land(self, new, greatest):
        """Whether a row must land that commits when the greatest committed
        value is greatest (None: there is none)."""
        if new is None:
            return False
        if self.safe or greatest is None or new > greatest:
            return True
        if self.coarse and new == greatest:
            return True
        return self.reach is not None and greatest - new < self.reach


KINDS = [
    Kind("seq", "bigint DEFAULT nextval('{q}')"),
    Kind("ids", "bigint DEFAULT nextval('{q}')", 40, 40),
    Kind("cached", "bigint DEFAULT nextval('{q}')", 60, 60, cache=20),
    Kind("clock", "timestamptz DEFAULT now()", "2 seconds",
         datetime.timedelta(seconds=2)),
    Kind("instant", "timestamptz DEFAULT clock_timestamp()"),
    Kind("local", "timestamp DEFAULT localtimestamp", "1 second",
         datetime.timedelta(seconds=1)),
    Kind("xids", "xid8 DEFAULT pg_current_xact_id()", safe=True),
    Kind("days", "date DEFAULT date '2026-01-01' + (nextval('{q}') / 20)::int",
         "1 day", datetime.timedelta(days=1)),
    Kind("plain_days",
         "date DEFAULT date '2026-01-01' + (nextval('{q}') / 20)::int",
         coarse=True),
    Kind("seconds", "timestamptz(0) DEFAULT clock_timestamp()", coarse=True),
    Kind("num", "numeric DEFAULT nextval('{q}') / 10.0", 2.5,
         decimal.Decimal("2.5")),
    # Several rows have each value, and the overlap is less than the distance
    # between neighbouring values of this size.
    Kind("doubles",
         "float8 DEFAULT 9007199254740996 + 4 * (nextval('{q}') / 3)", 1, 1.0,
         coarse=True),
    Kind("txt", "text DEFAULT lpad(nextval('{q}')::text, 12, '0')"),
    Kind("uid", "uuid DEFAULT lpad(to_hex(nextval('{q}')), 32, '0')::uuid"),
]
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
WHOLE = "whole"  # a table that is always exported as a whole

# Keys that contain the run id, since no object of an increment may be replaced.
KEYS = [
    "{name}/{run_id}.{ext}", "{prefix}{name}/{date}/{run_id}.{ext}",
    "{run_id}/{name}.{ext}", "{name}/{time}-{run_id}-{part}.{ext}",
]
# Keys that increments must refuse; other exports replace objects of earlier
# runs.
BAD_KEYS = [
    "{name}/{date}.{ext}", "{name}/{date}-{time}.{ext}", "{name}/all.{ext}",
]
QUERIES = [
    "SELECT * FROM {name}",
    "SELECT id, v, tenant, ver, pad FROM {name} WHERE tenant < 2",
    "SELECT * FROM {name} WHERE id % 3 <> 0",
]
POLICIES = ["tenant = 1", "tenant >= 1", "true"]
# More than S3's minimum part size, without compression.
LARGE = 5_600_000
PADS = ["", "plain", 'with "quotes", commas', "two\nlines", "tab\t\\back\\N"]


@dataclasses.dataclass
class Version:
    """A row as one transaction has written it."""

    table: str
    row: int  # id
    tenant: int
    pad: str
    v: object
    state: str = "open"  # or: committed, gone
    when: int = None  # the tick of the commit
    must_land: bool = False
    late: bool = False  # it lands with the next increment


class Model:
    """The truth, with which all reports are compared."""

    def __init__(self):
        self.tick = 0
        self.versions = {}  # by ver
        self.greatest = {}  # greatest committed values, by table
        # The definition of each table's increments, and the tick of its last
        # change.
        self.definitions = {}
        self.changed = collections.Counter()
        self.widened = set()  # tables of which inc_b may have seen more rows
        # Keys are (role's OID, table).  sure: the definition of the last
        # successful run, and since when it has seen changes.  forgotten: when
        # the watermark was reset.  unclear: ids of runs that were running then,
        # and may belong before or after the reset.
        self.sure = {}
        self.made = {}  # by role, table and run: a definition
        self.forgotten = {}
        self.unclear = collections.defaultdict(set)
        # Watermarks that a reset kept in spite of all changes until the next
        # increment; and, of these, watermarks below which rows may therefore be
        # missing.
        self.kept = set()
        self.blurred = set()
        self.reported = []  # objects that results of calls have reported
        self.interrupted = set()  # ids of runs that a crash has ended
        self.crashes = 0

    def write(self, table, ver, row, tenant, pad, v):
        self.versions[ver] = Version(table, row, tenant, pad, v)

    def commit(self, written, kinds):
        """Commits one transaction: its rows become visible together."""
        before = dict(self.greatest)
        for ver in written:
            version = self.versions[ver]
            version.state = "committed"
            kind = kinds.get(version.table)
            if not kind or version.v is None:
                continue
            greatest = before.get(version.table)
            version.when = self.tick
            version.must_land = kind.must_land(version.v, greatest)
            version.late = not kind.safe and (
                greatest is not None and version.v <= greatest
            )
            known = self.greatest.get(version.table)
            if known is None or version.v > known:
                self.greatest[version.table] = version.v

    def undo(self, written):
        for ver in written:
            self.versions[ver].state = "gone"

    def define(self, table, **changes):
        self.definitions[table] = {**self.definitions[table], **changes}
        self.changed[table] = self.tick
        for role, name in self.kept:
            if name == table:
                self.blurs(role, name)

    def ended_well(self, role, table, since, definition):
        """Records a successful run that began to see changes at tick since."""
        if table in self.definitions and self.changed[table] < since:
            _, before = self.sure.get((role, table), (None, 0))
            self.blurs(role, table)
            self.sure[role, table] = definition, max(since, before)

    def blurs(self, role, table):
        """Whether a watermark was kept although it was made from other rows
        than the registered ones."""
        key, now = (role, table), self.definitions[table]
        known, _ = self.sure.get(key, (None, 0))
        if key in self.kept and (
            known is None or (known["query"], known["policy"])
            != (now["query"], now["policy"])
        ):
            self.blurred.add(key)
        return key in self.blurred

    def has_ended(self, role, run_id, names, since, definitions):
        """Records, for a run that has ended in any way, the definitions of its
        watermarks, if these did not change during the run."""
        for table in names:
            steady = self.changed[table] < since
            known = definitions[table] if steady else None
            if self.made.setdefault((role, table, run_id), known) != known:
                self.made[role, table, run_id] = None

    def query_of(self, role, table, run_id, restricted):
        """The number of the query that the run's watermark was made from, or
        None if it is unknown, or if a restricted role sees other rows now."""
        known = self.made.get((role, table, run_id))
        if known is None or (role, table) in self.blurred:
            return None
        if restricted and known["policy"] != self.definitions[table]["policy"]:
            return None
        return known["query"]

    def is_due(self, role, table, query, ver):
        """Whether a row up to the watermark must have landed by now."""
        version = self.versions[ver]
        known, since = self.sure.get((role, table), (None, 0))
        if known and known["query"] != query:
            since = 0
        return version.must_land and (
            not version.late or version.when < since
        )


class Call(threading.Thread):
    """A statement that exports, in a session of its own."""

    def __init__(self, reader, statement, arguments, run_id, names, shared):
        super().__init__(daemon=True)
        self.reader = reader
        self.connection = reader.connection
        self.pid = self.connection.info.backend_pid
        self.statement = statement
        self.arguments = arguments
        self.run_id = run_id
        self.names = names
        self.job = False
        self.shared = shared  # the options of the call
        self.since = None
        self.definitions = None
        self.rule = None
        self.fault = ""
        self.sure = False  # whether its rows show how the run has ended
        self.rows = None
        self.error = None
        self.notices = []
        self.done = threading.Event()

    def run(self):
        try:
            self.rows = select(
                self.connection, self.statement, self.arguments
            )
        except psycopg2.Error as error:
            self.error = error
        self.notices = list(self.connection.notices)
        self.done.set()

    @property
    def messages(self):
        """All messages that the client received."""
        found = [*self.notices, str(self.error)]
        if self.error is not None:
            found.append(str(self.error.diag.message_detail))
            found.append(str(self.error.diag.message_hint))
            found.append(str(self.error.diag.context))
        return "\n".join(found)

    def __str__(self):
        outcome = "under way"
        if self.error is not None:
            outcome = f"{getattr(self.error, 'pgcode', '')} {self.error}"
        elif self.rows is not None:
            outcome = "; ".join(
                f"{row.get('name')} {row.get('status')} {row.get('rows')}"
                f" {row.get('error') or ''}" for row in self.rows
            ) or "no rows"
        return " ".join(outcome.split())[:300]


class Session:
    """A connection that is replaced when it is closed."""

    def __init__(self, world, user, settings=""):
        self.world = world
        self.user = user  # the index in ROLES, not the name
        self.settings = settings
        self.connection = None
        self.clear()

    def clear(self):
        self.begun = None  # the isolation level of an open transaction
        self.since = None  # the tick of its snapshot
        self.definitions = None
        self.call = None
        self.landed = []  # rows that calls in an open transaction returned
        self.written = []  # versions

    def get(self):
        if self.connection is None or self.connection.closed:
            self.clear()
            self.connection = self.world.cluster.connect(
                "onboard", user=self.world.names[self.user]
            )
            select(self.connection, self.settings or "SELECT 1")
        return self.connection

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.clear()


READER_SETTINGS = (
    "SET lock_timeout = '600ms'; SET statement_timeout = '60s';"
    "SET onboard.retry_deadline = '3s'; SET onboard.stall_timeout = '20s'"
)
ADMIN_SETTINGS = "SET lock_timeout = '300ms'; SET statement_timeout = '60s'"
LOCKED = (
    psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected
)
SETUP = """
CREATE ROLE inc_a LOGIN; CREATE ROLE inc_b LOGIN;
GRANT SELECT ON onboard_tables TO inc_a, inc_b;
GRANT USAGE ON FOREIGN SERVER s3, other TO inc_a, inc_b;
"""


class Episode:
    """Steps over one set of tables."""

    # The weight of each step.
    STEPS = {
        "write": 30, "change": 5, "end_writing": 15, "end_prepared": 4,
        "land": 24, "submit": 2, "join": 9, "release": 3, "cancel": 4,
        "terminate": 2, "see": 3, "end_reading": 4, "requery": 0.8,
        "alter_server": 0.8, "alter_policy": 0.8, "recreate": 0.4,
        "rename": 0.8, "reset": 1, "keep": 0.6, "kill": 0.3, "restart": 0.3,
    }

    def __init__(self, world, seed, number):
        self.world = world
        self.seed = seed
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.without = set(
            os.environ.get("ONBOARD_INCREMENT_WITHOUT", "").split(",")
        )
        self.model = Model()
        self.steps_taken = []
        self.counts = world.counts
        self.active = []  # running calls
        self.jobs = []  # calls that have submitted a job
        self.prepared = {}  # versions, by name of the prepared transaction
        self.next = 0  # the next ver
        self.run_ids = collections.defaultdict(list)  # by role
        self.repeated = set()
        self.calls = collections.defaultdict(list)  # by run id
        kinds = [kind for kind in KINDS if kind.name not in self.without]
        self.kinds = {
            kind.name: kind for kind in self.random.sample(kinds, 4)
        }
        self.tables = [*self.kinds, WHOLE]
        # In some episodes, rows are larger than a part.
        self.large = number % 5 == 2
        self.writers = [Session(world, 0) for _ in range(WRITERS)]
        self.readers = [
            Session(world, ROLES.index(role), READER_SETTINGS)
            for role in READERS
        ]
        self.admin = Session(world, 0, ADMIN_SETTINGS)

    # Preparation and clean-up

    def prepare(self):
        world = self.world
        world.episode_begins()
        self.state = {"bucket": world.buckets[0], "prefix": ""}
        for name in self.tables:
            kind = self.kinds.get(name)
            column = kind.column if kind else "int DEFAULT 1"
            cache = kind.cache if kind else 1
            self.do(
                f"CREATE SEQUENCE {name}_q CACHE {cache};"
                f"CREATE TABLE {name} (id bigserial, v "
                + column.format(q=name + "_q")
                + ", tenant int, ver bigint, pad text);"
                f"GRANT SELECT ON {name} TO {', '.join(world.names[1:])};"
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;"
                f"CREATE POLICY a ON {name} TO {world.names[1]} USING (true);"
                f"CREATE POLICY b ON {name} TO {world.names[2]}"
                f" USING ({POLICIES[0]})"
            )
            self.model.definitions[name] = {
                "policy": 0, "server": "s3", **self.state
            }
            self.register(name, self.random.randrange(len(QUERIES)))

    def register(self, name, query):
        options = {"key": self.random.choice(KEYS)}
        kind = self.kinds.get(name)
        if kind:
            options["watermark"] = {"column": "v"}
            if kind.overlap is not None:
                options["watermark"]["overlap"] = kind.overlap
        self.do(
            "INSERT INTO onboard_tables (name, query, options)"
            " VALUES (%s, %s, %s)",
            (name, QUERIES[query].format(name=name), json.dumps(options)),
        )
        self.model.define(name, query=query, server="s3")

    def do(self, sql, arguments=None):
        return select(self.admin.get(), sql, arguments)

    def attempt(self, sql, arguments=None):
        """Whether the statement succeeded: it may wait for a lock that others
        hold."""
        try:
            self.do(sql, arguments)
            return True
        except LOCKED:
            self.log("-- a lock kept it from being")
            return False

    def log(self, text):
        self.steps_taken.append(f"{self.model.tick}: {text}")

    # Steps

    def step(self):
        self.model.tick += 1
        self.random = random.Random(
            f"{self.seed}/{self.number}/{self.model.tick}"
        )
        names = [name for name in self.STEPS if name not in self.without]
        weights = [self.STEPS[name] for name in names]
        (name,) = self.random.choices(names, weights)
        getattr(self, name)()
        self.counts["steps"] += 1

    def chance(self, probability):
        return self.random.random() < probability

    # Writing

    def version(self):
        self.next += 1
        return self.next

    def insert(self, writer, name):
        ver, tenant = self.version(), self.random.randrange(3)
        pad = self.random.choice(PADS)
        if self.large and name in self.kinds and self.chance(0.03):
            pad = self.random.randbytes(LARGE // 2).hex()
        v = "NULL" if self.chance(0.02) else "DEFAULT"
        (row,) = select(
            writer.get(), f"INSERT INTO {name} (v, tenant, ver, pad)"
            f" VALUES ({v}, %s, %s, %s) RETURNING id, v", (tenant, ver, pad),
        )
        found = python_value(self.kinds.get(name), row["v"])
        self.model.write(name, ver, row["id"], tenant, pad, found)
        writer.written.append(ver)
        return ver

    def begin(self, writer):
        writer.get()
        if not writer.begun:
            select(writer.connection, "BEGIN")
            writer.begun = "writes"

    def write(self):
        number = self.random.randrange(WRITERS)
        writer = self.writers[number]
        self.begin(writer)
        names = self.random.sample(self.tables, self.random.choice((1, 1, 2)))
        for name in names:
            vers = [
                self.insert(writer, name)
                for _ in range(self.random.choice((1, 1, 2, 3)))
            ]
            values = [self.model.versions[ver].v for ver in vers]
            self.log(f"writer {number} inserts into {name}"
                     f" ver {vers}, v {values}")
        if self.chance(0.5):
            self.end(number, "COMMIT")

    def change(self):
        """An update, after which the row must land again, or a deletion."""
        number = self.random.randrange(WRITERS)
        writer = self.writers[number]
        self.begin(writer)
        name = self.random.choice(self.tables)
        which = (
            f"WHERE ctid = (SELECT ctid FROM {name} ORDER BY ver"
            f" OFFSET {self.random.randrange(20)} LIMIT 1"
            " FOR UPDATE SKIP LOCKED)"
        )
        if self.chance(0.2):
            select(writer.connection, f"DELETE FROM {name} {which}")
            self.log(f"writer {number} deletes from {name}")
            return
        ver = self.version()
        found = select(
            writer.connection, f"UPDATE {name} SET v = DEFAULT, ver = %s"
            f" {which} RETURNING id, v, tenant, pad", (ver,),
        )
        for row in found:
            v = python_value(self.kinds.get(name), row["v"])
            self.model.write(
                name, ver, row["id"], row["tenant"], row["pad"], v
            )
            writer.written.append(ver)
            self.log(f"writer {number} updates {name}: ver {ver}, v {v}")

    def end_writing(self):
        open_ = [n for n in range(WRITERS) if self.writers[n].begun]
        if open_:
            number = self.random.choice(open_)
            self.end(number, self.random.choices(
                ("COMMIT", "ROLLBACK", "PREPARE"), (70, 15, 15))[0])

    def end(self, number, how):
        writer = self.writers[number]
        written, statement = writer.written, how
        if how == "PREPARE":
            if len(self.prepared) > 5:
                return
            name = f"p{self.number}_{self.model.tick}"
            statement = f"PREPARE TRANSACTION '{name}'"
            self.prepared[name] = written
        select(writer.connection, statement)
        if how == "COMMIT":
            self.model.commit(written, self.kinds)
        elif how == "ROLLBACK":
            self.model.undo(written)
        writer.clear()
        self.log(f"writer {number}: {statement} of ver {written}"
                 + self._late(written))

    def _late(self, written):
        late = [
            ver for ver in written
            if self.model.versions[ver].state == "committed"
            and not self.model.versions[ver].must_land
        ]
        return f", late: {late}" if late else ""

    def end_prepared(self):
        if not self.prepared:
            return
        name = self.random.choice(sorted(self.prepared))
        written = self.prepared.pop(name)
        if self.chance(0.8):
            self.do(f"COMMIT PREPARED '{name}'")
            self.model.commit(written, self.kinds)
            self.log(f"COMMIT PREPARED '{name}'" + self._late(written))
        else:
            self.do(f"ROLLBACK PREPARED '{name}'")
            self.model.undo(written)
            self.log(f"ROLLBACK PREPARED '{name}'")

    # Exports

    def idle(self):
        return [
            reader for reader in self.readers if reader.call is None
        ]

    def see(self):
        """Begins a transaction whose snapshot grows old."""
        found = [reader for reader in self.idle() if not reader.begun]
        if not found:
            return
        reader = self.random.choice(found)
        isolation = self.random.choice(
            ("REPEATABLE READ", "REPEATABLE READ", "READ COMMITTED")
        )
        try:
            select(reader.get(), f"BEGIN ISOLATION LEVEL {isolation};"
                   "SELECT count(*) FROM pg_class")
        except psycopg2.Error:  # the session was terminated
            reader.close()
            return
        reader.begun = isolation
        reader.since = self.model.tick
        reader.definitions = dict(self.model.definitions)
        self.log(f"{self.of(reader)} begins, {reader.begun}")

    def of(self, reader):
        return (f"session {self.readers.index(reader)}"
                f" ({self.world.names[reader.user]})")

    def end_reading(self):
        found = [reader for reader in self.idle() if reader.begun]
        if found:
            self.end_transaction(
                self.random.choice(found),
                "COMMIT" if self.chance(0.7) else "ROLLBACK",
            )

    def end_transaction(self, reader, how):
        self.log(f"{self.of(reader)}: {how}")
        try:
            select(reader.connection, how)
            if how == "COMMIT":
                for call, row in reader.landed:
                    self.note_success(call, row)
            reader.begun, reader.landed = None, []
        except psycopg2.Error as error:
            self.log(f"-- {error}")
            reader.close()

    def options(self, all_):
        options = {}
        if self.chance(0.6):
            options["format"] = self.random.choice(("csv", "text", "jsonl"))
        if self.chance(0.5):
            options["compression"] = self.random.choice(
                ("none", "gzip", "zstd", "lz4")
            )
        if self.chance(0.3):
            options["key"] = self.random.choice(KEYS)
        elif self.chance(0.3) and "keys" not in self.without:
            options["key"] = self.random.choice(BAD_KEYS)
        if self.chance(0.35) and "manifests" not in self.without:
            options["manifest"] = True
        if all_ and self.chance(0.25) and "together" not in self.without:
            options["publish"] = "together"
        if self.chance(0.1):
            options["empty"] = "write"
        if self.chance(0.1):
            options["checksum"] = self.random.choice(("sha256", "crc32"))
        return options

    def run_id(self, role):
        known = self.run_ids[role]
        if known and self.chance(0.12) and "again" not in self.without:
            run_id = self.random.choice(known[-6:])
            self.repeated.add(run_id)
            return run_id
        bits = self.random.getrandbits(128)
        run_id = str(uuid.UUID(int=bits, version=4))
        known.append(run_id)
        return run_id

    def land(self):
        found = self.idle()
        if not found:
            self.join()
            return
        reader = self.random.choice(found)
        form = self.random.choices(
            ("table", "all", "all_by_row", "some_rows"), (40, 45, 10, 5)
        )[0]
        name = self.random.choice(self.tables)
        if form == "table":
            statement = (
                "SELECT * FROM onboard_table(%s, NULL, NULL, %s, %s)"
            )
        elif form == "all":
            statement = "SELECT * FROM onboard_all(%s, %s, %s)"
        else:
            statement = "SELECT (onboard_all(%s, %s, %s)).*"
            statement += " LIMIT 1" if form == "some_rows" else ""
        pattern = name if form == "table" or self.chance(0.3) else None
        call = self.issue(reader, statement, pattern, form != "table")
        if call.rule is None and self.chance(0.7):
            self.finish(call)

    def submit(self):
        found = [reader for reader in self.idle() if not reader.begun]
        if not found:
            return
        reader = self.random.choice(found)
        if self.chance(0.5):
            name = self.random.choice(self.tables)
            statement = "SELECT onboard_submit(%s, NULL, NULL, %s, %s)"
        else:
            name = None
            statement = "SELECT onboard_submit_all(%s, %s, %s)"
        self.issue(reader, statement, name, name is None, job=True)

    def issue(self, reader, statement, pattern, all_, job=False):
        run_id = self.run_id(reader.user)
        options = self.options(all_)
        workers = self.random.choice((0, 0, 2, 4))
        try:
            select(reader.get(), f"SET onboard.parallel_tables = {workers}")
        except psycopg2.Error:  # the session was terminated
            reader.close()
            select(reader.get(), f"SET onboard.parallel_tables = {workers}")
        del reader.connection.notices[:]
        call = Call(
            reader, statement, (pattern, json.dumps(options), run_id), run_id,
            [pattern] if pattern else list(self.tables), options,
        )
        call.job = job
        # A run whose id was used before may report objects that have landed
        # earlier.
        call.sure = not self.calls[run_id] and "LIMIT" not in statement
        if reader.begun == "REPEATABLE READ":
            call.since, call.definitions = reader.since, reader.definitions
        else:
            call.since = self.model.tick
            call.definitions = dict(self.model.definitions)
        if not job and self.chance(0.45) and "faults" not in self.without:
            self.break_something(call)
        self.log(
            f"{self.of(reader)}, {workers} workers: {statement}"
            f" {call.arguments}" + (f", {call.fault}" if call.rule else "")
        )
        self.calls[run_id].append(call)
        self.active.append(call)
        reader.call = call
        call.start()
        self.counts["runs"] += 1
        if call.rule and call.holds:
            # Later steps rely on the request being held.
            process.wait_until(
                lambda: call.done.is_set() or self.reached(call),
                LONGEST, f"a request is held, or {statement} ends",
                interval=0.005,
            )
        return call

    FAULTS = {
        "put held": ("PUT", dict(hold=True, when="request")),
        "put's response held": ("PUT", dict(hold=True)),
        "complete held": ("POST", dict(hold=True, when="request")),
        "complete's response held": ("POST", dict(hold=True)),
        "unavailable": (None, dict(
            response=s3_error(503, "ServiceUnavailable"))),
        "lost before": (None, dict(drop="before")),
        "lost within": ("PUT", dict(drop="during")),
        "lost after": (None, dict(drop="after")),
        "done, but 500": (None, dict(instead=s3_error(500, "InternalError"))),
        "denied": ("PUT", dict(response=s3_error(403, "AccessDenied"))),
    }

    def break_something(self, call):
        fault = self.random.choices(
            list(self.FAULTS), (10, 6, 8, 8, 4, 3, 2, 5, 4, 2)
        )[0]
        method, action = self.FAULTS[fault]
        together = call.shared.get("publish") == "together"
        if method == "POST" and not together and not self.large:
            method = "PUT"  # these objects are small
        # The pattern matches the requests of this run: those with its id, or
        # without any.
        key = call.shared.get("key")
        pattern = call.run_id if key not in BAD_KEYS else (
            f"^(?!.*{UUID})|{call.run_id}"
        )
        if method == "POST":
            pattern = f"({pattern}).*uploadId="
        elif call.shared.get("manifest") and self.chance(0.5):
            pattern = call.run_id + self.random.choice(
                ("/manifest", "/_SUCCESS")
            )
        nth = self.random.choice((1, 1, 2))
        times = 1 if action.get("hold") else self.random.choice((1, 2))
        call.rule = self.world.proxy.rule(
            method, pattern, nth=nth, times=times, **action
        )
        call.fault = f"fault {fault!r} {method} {pattern!r} nth {nth}"
        call.holds = bool(action.get("hold"))

    def reached(self, call):
        return call.rule is not None and call.rule.reached()

    def join(self):
        if self.active:
            self.finish(self.random.choice(self.active))

    def release(self):
        found = [call for call in self.active if self.reached(call)]
        if found:
            call = self.random.choice(found)
            self.log(f"{self.of(call.reader)} is released")
            call.rule.release()

    def let_go(self):
        for call in self.active:
            if call.rule:
                call.rule.release()

    def finish(self, call):
        if call.rule:
            call.rule.release()
        if not call.done.wait(3):
            # It waits for a request of another call.
            self.let_go()
            if not call.done.wait(LONGEST):
                raise Hangs(f"{call.statement} {call.arguments} hangs")
        self.active.remove(call)
        reader = call.reader
        if reader.call is call:
            reader.call = None
        self.log(f"{self.of(reader)} has ended: {call}")
        if call.connection.closed:
            if reader.connection is call.connection:
                reader.close()
        if call.job:
            if call.error is None:
                self.jobs.append(call)
            return
        self.model.has_ended(
            self.world.oids[reader.user], call.run_id, call.names, call.since,
            call.definitions,
        )
        if call.connection.closed:
            return
        if call.error is not None:
            if reader.begun:
                self.end_transaction(reader, "ROLLBACK")
            if len(call.names) == 1:
                self.follow_hint(call, call.names[0], call.messages)
        else:
            for row in call.rows:
                self.note_object(call, row)
                if row["status"] == "failed":
                    self.follow_hint(call, row["name"], row["error"])
                if reader.begun:
                    reader.landed.append((call, row))
                else:
                    self.note_success(call, row)

    def follow_hint(self, call, name, error):
        """Resets the watermark, as the error's hint advises the user, if the
        table's increments have another definition now."""
        if "since its last increment" in error and self.chance(0.7):
            self.reset_as(call.reader.user, name)

    def note_object(self, call, row):
        if row["status"] == "done":
            self.model.reported.append(
                (row["uri"], row["rows"], row["bytes"], row["name"],
                 str(row["run_id"]))
            )

    def note_success(self, call, row):
        """Records a successful run whose watermark stays: only a watermark that
        could not be written, which a WARNING reports, does not count."""
        oid = self.world.oids[call.reader.user]
        if call.sure and row["status"] in ("done", "empty") and self.do(
            "SELECT 1 FROM onboard_history WHERE run_id = %s AND name = %s"
            " AND role_id = %s AND status = %s",
            (row["run_id"], row["name"], oid, row["status"]),
        ):
            self.model.ended_well(
                oid, row["name"], call.since, call.definitions[row["name"]]
            )

    def settle(self):
        """Waits until no run is running any more, nor any of its requests."""
        self.let_go()
        for call in list(self.active):
            self.finish(call)

        def gone():
            return not self.do(
                "SELECT pid FROM pg_stat_activity"
                " WHERE backend_type LIKE 'onboard%%'"
            )

        process.wait_until(gone, LONGEST, "jobs end", interval=0.02)
        self.world.proxy_is_quiet()
        for call in self.jobs:
            self.model.has_ended(
                self.world.oids[call.reader.user], call.run_id, call.names,
                call.since, call.definitions,
            )
            found = self.do(
                "SELECT run_id, name, status, rows, bytes, uri"
                " FROM onboard_history WHERE run_id = %s AND role_id = %s"
                " AND name <> ''",
                (call.run_id, self.world.oids[call.reader.user]),
            )
            for row in found if call.run_id not in self.repeated else []:
                self.note_object(call, row)
                self.note_success(call, row)
        self.jobs = []

    # Faults

    def cancel(self):
        """Cancels the session, or any process that works for it, preferably
        while an object is being completed."""
        if not self.active:
            return
        held = [call for call in self.active if self.reached(call)]
        call = self.random.choice(held or self.active)
        how = self.random.choice(("cancel", "release and cancel", "worker"))
        if how == "release and cancel" and call.rule:
            call.rule.release()
            time.sleep(self.random.choice((0, 0.001, 0.003, 0.01)))
        self.log(f"{self.of(call.reader)}: {how}")
        self.signal("pg_cancel_backend", call, how == "worker")
        if self.chance(0.5):
            self.finish(call)

    def terminate(self):
        if not self.active:
            return
        call = self.random.choice(self.active)
        worker = self.chance(0.5)
        self.log(f"{self.of(call.reader)} is terminated"
                 + (", or a worker" if worker else ""))
        self.signal("pg_terminate_backend", call, worker)
        if self.chance(0.5):
            self.finish(call)

    def signal(self, function, call, worker):
        pid = (self.worker() if worker else None) or call.pid
        self.do(f"SELECT {function}(%s)", (pid,))

    def worker(self):
        found = self.do(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type LIKE 'onboard%%' ORDER BY pid"
        )
        return self.random.choice(found)["pid"] if found else None

    def kill(self):
        victims = [call.pid for call in self.active if not call.done.is_set()]
        victims += [
            writer.connection.info.backend_pid
            for writer in self.writers if writer.begun
        ]
        worker = self.worker()
        pid = worker or (self.random.choice(victims) if victims else None)
        if pid is None:
            return
        self.log(f"process {pid} is killed")
        watch = self.world.cluster.connect("onboard")
        try:
            process.kill(pid)
        except ProcessLookupError:
            watch.close()
            return

        since = time.monotonic()

        def noticed():
            try:
                select(watch, "SELECT 1")
            except psycopg2.Error:
                return "crashed"
            # A worker may have been about to exit.
            late = time.monotonic() > since + 15
            return "missed" if late else None

        found = process.wait_until(noticed, LONGEST, "the server restarts")
        watch.close()
        if found == "crashed":
            self.crashed()

    def restart(self):
        self.log("the server is restarted at once")
        self.world.cluster.restart(mode="immediate")
        self.crashed()

    def crashed(self):
        """Everything that was open is gone."""
        model, world = self.model, self.world
        model.crashes += 1
        self.counts["crashes"] += 1
        self.let_go()
        self.admin.close()
        process.wait_until(world.is_up, LONGEST, "the server is up")
        for call in [*self.active, *self.jobs]:
            model.interrupted.add(call.run_id)
        for call in list(self.active):
            self.finish(call)
        for session in [*self.writers, *self.readers, self.admin]:
            model.undo(session.written)
            session.close()

    # Changes of the increments' definition

    def requery(self):
        if "query" in self.without:
            return
        name = self.random.choice(self.tables)
        query = self.random.randrange(len(QUERIES))
        text = QUERIES[query].format(name=name)
        self.log(f"the query of {name} becomes {text}")
        if self.attempt("UPDATE onboard_tables SET query = %s WHERE name = %s",
                        (text, name)):
            self.model.define(name, query=query)

    def alter_server(self):
        """Changes the destination, even while runs are running."""
        world = self.world
        if self.chance(0.5):
            name = self.random.choice(self.tables)
            server = self.random.choice(("s3", "other"))
            self.log(f"{name} goes to server {server}")
            options = json.dumps({"server": server})
            if self.attempt("UPDATE onboard_tables SET options = options || %s"
                            " WHERE name = %s", (options, name)):
                self.model.define(name, server=server)
            return
        state = {
            "bucket": self.random.choice(world.buckets),
            "prefix": self.random.choice(("", "p/")),
        }
        self.log(f"server s3 gets {state}")
        if self.attempt(
            f"ALTER SERVER s3 OPTIONS (SET bucket '{state['bucket']}',"
            f" SET prefix '{state['prefix']}')"
        ):
            self.state = state
            for name in self.tables:
                self.model.define(name, **state)

    def alter_policy(self):
        name = self.random.choice(self.tables)
        policy = self.random.randrange(len(POLICIES))
        self.log(f"{self.world.names[2]} sees of {name}: {POLICIES[policy]}")
        if policy:
            self.model.widened.add(name)
        if self.attempt(
            f"ALTER POLICY b ON {name} USING ({POLICIES[policy]})"
        ):
            self.model.define(name, policy=policy)

    def recreate(self):
        """Deletes the registered row, and with it its watermarks, and registers
        the table again."""
        name = self.random.choice(list(self.kinds))
        query = self.random.randrange(len(QUERIES))
        self.log(f"{name} is registered again: {QUERIES[query]}")
        when = value(self.admin.get(), "SELECT clock_timestamp()")
        if not self.attempt("DELETE FROM onboard_tables WHERE name = %s",
                            (name,)):
            return
        for role in range(len(ROLES)):
            self.forget(role, name, when)
        self.register(name, query)

    def reset(self):
        name = self.random.choice(list(self.kinds))
        self.reset_as(self.random.randrange(len(ROLES)), name)

    def reset_as(self, role, name):
        when = value(self.admin.get(), "SELECT clock_timestamp()")
        for one in self.call_reset(role, name, ""):
            self.forget(one, name, when)

    def call_reset(self, role, name, keep):
        """Resets watermarks; returns the roles whose watermarks were reset: a
        superuser is a member of all roles."""
        self.log(f"{self.world.names[role]} resets {name}{keep}")
        session = self.world.cluster.connect(
            "onboard", user=self.world.names[role]
        )
        try:
            select(session, ADMIN_SETTINGS)
            reached = value(
                session, f"SELECT onboard_reset_watermark(%s{keep})", (name,)
            )
            self.log(f"-- {reached} watermarks")
        except LOCKED:
            return []
        finally:
            session.close()
        return range(len(ROLES)) if role == 0 else [role]

    def keep(self):
        """Keeps the watermark in spite of all changes."""
        name = self.random.choice(list(self.kinds))
        role = self.random.randrange(len(ROLES))
        for one in self.call_reset(role, name, ", keep => true"):
            # A running call may leave a watermark from before or after the
            # reset.
            key = self.world.oids[one], name
            self.model.changed[name] = self.model.tick
            self.model.kept.add(key)
            self.model.blurs(*key)

    def forget(self, role, name, when):
        key = self.world.oids[role], name
        self.model.sure.pop(key, None)
        self.model.kept.discard(key)
        self.model.blurred.discard(key)
        self.model.forgotten[key] = when
        self.model.unclear[key] = {
            call.run_id for call in [*self.active, *self.jobs]
            if call.reader.user == role and name in call.names
            and not self.is_beyond(call)
        }
        # A first increment that has landed in a transaction that is still open
        # leaves its watermark when that commits.
        self.model.unclear[key] |= {
            str(row["run_id"]) for reader in self.readers
            if reader.user == role
            for _, row in reader.landed if row["name"] == name
        }

    def is_beyond(self, call):
        """Whether the call has certainly read the watermark where its increment
        begins."""
        return (
            self.reached(call) and len(call.names) == 1
            and call.run_id not in self.repeated
        )

    def rename(self):
        """Swaps the names of two roles."""
        world = self.world
        a, b = world.names[1], world.names[2]
        self.log(f"{a} and {b} change their names")
        if self.attempt(
            f"BEGIN; ALTER ROLE {a} RENAME TO inc_x; ALTER ROLE {b} RENAME TO"
            f" {a}; ALTER ROLE inc_x RENAME TO {b}; COMMIT"
        ):
            world.names[1], world.names[2] = b, a
        else:
            self.do("ROLLBACK")

    # The end

    def end_all(self):
        """Ends every transaction; then every role exports every table, without
        any fault."""
        self.settle()
        for number, writer in enumerate(self.writers):
            if writer.begun:
                self.end(number, "COMMIT")
        while self.prepared:
            self.end_prepared()
        for reader in self.readers:
            if reader.begun:
                self.end_transaction(reader, "COMMIT")
            reader.close()
        self.refused = {}
        for role in range(len(ROLES)):
            self.land_the_rest(role)

    def land_the_rest(self, role):
        reader = Session(self.world, role, READER_SETTINGS)
        for name in self.tables:
            if self.model.blurs(self.world.oids[role], name):
                self.reset_as(role, name)
            for attempt in range(2):
                reader.get()
                call = Call(
                    reader, "SELECT * FROM onboard_table(%s, NULL, NULL, %s)",
                    (name, json.dumps({"key": KEYS[0]})), None, [name], {},
                )
                call.sure = True
                self.model.tick += 1
                call.since = self.model.tick
                call.definitions = dict(self.model.definitions)
                call.run()
                self.log(f"{self.world.names[role]} lands {name}: {call}")
                if call.error is None:
                    (row,) = call.rows
                    self.model.has_ended(
                        self.world.oids[role], str(row["run_id"]), [name],
                        call.since, call.definitions,
                    )
                    self.note_success(call, row)
                    self.refused.pop((role, name), None)
                    break
                self.refused[role, name] = call.error
                if "onboard_reset_watermark" not in call.messages + str(
                    call.error.diag.message_hint
                ):
                    break
                self.reset_as(role, name)
        reader.close()

    def close(self):
        """Closes the session in any state."""
        self.let_go()
        for session in [*self.writers, *self.readers]:
            session.close()
        for call in self.active:
            call.done.wait(LONGEST)
        for name in self.prepared:
            self.do(f"ROLLBACK PREPARED '{name}'")
        self.do("SET lock_timeout = 0; DELETE FROM onboard_tables;"
                "DELETE FROM onboard_history")
        for name in self.tables:
            self.do(f"DROP TABLE {name}; DROP SEQUENCE {name}_q")
        self.admin.close()


class Hangs(Exception):
    """A statement took longer than any may."""


def python_value(kind, found):
    """A value of v as a Python value that compares as in PostgreSQL."""
    if kind and kind.name == "xids" and found is not None:
        return int(found)
    return found
