"""Rules for requests, and the log's entries."""

import re
import threading
import time
from dataclasses import dataclass, field

from .wire import Response


@dataclass
class Request:
    """One entry of the log.

    It is complete before the response begins: a client that has the response
    can rely on the entry.
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
    status: int = None  # what the client received, None if nothing
    server_status: int = None  # the server's status, None if it got no request
    body_bytes: int = 0  # of the request, including the framing of chunks
    body: bytes = field(default=b"", repr=False)  # the beginning of the body

    @property
    def target(self):
        return self.path + ("?" + self.query if self.query else "")


@dataclass
class Action:
    """The effect of a rule on a request: see Script.rule()."""

    response: Response = None
    instead: Response = None
    early: bool = False
    delay: float = 0
    hold: bool = False
    when: str = "response"
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
        if self.drop not in (None, "before", "during", "after", "response"):
            raise ValueError(self.drop)
        if self.when not in ("request", "body", "response"):
            raise ValueError(self.when)


class Rule:
    """A rule that Script.rule() has made."""

    def __init__(self, method, pattern, nth, times, action):
        self.method = method
        self.pattern = re.compile(pattern)
        self.first = nth
        self.last = nth + times - 1 if times else None
        self.action = action
        self.matched = 0  # requests that matched
        self.used = 0  # requests that it acted on
        self.blanks = 0  # blanks that it has sent
        self._reached = threading.Event()
        self._released = threading.Event()

    def matches(self, method, target):
        """Whether the rule applies to this request; counts the request."""
        if self.method not in (None, method):
            return False
        if not self.pattern.search(target):
            return False
        self.matched += 1
        if self.matched < self.first:
            return False
        return self.last is None or self.matched <= self.last

    def wait(self, timeout=30):
        """Waits until delay or hold has stopped a request."""
        if not self._reached.wait(timeout):
            raise AssertionError(
                f"no {self.method} {self.pattern.pattern} within {timeout} s"
            )

    def reached(self):
        """Whether a request has been stopped."""
        return self._reached.is_set()

    def end(self):
        """Stops applying to further requests."""
        self.last = -1

    def release(self):
        """Lets all requests that it holds or delays, now and later, go on."""
        self._released.set()

    def pause(self, when, blank=None):
        """Holds or delays the request if when is the action's."""
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
        """Waits between pieces of a slow transfer."""
        self._reached.set()
        self._released.wait(seconds)
