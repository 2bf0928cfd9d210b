"""Common needs of the rig's servers: bounded commands, ports, and an end.

Code that starts a server registers its stop function with at_end().  The
function is called when the program ends in any way that Python can handle: a
normal end, an exception, SIGINT, SIGTERM or SIGHUP.
"""

import atexit
import os
import signal
import socket
import subprocess
import threading
import time

_stops = []
# Processes that kill() has ended: (pid, signal).
killed = set()


class RigError(Exception):
    """A server or tool of the rig failed."""


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
    """Registers stop() for the program's end; the last one registered runs
    first."""
    _catch_signals()
    _stops.append(stop)


def forget(stop):
    """Cancels at_end(stop)."""
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
    # This is Ctrl-C's exception, the only one for which pytest tears its
    # fixtures down.
    raise KeyboardInterrupt(signal.Signals(signum).name)


def _catch_signals():
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) == signal.SIG_DFL:
            signal.signal(signum, _interrupt)


def kill(pid, signum=signal.SIGKILL):
    """Kills a server's process; its log may report that, see postgres.py."""
    killed.add((pid, int(signum)))
    os.kill(pid, signum)


def clean_env(extra=None):
    """The environment without variables that affect libpq, AWS or Ceph tools.
    """
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
    """Runs a command to its end; returns stdout, raises RigError on failure."""
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
    """Polls until check() is true; returns its value.

    It is for conditions without an event to wait for.  After the timeout it
    raises RigError with the text what, or with what() if that is a function.
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
    """Different ports of 127.0.0.1 that no process listens on at this moment.
    """
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
