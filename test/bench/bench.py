#!/usr/bin/python3
"""The time of exports, compared with COPY TO '/dev/null' and other ways to S3.

Starts a private PostgreSQL and a server that discards its input (for one group:
Ceph RGW), fills tables, and runs all contestants of a group in turns.  See
test/bench/README.md.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

import datasets  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import stores  # noqa: E402
from lib import process  # noqa: E402
from lib.postgres import Cluster  # noqa: E402
from measure import Wrong  # noqa: E402
from peers import copy, onboard  # noqa: E402

SETTINGS = {
    "shared_buffers": "2GB",
    "jit": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1d",
    "max_worker_processes": "8",
    "max_parallel_workers_per_gather": "2",
}


class Group(typing.NamedTuple):
    """Contestants that run in turns, on tables that all fit in memory.

    contestants: a function of the bench and the store.
    """

    name: str
    title: str
    tables: tuple
    contestants: typing.Callable
    rounds: int
    store: typing.Callable = None  # replaces the discarding server


def main_variants(bench, store):
    for parallel in bench.parallel:
        yield onboard("csv", "none", parallel)
        yield onboard("csv", "gzip", parallel)
        yield onboard("csv", "zstd", parallel)
        yield onboard("text", "none", parallel)


def quick(bench, store):
    yield copy("csv")
    yield from main_variants(bench, store)


def targets(bench, store):
    yield from quick(bench, store)
    yield copy("row_to_json")
    for parallel in bench.parallel:
        yield onboard("jsonl", "none", parallel)


def formats(bench, store):
    for form in peers.COPY:
        yield copy(form)
    for form in ("csv", "text", "binary", "jsonl"):
        for compression in ("none", "gzip", "zstd", "lz4"):
            for parallel in bench.parallel:
                yield onboard(form, compression, parallel)


def others(bench, store):
    ways = peers.Peers(bench.cluster, store)
    yield copy("csv")
    for parallel in bench.parallel:
        for compression in ("none", "gzip", "zstd"):
            yield onboard("csv", compression, parallel)
    yield ways.psql()
    yield ways.psql("gzip -1")
    yield ways.psql("zstd -1")
    yield ways.program()
    yield ways.plpython()


def real_server(bench, store):
    ways = peers.Peers(bench.cluster, store)
    yield copy("csv")
    for parallel in bench.parallel:
        for compression in ("none", "zstd"):
            yield onboard("csv", compression, parallel, store=store.name)
    yield ways.finished_file()
    yield ways.psql()


def parquet(bench, store):
    yield copy("csv")
    for parallel in bench.parallel:
        for compression, encodings in (
            ("none", "compatible"), ("snappy", "compatible"),
            ("zstd", "compatible"), ("snappy", "delta"), ("zstd", "delta"),
        ):
            yield peers.parquet(compression, encodings, parallel)


def parquet_peers(bench, store):
    table = bench.tables[datasets.LINEITEM.name]
    ways = peers.Peers(bench.cluster, store)
    yield copy("csv")
    for parallel in bench.parallel:
        yield peers.parquet("zstd", parallel=parallel)
    if peers.available(peers.readers.FOLDER):
        yield ways.duckdb(table)
    if peers.available(peers.ENGINES):
        yield ways.clickhouse(table)


def parquet_sizes(bench, store):
    table = bench.tables[datasets.LINEITEM.name]
    ways = peers.Peers(bench.cluster, store)
    yield copy("csv")
    has_duckdb = peers.available(peers.readers.FOLDER)
    for compression, group_rows in report.PARQUET_SIZES:
        yield peers.parquet(compression, group_rows=group_rows)
        if has_duckdb:
            label = peers.duckdb_label(compression, group_rows)
            yield ways.duckdb(table, compression, group_rows, label)


def forty_tables(bench, store):
    yield peers.all_tables(1, store)
    yield peers.all_tables(4, store)


def sizes(bench, store):
    for table in (datasets.LINEITEM_50MB.name, datasets.LINEITEM_2GB.name):
        yield copy("csv", table)
        for parallel in bench.parallel:
            for compression in ("none", "zstd"):
                yield onboard("csv", compression, parallel, table)
            yield peers.parquet("zstd", parallel=parallel, table=table)


def in_memory(bench, store):
    table = datasets.LINEITEM_50MB.name
    yield copy("csv", table)
    yield copy("row_to_json", table)
    yield onboard("json", "none", "off", table)
    yield peers.Peers(bench.cluster, store, table).seed()


def data_set(table):
    def contestants(bench, store):
        yield copy("csv", table.name)
        for parallel in bench.parallel:
            for compression in ("none", "gzip", "zstd"):
                yield onboard("csv", compression, parallel, table.name)

    return contestants


def data_group(name, title, table):
    return Group(name, title, (table,), data_set(table), 3)


LINEITEM = (datasets.LINEITEM,)
SMALL = (datasets.LINEITEM_50MB,)

QUICK = Group("quick", "Landing lineitem", LINEITEM, quick, 5)

# The order matters: groups on one table follow each other.
FULL = (
    Group("targets", "Landing lineitem", LINEITEM, targets, 7),
    Group("parquet", "Landing lineitem as Parquet", LINEITEM, parquet, 5),
    Group(
        "parquet-peers", "Other ways to Parquet in S3", LINEITEM,
        parquet_peers, 3,
    ),
    Group(
        "parquet-sizes", "The size of Parquet files", LINEITEM,
        parquet_sizes, 1,
    ),
    Group("formats", "Formats and compression", LINEITEM, formats, 3),
    Group("peers", "Other ways to S3", LINEITEM, others, 3),
    Group(
        "rgw", "A real server: Ceph RGW", LINEITEM, real_server, 3,
        stores.RealServer,
    ),
    Group(
        "forty", "Forty small tables, a far store",
        (datasets.FORTY,), forty_tables, 3, stores.Far,
    ),
    Group(
        "seed", "The whole table in memory, as JSON: 50 MB", SMALL, in_memory, 3
    ),
    Group(
        "sizes", "50 MB and 2 GB", SMALL + (datasets.LINEITEM_2GB,), sizes, 5
    ),
    data_group("integers", "Integers", datasets.INTEGERS),
    data_group("text", "Wide text", datasets.WIDE_TEXT),
    data_group("jsonb", "jsonb", datasets.JSONB),
    data_group("numeric", "Numeric", datasets.NUMERIC),
    data_group("bytea", "Toasted bytea", datasets.BYTEA),
)


class ByteCounter:
    """A file that only counts bytes."""

    def __init__(self):
        self.bytes = 0

    def write(self, data):
        self.bytes += len(data)


class Bench:
    def __init__(self, cluster, discard, options):
        self.cluster = cluster
        with open(os.path.join(cluster.datadir, "postmaster.pid")) as pid:
            self.postmaster = int(pid.readline())
        self.discard = discard
        self.program = options.server
        self.parallel = options.parallel
        self.scale = options.rows / datasets.LINEITEM.rows
        self.rounds = options.rounds
        self.tables = {}  # name: (Table, its description in the report)
        self.lengths = {}

    def session(self):
        return measure.session(self.cluster, self.postmaster)

    def execute(self, statement, parameters=None):
        """Runs a statement; returns its rows, if there are any."""
        with self.session() as connection:
            cursor = connection.cursor()
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def install(self):
        extensions = ("onboard", "plpython3u", *datasets.EXTENSIONS)
        for extension in extensions:
            self.execute(f"CREATE EXTENSION {extension}")
        self.execute(peers.SPOOL_AND_UPLOAD)
        self.add_server(self.discard)

    def add_server(self, store):
        self.execute(
            f"CREATE SERVER {store.name} FOREIGN DATA WRAPPER onboard"
            " OPTIONS (endpoint %s, region 'us-east-1')",
            (store.endpoint,),
        )
        self.execute(
            f"CREATE USER MAPPING FOR CURRENT_USER SERVER {store.name}"
            " OPTIONS (access_key_id %s, secret_access_key %s)",
            (store.access_key, store.secret_key),
        )

    def upload_memory(self):
        rows = self.execute(
            "LOAD 'onboard'; SELECT setting::bigint * 1024 FROM pg_settings"
            " WHERE name = 'onboard.upload_memory'"
        )
        return rows[0][0]

    # Tables

    def prepare(self, wanted):
        """Makes these tables exist, no others, and loads all of them into
        memory."""
        names = [table.name for table in wanted]
        with self.session() as connection:
            cursor = connection.cursor()
            for name in [name for name in self.tables if name not in names]:
                cursor.execute(f"DROP TABLE {name}")
                del self.tables[name]
            for table in wanted:
                if table.name not in self.tables:
                    scaled = table.scaled(self.scale)
                    log(f"filling {table.name}")
                    datasets.create(cursor, scaled)
                    self.tables[table.name] = scaled
            # The largest comes first: it would displace the others.
            for table in reversed(wanted):
                datasets.warm(cursor, table)
            cursor.execute("CHECKPOINT")
            return [self.describe(cursor, self.tables[n]) for n in names]

    def describe(self, cursor, table):
        total, cached = datasets.size(cursor, table)
        return {
            "name": table.name,
            "title": table.title,
            "rows": table.rows * table.copies,
            "bytes": total,
            "cached": cached,
            "csv": self.length(peers.COPY["csv"].format(table=table.name)),
        }

    def length(self, statement):
        """The number of bytes of a COPY."""
        if statement not in self.lengths:
            counter = ByteCounter()
            with self.session() as connection:
                connection.cursor().copy_expert(
                    statement.format("STDOUT"), counter
                )
            self.lengths[statement] = counter.bytes
        return self.lengths[statement]

    # Runs

    def run_group(self, group):
        log(f"group {group.name}")
        tables = self.prepare(group.tables)
        store = self.discard
        if group.store:
            store = group.store(self.program)
            self.add_server(store)
        try:
            contestants = list(group.contestants(self, store))
            runs = self.run_rounds(
                store, contestants, self.rounds or group.rounds
            )
            store.clear()
            faults = store.faults()
        finally:
            if group.store:
                store.stop()
        if faults:
            raise Wrong(faults)
        return {
            "name": group.name,
            "title": group.title,
            "store": store.name,
            "rounds": self.rounds or group.rounds,
            "tables": tables,
            "contestants": [
                {
                    "label": contestant.label,
                    "baseline": contestant.baseline,
                    "runs": [run._asdict() for run in runs[contestant.label]],
                }
                for contestant in contestants
            ],
        }

    def run_rounds(self, store, contestants, count):
        """A list of runs for each label, taken in turns."""
        for contestant in contestants:
            if contestant.prepare:
                self.execute(contestant.prepare)
            if contestant.copy:
                self.length(contestant.copy)
        runs = {contestant.label: [] for contestant in contestants}
        for number in range(count):
            # Every second round is reversed, so that no contestant always goes
            # first.
            for contestant in contestants[:: -1 if number % 2 else 1]:
                run = self.run(store, contestant)
                runs[contestant.label].append(run)
                log(
                    f"round {number + 1}: {contestant.label}"
                    f" {run.wall:.3f} s"
                )
        return runs

    def run(self, store, contestant):
        row = None
        if contestant.sql:
            run, row = measure.run_statement(
                self.cluster, self.postmaster, store, contestant
            )
        else:
            run = measure.run_command(self.postmaster, store, contestant)
        if contestant.lands:
            self.check(contestant, run, row)
        return run

    def check(self, contestant, run, row):
        """A fast export of anything but the table does not count."""
        table = self.tables[contestant.table]
        if row:
            expected = {"rows": table.rows * table.copies}
            if "bytes" in row:
                expected["bytes"] = run.landed
            found = {name: row[name] for name in expected}
            if found != expected:
                raise Wrong(f"{contestant.label}: {found}, not {expected}")
        if not run.landed:
            raise Wrong(f"{contestant.label}: nothing landed")
        length = self.lengths.get(contestant.copy, run.landed)
        if length != run.landed:
            raise Wrong(
                f"{contestant.label}: {run.landed} bytes landed, but COPY"
                f" makes {length}"
            )


def log(text):
    print(text, file=sys.stderr, flush=True)


def cpu_model():
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_size():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def version(*command):
    """The first line of a program's version."""
    try:
        return process.run(list(command), cwd=ROOT).strip().splitlines()[0]
    except (process.RigError, OSError, IndexError):
        return "unknown"


def libraries():
    names = ("libcurl", "libcrypto", "libisal", "zlib", "libzstd", "liblz4",
             "snappy")
    versions = (version("pkg-config", "--modversion", name) for name in names)
    return ", ".join(f"{n} {v}" for n, v in zip(names, versions))


def head(bench):
    """The relevant facts about the machine, as lines of Markdown."""
    revision = version(
        "git", "--no-optional-locks", "describe", "--always", "--dirty"
    )
    onboard_version = bench.execute(
        "SELECT extversion FROM pg_extension WHERE extname = 'onboard'"
    )[0][0]
    server_version = bench.execute("SHOW server_version")[0][0]
    settings = ", ".join(f"{k} {v}" for k, v in SETTINGS.items())
    python = ", ".join(
        f"{name} {version(sys.executable, '-c', code)}"
        for name, code in (
            ("boto3", "import boto3; print(boto3.__version__)"),
            ("SQLAlchemy", "import sqlalchemy as s; print(s.__version__)"),
        )
    )
    return [
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, load"
        f" {os.getloadavg()[0]:.2f} before it began",
        f"{cpu_model()}, {os.cpu_count()} cores,"
        f" {memory_size() / 1024**3:.0f} GiB of memory",
        f"{platform.system()} {platform.release()}",
        f"onboard {onboard_version} ({revision}); {libraries()}",
        f"PostgreSQL {server_version}: {settings}",
        f"Others: {version(peers.aws_program(), '--version').split()[0]},"
        f" Python {platform.python_version()}, {python},"
        f" {version('gzip', '--version')},"
        f" {version('zstd', '--version').strip('* ')}",
    ]


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [group.name for group in FULL]
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--quick", action="store_true", help="csv and text only (the default)"
    )
    which.add_argument(
        "--full", action="store_true", help="all groups, about half an hour"
    )
    which.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME",
        help="these groups: " + " ".join(names),
    )
    which.add_argument(
        "--redraw", action="store_true",
        help="no runs: a report of the results that are there",
    )
    parser.add_argument(
        "--rounds", type=positive, help="how often each is run"
    )
    parser.add_argument(
        "--rows", type=positive, default=datasets.LINEITEM.rows,
        help="of lineitem; the other tables shrink or grow likewise",
    )
    parser.add_argument(
        "--parallel", default="off,1", metavar="LIST",
        type=lambda text: text.split(","),
        help='values of the option "parallel" (default: off,1)',
    )
    parser.add_argument(
        "--max-ratio", type=float,
        help="fail when onboard csv takes more times as long as COPY csv",
    )
    parser.add_argument(
        "--report", metavar="FILE",
        help="write the report there, with charts beside it",
    )
    folder = os.path.join(ROOT, "build", "bench")
    parser.add_argument(
        "--results", default=os.path.join(folder, "results.json"),
        help="where the figures of all runs are kept",
    )
    parser.add_argument(
        "--server", default=os.path.join(folder, "discard"),
        help="the program made of discard.c",
    )
    return parser.parse_args()


def groups(options):
    if options.only:
        return [group for group in FULL if group.name in options.only]
    return FULL if options.full else [QUICK]


def save(options, results):
    os.makedirs(os.path.dirname(options.results) or ".", exist_ok=True)
    with open(options.results, "w") as file:
        json.dump(results, file, indent=1)


def measure_all(options):
    discard = stores.Discard(options.server)
    # ClickHouse knows no Unix sockets.
    (port,) = process.free_ports(1)
    network = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with Cluster({**SETTINGS, **network}) as cluster:
        bench = Bench(cluster, discard, options)
        bench.install()
        results = {
            "head": head(bench),
            "cores": os.cpu_count(),
            "upload_memory": bench.upload_memory(),
            "groups": [],
        }
        for group in groups(options):
            results["groups"].append(bench.run_group(group))
            save(options, results)
    discard.stop()
    return results


def main():
    options = arguments()
    if options.redraw:
        with open(options.results) as file:
            results = json.load(file)
    else:
        try:
            results = measure_all(options)
        except Wrong as wrong:
            return f"wrong: {wrong}"
    if options.report:
        report.write(results, options.report)
    else:
        print("\n".join(report.tables(results)))
    worst = report.ratio(results, "onboard csv", "COPY csv")
    if options.max_ratio and worst and worst > options.max_ratio:
        return f"too slow: ratio {worst:.2f}, allowed {options.max_ratio}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
