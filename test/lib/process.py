"""What every server of the rig needs: bounded commands, ports, and an end.

Whoever starts a server registers its stop function with at_end().  It runs
when the program ends, by whatever way Python sees: a normal end, an exception,
SIGINT, SIGTERM or SIGHUP.
"""

import atexit
import os
import signal
import socket
import subprocess
import threading
import time

_stops = []
# What kill() has ended: (pid, signal).
killed = set()


class RigError(Exception):
    """A server or a tool of the rig did not do what it should."""


class Background:
    """Runs _run() in a thread for as long as a block: until _stop is set."""

    def __init__(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


def at_end(stop):
    """Have stop() called at the program's end, the last registered first."""
    _catch_signals()
    _stops.append(stop)


def forget(stop):
    """Undo at_end(stop)."""
    if stop in _stops:
        _stops.remove(stop)


@atexit.register
def _run_stops():
    while _stops:
        stop = _stops.pop()
        try:
            stop()
        except Exception as error:  # the other servers must end too
            print(f"could not stop a server: {error}")


def _interrupt(signum, frame):
    # As by Ctrl-C: pytest tears its fixtures down for this one only.
    raise KeyboardInterrupt(signal.Signals(signum).name)


def _catch_signals():
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) == signal.SIG_DFL:
            signal.signal(signum, _interrupt)


def kill(pid, signum=signal.SIGKILL):
    """End a server's process; its log may say that it was, see postgres.py."""
    killed.add((pid, int(signum)))
    os.kill(pid, signum)


def clean_env(extra=None):
    """The environment without what would steer libpq, AWS or Ceph tools."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "AWS_", "CEPH_", "LC_", "PYTHON"))
        and name.lower() not in ("http_proxy", "https_proxy", "all_proxy")
    }
    # Debian's Ceph tools need /usr/bin/python3 first; Ceph needs UTF-8.
    env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    env["LANG"] = "C.UTF-8"
    env.update(extra or {})
    return env


def run(command, timeout=120, env=None, **options):
    """Run a command to its end; returns stdout, raises RigError on failure."""
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    try:
        done = subprocess.run(
            command,
            timeout=timeout,
            env=env if env is not None else clean_env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"{command[0]} took more than {timeout} s") from None
    if done.returncode != 0:
        raise RigError(
            f"{' '.join(command)} ended with {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def wait_until(check, timeout, what, interval=0.05):
    """Poll until check() is true; its value is returned.

    For things that give no event to wait on.  RigError after the timeout,
    which says what; a function is called for it then.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise RigError(f"{what}: not within {timeout} s")
        time.sleep(interval)


def free_ports(count):
    """Different ports of 127.0.0.1 that nobody listens on at this moment."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()


def tail(path, lines=20):
    """The last lines of a log, for an error message."""
    try:
        with open(path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])
    except OSError as error:
        return str(error)
