"""Private PostgreSQL clusters: a temporary folder, a Unix socket, no network.

PostgreSQL refuses to run as root, so root starts it as the OS user postgres;
another user starts it under the own account.  The binaries are those of
pg_config, in whose directories the extension is installed.

    with Cluster(settings={"work_mem": "64MB"}) as cluster:
        cluster.psql("SELECT 1")
"""

import collections
import glob
import os
import pwd
import re
import shutil
import tempfile

import psycopg2

from . import process
from .process import RigError

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # only a part of the socket's name
    "fsync": "off",
    "synchronous_commit": "off",
    # Otherwise, a scan of a large table begins where an earlier one stopped, and
    # two exports of it differ in the order of their rows.
    "synchronize_seqscans": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "info",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # This is explicit because statements may contain secrets of user mappings.
    "log_statement": "none",
}


def pg_config(option):
    """A directory of the installation, e.g.  pg_config("--bindir")."""
    return process.run([os.environ.get("PG_CONFIG", "pg_config"), option])[:-1]


def faketime(offset=None, file=None):
    """Environment for a Cluster whose clock is wrong, e.g.  by "-20m".

    file: a file with the offset, which can be changed at any time.
    """
    libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not libraries:
        raise RigError("libfaketime is not installed (Debian: faketime)")
    source = {"FAKETIME": offset}
    if file:
        source = {"FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": "1"}
    return {
        **source,
        "LD_PRELOAD": libraries[0],
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # the variable's name before version 0.9.9
    }


def backend_rss(pid):
    """Bytes of resident memory of a process: {"anon", "file", "shmem"}.

    anon is its own memory; the other two are shared with others, for the most
    part with PostgreSQL's shared buffers.
    """
    found = {}
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("Rss"):
                name, value, _ = line.split()
                found[name[3:-1].lower()] = int(value) * 1024
    return found


def descriptors(pid):
    """Files and sockets that a process holds open: {"socket": 2, "/dev/null":
    1, ...}."""
    found = collections.Counter()
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        try:
            target = os.readlink(os.path.join(folder, number))
        except FileNotFoundError:
            continue  # closed in the meantime
        found[re.sub(r":\[\d+\]$", "", target)] += 1
    return found


# Lines of a server's log that show memory errors.
_CRASH = re.compile(
    "AddressSanitizer|runtime error:|TRAP:|PANIC"
    r"|\(PID (\d+)\) was terminated by signal (\d+)"
)


def crashes(log):
    """The lines of a server's log that no test may cause.

    A process may die of a signal only if process.kill() sent it.
    """
    found = []
    for line in log.splitlines():
        match = _CRASH.search(line)
        if match and not (
            match[1] and (int(match[1]), int(match[2])) in process.killed
        ):
            found.append(line)
    return found


class PeakMemory(process.Background):
    """The greatest anonymous memory of a process while the block runs.

    with PeakMemory(pid) as memory: ...
    print(memory.before, memory.peak)
    """

    def __init__(self, pid, interval=0.01):
        super().__init__()
        self.pid = pid
        self.interval = interval
        self.before = self.peak = backend_rss(pid)["anon"]

    def _run(self):
        while not self._stop.wait(self.interval):
            try:
                self.peak = max(self.peak, backend_rss(self.pid)["anon"])
            except (OSError, KeyError):
                return  # the process ended


class Cluster:
    """One server.  settings: postgresql.conf's; env: of the server process.

    within: converts a command line to one that runs as root somewhere else,
    e.g. in a network namespace (network.py); the server is started there.

    program: a command line that is started instead of postgres.
    """

    # The logs of all closed clusters, as (folder, text), in which the tests
    # search for secrets.
    old_logs = []
    open_clusters = []

    # A data directory made by initdb, which is copied: that is much faster.
    _fresh = None

    def __init__(self, settings=None, env=None, within=None, program=None):
        self.settings = {**_SETTINGS, **(settings or {})}
        self.env = dict(env or {})
        self.within = within
        self.program = program
        self.bindir = pg_config("--bindir")
        self.folder = None

    def __enter__(self):
        return self.create().start()

    def __exit__(self, *exception):
        self.close()

    # Life

    def create(self):
        """Makes the folder and the data directory."""
        self._make_folder()
        if Cluster._fresh:
            process.run(["cp", "-a", Cluster._fresh, self.datadir])
            return self
        self._tool(
            "initdb", "-D", self.datadir, "-U", "postgres", "-A", "trust",
            "--no-sync", "--encoding=UTF8", "--locale=C",
        )
        folder = tempfile.mkdtemp(prefix="onboard-pg-", dir="/tmp")
        process.at_end(lambda: shutil.rmtree(folder, ignore_errors=True))
        copy = os.path.join(folder, "data")
        process.run(["cp", "-a", self.datadir, copy])
        Cluster._fresh = copy
        return self

    def standby(self, settings=None, env=None):
        """A hot standby that streams from this cluster, not yet started."""
        standby = Cluster({**self.settings, **(settings or {})}, env)
        standby._make_folder()
        self._tool(
            "pg_basebackup", "-D", standby.datadir, "-R", "-X", "stream",
            "-c", "fast", "--no-sync", "-h", self.folder, "-U", "postgres",
            "-p", self.settings["port"],
        )
        return standby

    def start(self):
        self._write_settings()
        env = process.clean_env(self.env)
        program = ["-p", self.program] if self.program else []
        self._tool(
            "pg_ctl", "-D", self.datadir, "-l", self.logfile, "-w", "-t", "60",
            "-s", *program, "start", env=env, within=self.within,
        )
        return self

    def stop(self, mode="fast", timeout=60):
        """Stops the server; does nothing if it is not running."""
        if not os.path.exists(os.path.join(self.datadir, "postmaster.pid")):
            return
        self._tool(
            "pg_ctl", "-D", self.datadir, "-w", "-t", str(timeout), "-s",
            "-m", mode, "stop", timeout=timeout + 10,
        )

    def restart(self, settings=None, env=None, program=None, mode="fast"):
        self.stop(mode)
        self.settings.update(settings or {})
        self.program = program or self.program
        if env is not None:
            self.env = dict(env)
        return self.start()

    def close(self):
        """Stops the server and removes its folder."""
        process.forget(self.close)
        if self not in Cluster.open_clusters:
            return
        try:
            self.stop("immediate")
        finally:
            Cluster.old_logs.append((self.folder, self.log_text()))
            Cluster.open_clusters.remove(self)
            shutil.rmtree(self.folder, ignore_errors=True)

    # Use

    @property
    def datadir(self):
        return os.path.join(self.folder, "data")

    @property
    def logfile(self):
        return os.path.join(self.folder, "log")

    def log_text(self):
        try:
            with open(self.logfile, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def connect(self, dbname="postgres", autocommit=True, **options):
        """A psycopg2 connection, as superuser by default."""
        options.setdefault("user", "postgres")
        connection = psycopg2.connect(
            host=self.folder, port=self.settings["port"], dbname=dbname,
            **options,
        )
        connection.autocommit = autocommit
        return connection

    def psql_command(self, dbname="postgres"):
        return [
            os.path.join(self.bindir, "psql"), "-X", "-h", self.folder,
            "-p", self.settings["port"], "-U", "postgres", "-d", dbname,
        ]

    def psql(self, sql, dbname="postgres", timeout=120):
        """The output of psql -qAt for a script; RigError if a command fails."""
        command = self.psql_command(dbname) + ["-qAt", "-v", "ON_ERROR_STOP=1"]
        return process.run(command, input=sql, timeout=timeout)

    def wait_for_replay(self, primary, timeout=30):
        """Waits until this standby shows all changes of the primary."""
        # Commits are asynchronous in these clusters: unflushed changes would
        # not be waited for.
        primary.psql("CHECKPOINT")
        target = primary.psql("SELECT pg_current_wal_flush_lsn()").strip()
        query = f"SELECT pg_last_wal_replay_lsn() >= '{target}'"
        process.wait_until(
            lambda: self.psql(query).strip() == "t",
            timeout,
            f"standby replays up to {target}",
        )

    # Inside

    @staticmethod
    def _owner():
        if os.getuid() == 0:
            return pwd.getpwnam("postgres")
        return pwd.getpwuid(os.getuid())

    def _make_folder(self):
        self.folder = tempfile.mkdtemp(prefix="onboard-pg-", dir="/tmp")
        if os.getuid() == 0:
            owner = self._owner()
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        Cluster.open_clusters.append(self)
        process.at_end(self.close)

    def _write_settings(self):
        lines = dict(self.settings, unix_socket_directories=self.folder)
        text = "".join(
            "{} = '{}'\n".format(name, str(value).replace("'", "''"))
            for name, value in lines.items()
        )
        # The file is rewritten at each start, not appended to.
        with open(os.path.join(self.folder, "rig.conf"), "w") as conf:
            conf.write(text)
        os.chmod(os.path.join(self.folder, "rig.conf"), 0o644)
        include = f"include '{self.folder}/rig.conf'\n"
        main = os.path.join(self.datadir, "postgresql.conf")
        with open(main, "r+") as conf:
            if include not in conf.read():
                conf.write(include)

    def _tool(self, program, *arguments, env=None, timeout=300, within=None):
        command = [os.path.join(self.bindir, program), *arguments]
        owner = {}
        if within:
            user = self._owner()
            command = within(
                "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}",
                "--init-groups", *command,
            )
        elif os.getuid() == 0:
            groups = os.getgrouplist("postgres", self._owner().pw_gid)
            owner = {
                "user": "postgres", "group": "postgres", "extra_groups": groups
            }
        try:
            return process.run(
                command, cwd=self.folder, env=env, timeout=timeout, **owner
            )
        except RigError as error:
            raise RigError(f"{error}\n{process.tail(self.logfile)}") from None
