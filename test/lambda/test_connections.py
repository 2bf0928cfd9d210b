"""Addresses of databases and of the Runtime API, trust in them, and lost
connections."""

import contextlib
import json
import os
import signal
import time
from urllib.parse import urlsplit

import pytest
from conftest import (
    PASSWORD, PROGRAM, address, fetched, make_secret, speak_tls,
)
from test_modes import failing, register, run, scheduled

from lib import process
from lib.exports import body, key_of, keys, select, value
from lib.network import Sandbox
from lib.runtime_api import RuntimeApi

LONG = bool(os.environ.get("ONBOARD_LONG"))

# ---- several databases ----


@pytest.fixture(scope="module")
def standby(pg, authority):
    """A hot standby that streams from pg, on a port of its own."""
    (port,) = process.free_ports(1)
    server = pg.standby({"port": str(port)})
    try:
        speak_tls(server, authority)
        server.start()
        yield server
    finally:
        server.close()


def where(s3, bucket, names):
    """The tables that a standby has landed, as their only column shows."""
    return {
        name for name in names
        if body(s3, bucket, key_of(name)) == b"standby\nt\n"
    }


def test_several_databases(
    db, pg, standby, s3, api, start, moto, secret, bucket
):
    """Tables are spread over the primary and the standby; when the standby is
    unavailable, or its password is wrong, the primary exports all of them."""
    names = [f"t{n}" for n in range(6)]
    # No table ends before both databases have begun one.
    query = ("SELECT pg_is_in_recovery() AS standby FROM (SELECT"
             " pg_advisory_xact_lock_shared(1208) OFFSET 0) held")
    register(db, **{name: query for name in names})
    standby.wait_for_replay(pg)
    second = make_secret(moto, standby)
    wrong = make_secret(moto, standby, password="another")
    start(ONBOARD_SECRETS=f"{secret}, {second}", ONBOARD_CONCURRENCY="4")
    waiting = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
               " 'advisory' AND application_name LIKE 'onboard/%'")
    with contextlib.closing(pg.connect()) as one, \
            contextlib.closing(standby.connect()) as other:
        for holder in (one, other):
            select(holder, "SELECT pg_advisory_lock(1208)")
        invocation = api.invoke(run())
        for holder in (one, other):
            process.wait_until(
                lambda: value(holder, waiting) == 2, 30, "2 on each"
            )
    found = invocation.result()
    assert (found["state"], found["exported"]) == ("done", 6)
    assert 2 <= len(where(s3, bucket, names)) <= 4

    api.invoke({"x": 1}).ended.wait(30)  # (the first function is idle again)
    standby.stop("immediate")
    try:
        found = api.invoke(run()).result()
        assert (found["state"], found["exported"]) == ("done", 6)
        assert where(s3, bucket, names) == set()
    finally:
        standby.start()
    start(api=api, ONBOARD_SECRETS=f"{secret},{wrong}")
    for _ in range(2):  # (one for each function)
        assert api.invoke(run()).result()["exported"] == 6


def test_a_rotation_between_logins(db, pg, api, start, aws, moto, secret):
    """The password changes after the list was read and before the other
    connections log in: they share one new version of the secret."""
    names = [f"t{n}" for n in range(4)]
    register(db, **{name: "SELECT 1 AS n" for name in names})
    function = start(ONBOARD_CONCURRENCY="4")
    quoted = PASSWORD.replace("'", "''")
    try:
        with contextlib.closing(pg.connect(autocommit=False)) as holder:
            select(holder, "LOCK TABLE onboard_tables")
            invocation = api.invoke(run())
            process.wait_until(
                lambda: value(db, "SELECT count(*) FROM pg_locks WHERE NOT"
                                  " granted") == 1,
                30, "the list is waited for",
            )
            pg.psql("ALTER ROLE exporter PASSWORD 'another-one'")
            moto.client("secretsmanager").put_secret_value(
                SecretId=secret,
                SecretString=json.dumps(address(pg, password="another-one")),
            )
        assert invocation.result()["exported"] == 4, function.lines
        assert fetched(aws) == 2
    finally:
        pg.psql(f"ALTER ROLE exporter PASSWORD '{quoted}'")


# ---- the Runtime API ----

# The address is that on AWS.
RUNTIME_API = ("169.254.100.1", 9001)


@pytest.fixture
def sandbox():
    with Sandbox(RUNTIME_API[0]) as made:
        yield made


@pytest.fixture
def link_local_api(sandbox):
    with RuntimeApi(sandbox.listen(*RUNTIME_API)) as server:
        yield server


def test_a_link_local_runtime_api(
    db, pg, s3, start, aws, moto, bucket, sandbox, link_local_api
):
    """Events arrive, and their results, successes and errors, are reported; so
    are errors of the start."""
    api = link_local_api
    assert api.address == "169.254.100.1:9001"
    program = sandbox.within(str(PROGRAM))
    database = sandbox.lead_to(f"tcp://127.0.0.1:{pg.settings['port']}")
    within = {
        "api": api, "program": program,
        "AWS_ENDPOINT_URL": sandbox.lead_to(aws.endpoint),
        "ONBOARD_SECRETS": make_secret(
            moto, pg, port=urlsplit(database).port
        ),
    }
    register(db, a="SELECT 1 AS a")
    function = start(**within)
    assert api.invoke(run()).result()["exported"] == 1, function.lines
    assert body(s3, bucket, key_of("a")) == b"a\n1\n"
    assert failing(api.invoke({"x": 1})).type == "Onboard.BadEvent"
    assert api.init_errors == []
    function.close()

    function = start(**{**within, "ONBOARD_SECRETS": "missing"})
    assert function.wait() != 0
    ((kind, _),) = api.init_errors
    assert kind == "Onboard.Configuration"


# ---- trust ----


@pytest.mark.parametrize("how", ["default", "name", "authority", "plain"])
def test_tls(db, pg, api, start, moto, authority, how):
    """The connection uses verify-full, unless the secret says otherwise."""
    register(db, a="SELECT ssl AS a FROM pg_stat_ssl"
                   " WHERE pid = pg_backend_pid()")
    trusted = {"sslmode": None, "sslrootcert": authority.ca_file}
    other = {
        "default": trusted,
        # the certificate is for 127.0.0.1 and localhost
        "name": {**trusted, "host": "127.0.0.2"},
        "authority": {"sslmode": None},
        "plain": {"sslmode": "disable"},
    }[how]
    start(ONBOARD_SECRETS=make_secret(moto, pg, **other))
    if how in ("default", "plain"):
        assert api.invoke(run()).result()["exported"] == 1
        return
    error = failing(api.invoke(run()))
    assert error.type == "Onboard.RunFailed"
    assert ("no connection" if how == "name" else "TLS") in error.message


@pytest.mark.parametrize("other", [
    {"port": "text"}, {"dbname": None, "database": "postgres"},
    {"dbname": None}, {"engine": "mysql"}, {"sslmode": "perhaps"},
    {"port": 0}, {"password": ""},
], ids=str)
def test_members_of_secrets(db, pg, api, start, moto, other):
    """The port may be a text, and "database" is accepted; an error names the
    wrong member."""
    good = other == {"port": "text"} or "database" in other
    if other == {"port": "text"}:
        other = {"port": pg.settings["port"]}
    register(db, a="SELECT 1 AS a")
    function = start(ONBOARD_SECRETS=make_secret(moto, pg, **other))
    if good:
        assert api.invoke(run()).result()["exported"] == 1
        return
    assert function.wait() != 0
    ((_, document),) = api.init_errors
    assert list(other)[0] in document["errorMessage"]


# ---- a frozen sandbox ----


def test_a_frozen_sandbox(
    db, pg, s3, api, start, aws, moto, secret, bucket
):
    """Everything stops between events, and on thaw every connection is dead:
    the server has been restarted, the services have closed theirs; and the
    password has changed, so the test needs both at once."""
    # The restart is a crash, and must not lose the registration.
    select(db, "SET synchronous_commit = on")
    register(db, a="SELECT 1 AS a")
    function = start()
    assert api.invoke(run()).result()["exported"] == 1
    assert fetched(aws) == 1
    os.kill(function.process.pid, signal.SIGSTOP)
    quoted = PASSWORD.replace("'", "''")
    try:
        frozen = time.monotonic()
        pg.restart(mode="immediate")
        pg.psql("ALTER ROLE exporter PASSWORD 'another-one'")
        moto.client("secretsmanager").put_secret_value(
            SecretId=secret,
            SecretString=json.dumps(address(pg, password="another-one")),
        )
        aws.hang_up()
        if LONG:  # the test is about the length of the freeze
            time.sleep(max(0, frozen + 30 - time.monotonic()))
        invocation = api.invoke(scheduled())
        os.kill(function.process.pid, signal.SIGCONT)
        assert invocation.result()["exported"] == 1
        assert fetched(aws) == 2
    finally:
        pg.psql(f"ALTER ROLE exporter PASSWORD '{quoted}'")
    assert keys(s3, bucket) == [key_of("a")]
