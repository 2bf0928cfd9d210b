"""What a rule says about requests, and what the log says of them."""

import re
import threading
import time
from dataclasses import dataclass, field

from .wire import Answer


@dataclass
class Request:
    """One entry of the log.

    It is whole when the answer begins to go out: whoever has the answer can
    rely on it.
    """

    number: int
    connection: int  # requests of one client connection share it
    method: str
    path: str
    query: str
    headers: dict  # lower-case names; secrets are masked
    scope: str  # of the signature: date/region/service/aws4_request
    started: float  # time.monotonic()
    ended: float = None
    status: int = None  # what the client got, None if nothing
    server_status: int = None  # what the server said, None if not asked
    body_bytes: int = 0  # of the request, framing of chunks included
    body: bytes = field(default=b"", repr=False)  # the beginning of it

    @property
    def target(self):
        return self.path + ("?" + self.query if self.query else "")


@dataclass
class Action:
    """What a rule does to a request: see Script.rule()."""

    answer: Answer = None
    instead: Answer = None
    early: bool = False
    delay: float = 0
    hold: bool = False
    when: str = "answer"
    drop: str = None
    at: int = None
    reset: bool = False
    rate: int = None
    flip: int = None
    dribble: float = None
    chunked: bool = False
    before: bytes = b""
    after: bytes = b""

    def __post_init__(self):
        if self.drop not in (None, "before", "during", "after", "answer"):
            raise ValueError(self.drop)
        if self.when not in ("request", "body", "answer"):
            raise ValueError(self.when)


class Rule:
    """Made by Script.rule()."""

    def __init__(self, method, pattern, nth, times, action):
        self.method = method
        self.pattern = re.compile(pattern)
        self.first = nth
        self.last = nth + times - 1 if times else None
        self.action = action
        self.matched = 0  # requests that looked like it
        self.used = 0  # requests it acted on
        self.blanks = 0  # that it has dribbled
        self._reached = threading.Event()
        self._released = threading.Event()

    def matches(self, method, target):
        """Whether this request is its turn; counts it."""
        if self.method not in (None, method):
            return False
        if not self.pattern.search(target):
            return False
        self.matched += 1
        if self.matched < self.first:
            return False
        return self.last is None or self.matched <= self.last

    def wait(self, timeout=30):
        """Until a request is where delay or hold stops it."""
        if not self._reached.wait(timeout):
            raise AssertionError(
                f"no {self.method} {self.pattern.pattern} within {timeout} s"
            )

    def reached(self):
        """Whether one is there, or has been."""
        return self._reached.is_set()

    def end(self):
        """Act on no more requests."""
        self.last = -1

    def release(self):
        """Let all requests that it holds or slows, now and later, go on."""
        self._released.set()

    def pause(self, when, blank=None):
        """Hold or delay, if it is the time for that."""
        action = self.action
        if action.when != when or not (action.hold or action.delay):
            return
        self._reached.set()
        if not action.dribble or blank is None:
            self._released.wait(None if action.hold else action.delay)
            return
        end = time.monotonic() + action.delay
        while not self._released.wait(action.dribble):
            if not action.hold and time.monotonic() >= end:
                return
            blank()
            self.blanks += 1

    def rest(self, seconds):
        """Between pieces of what goes slowly."""
        self._reached.set()
        self._released.wait(seconds)
