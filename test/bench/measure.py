"""One run of one contestant: its time, its CPU, its memory, its object."""

import contextlib
import os
import subprocess
import time
import typing

from lib import process


class Wrong(Exception):
    """The measured run did not do what it should."""


class Contestant(typing.NamedTuple):
    """A measured statement, in a session of its own, or a command."""

    label: str
    table: str
    baseline: str = ""  # the contestant by whose time this one's is divided
    sql: str = ""
    shell: str = ""
    env: dict = {}  # of the command
    lands: bool = True  # whether an object lands in S3
    copy: str = ""  # the COPY whose bytes must land; "": any, but at least one
    prepare: str = ""  # a statement that is run once before


class Run(typing.NamedTuple):
    """Seconds and bytes.

    memory is the greatest of any process that worked for the contestant,
    without the shared buffers.
    """

    wall: float
    cpu: float
    server_cpu: float
    memory: int
    workers: int
    landed: int
    parts: int
    others_cpu: float


def cpu_seconds(pid, own=True, children=False):
    """User and system time of a process, of its ended children, or both."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    ticks = 0
    if own:
        ticks += int(fields[11]) + int(fields[12])
    if children:
        ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")


def machine_seconds():
    """CPU time of the whole machine: busy, and stolen by its host."""
    with open("/proc/stat") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    busy = user + nice + system + irq + softirq + steal
    return busy / os.sysconf("SC_CLK_TCK")


def children(pid):
    """The children of all threads of a process."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as pids:
            found.update(map(int, pids.read().split()))
    return found


def anonymous_memory(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0  # the process has ended


def _wait(check):
    process.wait_until(check, 10, "PostgreSQL's processes end", 0.005)


class Watch(process.Background):
    """Samples the memory of the working processes while the block runs.

    These are the roots, the processes that a command starts (add them), and
    those that the postmaster starts meanwhile: backends of the command, and
    parallel workers, which are counted.
    """

    INTERVAL = 0.02

    def __init__(self, postmaster, roots=()):
        super().__init__()
        self.postmaster = postmaster
        self.roots = set(roots)
        self.old = children(postmaster)
        self.workers = set()
        self.memory = 0

    def add(self, pid):
        self.roots = self.roots | {pid}

    def _run(self):
        while not self._stop.wait(self.INTERVAL):
            self._sample()

    def _sample(self):
        new = children(self.postmaster) - self.old
        self.workers |= new
        pids = list(self.roots | new)
        while pids:
            pid = pids.pop()
            try:
                self.memory = max(self.memory, anonymous_memory(pid))
                pids.extend(children(pid))
            except OSError:
                pass  # the process has ended

    def settle(self):
        """Waits until processes that the postmaster started meanwhile have
        ended.

        Only then is their CPU time included in that of its ended children.
        """
        _wait(lambda: children(self.postmaster) <= self.old)


class Stopwatch:
    """Wall and CPU time from its creation to stop()."""

    def __init__(self, watch, store, backend=None):
        self.watch = watch
        self.store = store
        self.backend = backend
        self.first = self._cpu()
        self.start = time.perf_counter()

    def _cpu(self):
        # Ended processes count as the postmaster's children.
        ours = cpu_seconds(self.watch.postmaster, own=False, children=True)
        if self.backend:
            ours += cpu_seconds(self.backend, children=True)
        server = sum(map(cpu_seconds, self.store.pids))
        rig = sum(os.times()[:2])
        return ours, server, rig, machine_seconds()

    def stop(self):
        self.wall = time.perf_counter() - self.start

    def run(self, client_cpu, landed):
        """Makes the Run, after the measured processes have settled."""
        last = self._cpu()
        ours, server, rig, machine = (b - a for a, b in zip(self.first, last))
        ours += client_cpu
        total, parts = landed
        return Run(
            self.wall, ours, server, self.watch.memory,
            len(self.watch.workers), total, parts,
            max(0, machine - ours - server - rig),
        )


@contextlib.contextmanager
def session(cluster, postmaster):
    """A connection that leaves no trace afterwards.

    The CPU time of a backend that ends later would count in the next
    measurement.
    """
    connection = cluster.connect()
    backend = connection.info.backend_pid
    try:
        yield connection
    finally:
        connection.close()
        _wait(lambda: backend not in children(postmaster))


def run_statement(cluster, postmaster, store, contestant):
    """Returns the Run, and the statement's row as a dictionary, or None."""
    with session(cluster, postmaster) as connection:
        cursor = connection.cursor()
        backend = connection.info.backend_pid
        # This maps the table's buffers into the backend: slow the first time.
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        cursor.execute(f"SELECT count(*) FROM {contestant.table}")
        cursor.execute("RESET max_parallel_workers_per_gather")
        store.clear()
        with Watch(postmaster, [backend]) as watch:
            stopwatch = Stopwatch(watch, store, backend)
            cursor.execute(contestant.sql)
            stopwatch.stop()
            watch.settle()
        run = stopwatch.run(0, store.landed())
        row = None
        if cursor.description:
            names = [column.name for column in cursor.description]
            row = dict(zip(names, cursor.fetchone()))
    return run, row


def run_command(postmaster, store, contestant):
    store.clear()
    with Watch(postmaster) as watch:
        stopwatch = Stopwatch(watch, store)
        command = subprocess.Popen(
            ["bash", "-c", "set -o pipefail; " + contestant.shell],
            env=process.clean_env(contestant.env),
            stdin=subprocess.DEVNULL,
        )
        watch.add(command.pid)
        _, status, usage = os.wait4(command.pid, 0)
        stopwatch.stop()
        command.returncode = os.waitstatus_to_exitcode(status)
        watch.settle()
    if command.returncode != 0:
        raise Wrong(f"{contestant.label} ended with {command.returncode}")
    # The backend of a command is no parallel worker.
    watch.workers.clear()
    return stopwatch.run(usage.ru_utime + usage.ru_stime, store.landed())
