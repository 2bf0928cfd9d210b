"""One run has one destination, and no two of its objects have one key."""

import json

import pytest

from lib import process
from lib.exports import (
    Running, body, failure, key_of, keys, land, land_all, map_user, register,
    select, value,
)

LOCKED = "SELECT pg_advisory_xact_lock(42) IS NULL AS n"
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND NOT granted AND objid = 42"
)


def where(found):
    return {row["name"]: (row["status"], row["uri"]) for row in found}


@pytest.fixture
def other_bucket(s3, bucket):
    name = bucket[:50].rstrip("-.") + "-other"
    s3.create_bucket(Bucket=name)
    yield name
    for key in keys(s3, name):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


class Held:
    """Tables a to d, some of which wait until release()."""

    def __init__(self, db, observer):
        self.names = "abcd"
        self.observer = observer
        for name in self.names:
            select(
                db, "INSERT INTO onboard_tables (name, query) VALUES (%s, %s)",
                (name, LOCKED),
            )
        select(observer, "SELECT pg_advisory_lock(42)")

    def wait(self, count):
        process.wait_until(
            lambda: value(self.observer, WAITING) == count, 30, "they wait"
        )

    def release(self):
        select(self.observer, "SELECT pg_advisory_unlock(42)")


@pytest.fixture
def held(db, observer, registry):
    return Held(db, observer)


CHANGES = {
    "bucket": "SET bucket '{other}'",
    "prefix": "ADD prefix 'newp/'",
    "endpoint": "SET endpoint 'http://127.0.0.1:9'",
    "region": "SET region 'eu-west-7'",
    "addressing": "ADD addressing 'virtual'",
    "buckets": "SET bucket '{other}', ADD buckets '{other}'",
    "proxy": "ADD proxy 'http://127.0.0.1:9'",
    "credentials": "ADD credentials 'environment'",
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_is_altered(
    pg, db, rgw, make_server, s3, held, bucket, other_bucket, workers, change
):
    """The server is altered during the run: that applies to the next run."""
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         bucket=bucket)
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    options = json.dumps({"server": server, "manifest": True})
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s) ORDER BY name",
        (options,),
    ) as run:
        held.wait(workers or 1)
        select(
            db, f"ALTER SERVER {server} OPTIONS ("
            + CHANGES[change].format(other=other_bucket) + ")"
        )
        held.release()
        found = run.rows(60)
    session.close()
    assert where(found) == {
        name: ("done", f"s3://{bucket}/{key_of(name)}") for name in held.names
    }
    folder = f"_onboard/{found[0]['run_id']}/"
    assert keys(s3, bucket) == [
        folder + "_SUCCESS", folder + "manifest.json",
        *(key_of(name) for name in held.names),
    ]
    assert keys(s3, other_bucket) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_together_and_altered(
    pg, db, rgw, make_server, s3, held, bucket, other_bucket, workers
):
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         bucket=bucket)
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    options = json.dumps({"server": server, "publish": "together"})
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s)", (options,)
    ) as run:
        held.wait(workers or 1)
        select(db, f"ALTER SERVER {server} OPTIONS (SET bucket"
               f" '{other_bucket}', ADD prefix 'newp/')")
        held.release()
        found = run.rows(60)
    session.close()
    assert {row["status"] for row in found} == {"done"}
    assert len(keys(s3, bucket)) == 6
    assert keys(s3, other_bucket) == []


def test_a_job_and_altered(
    db, rgw, make_server, s3, held, bucket, other_bucket
):
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         bucket=bucket)
    select(db, "SET onboard.parallel_tables = 2")
    run_id = value(db, "SELECT onboard_submit_all(NULL, %s)",
                   (json.dumps({"server": server}),))
    held.wait(2)
    select(db, f"ALTER SERVER {server} OPTIONS (SET bucket"
           f" '{other_bucket}', ADD prefix 'newp/')")
    held.release()
    (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    assert (row["status"], row["done"]) == ("done", 4)
    assert keys(s3, bucket) == [key_of(name) for name in held.names]
    assert keys(s3, other_bucket) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_registered_row_that_changes(
    pg, db, rgw, make_server, s3, held, bucket, other_bucket, workers
):
    """The row may even be deleted: the run has read it."""
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         bucket=bucket)
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s)",
        (json.dumps({"server": server}),),
    ) as run:
        held.wait(workers or 1)
        select(db, "UPDATE onboard_tables SET bucket = %s, query = 'SELECT 1'",
               (other_bucket,))
        select(db, "DELETE FROM onboard_tables WHERE name >= 'c'")
        held.release()
        found = run.rows(60)
    session.close()
    assert {row["status"] for row in found} == {"done"}
    assert keys(s3, bucket) == [key_of(name) for name in held.names]
    assert body(s3, bucket, key_of("d")) == b"n\nf\n"
    assert keys(s3, other_bucket) == []


def sized(db, rows, *names):
    """Makes tables larger: workers export the largest table first."""
    for name in names:
        select(
            db, "UPDATE onboard_tables SET query = query || %s WHERE name = %s",
            (f" FROM generate_series(1, {rows}) g WHERE g = 1", name),
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_keys_that_are_rotated(
    pg, db, rgw, make_server, s3, held, bucket, canaries, workers
):
    """Keys are rotated during the run: later tables and the manifest use the
    new keys."""
    old = rgw.add_key()
    canaries.add(old[1])
    server = make_server(rgw.endpoint, *old, bucket=bucket)
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    for name in "ef":
        select(db, "INSERT INTO onboard_tables (name, query) VALUES"
               " (%s, 'SELECT 1 AS n')", (name,))
    select(db, "UPDATE onboard_tables SET query = 'SELECT 1 AS n'"
           " WHERE name < 'c'")
    sized(db, 1000000, "a", "b")
    sized(db, 100000, "c", "d")
    options = json.dumps({"server": server, "manifest": True})
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s) ORDER BY name",
        (options,),
    ) as run:
        held.wait(workers or 1)
        map_user(pg, server, rgw.access_key, rgw.secret_key)
        rgw.drop_key(old[0])
        held.release()
        found = run.rows(60)
    session.close()
    # Running exports need the old keys to their end.
    under_way = "cd" if workers else "c"
    assert {row["name"]: row["status"] for row in found} == {
        name: "failed" if name in under_way else "done" for name in "abcdef"
    }
    key = f"_onboard/{found[0]['run_id']}/manifest.json"
    assert json.loads(body(s3, bucket, key))["success"] is False


@pytest.mark.parametrize("workers", [0, 2])
def test_keys_that_are_rotated_before_all_is_published(
    pg, db, rgw, make_server, s3, held, bucket, canaries, proxy, workers
):
    """Uploads that were begun with the old keys are completed with the new
    ones."""
    old = rgw.add_key()
    canaries.add(old[1])
    server = make_server(proxy.endpoint, *old, bucket=bucket)
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    rule = proxy.rule("POST", "uploadId=", hold=True, when="request")
    options = json.dumps({"server": server, "publish": "together"})
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s)", (options,)
    ) as run:
        held.wait(workers or 1)
        map_user(pg, server, rgw.access_key, rgw.secret_key)
        held.release()
        rule.wait(60)
        rgw.drop_key(old[0])
        rule.release()
        found = run.rows(60)
    session.close()
    assert {row["status"] for row in found} == {"done"}
    assert len(keys(s3, bucket)) == 6


# Two servers that are the same store


def spellings(rgw):
    """Spellings of RGW's endpoint, which is http://127.0.0.1:PORT."""
    port = rgw.endpoint.rsplit(":", 1)[1]
    return [
        f"http://localhost:{port}", f"http://LOCALHOST:{port}",
        f"http://localhost.:{port}", f"http://127.1:{port}",
        f"http://2130706433:{port}/",
    ]


@pytest.mark.parametrize("number", range(5))
def test_two_servers_that_are_one_store(
    db, rgw, make_server, s3, registry, bucket, number
):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    server = make_server(
        spellings(rgw)[number], rgw.access_key, rgw.secret_key,
        addressing="path" if number % 2 else "auto",
    )
    select(
        db, "UPDATE onboard_tables SET options = %s WHERE name = 'b'",
        (json.dumps({"server": server}),),
    )
    error = failure(land_all, db, key="same.csv")
    assert error.pgcode == "42710"
    assert 'tables "a" and "b" would both land at' in str(error)
    assert keys(s3, bucket) == []
    if number == 0:
        assert where(land_all(db, key="{name}")) == {
            name: ("done", f"s3://{bucket}/{name}") for name in "ab"
        }


# Reserved keys


RESERVED = [
    "_onboard/{run_id}/manifest.json", "_onboard/{run_id}/_SUCCESS",
    "{prefix}_onboard/{run_id}/_SUCCESS", "{prefix}_onboard/{name}",
    "_onboard/0/1/2", "other/_onboard/{run_id}/manifest.json",
    "other-_onboard/{run_id}/_SUCCESS",
]


@pytest.mark.parametrize("key", RESERVED)
@pytest.mark.parametrize("options", [{}, {"manifest": True}],
                         ids=["", "manifest"])
def test_a_key_of_a_run(db, s3, registry, proxied, proxy, bucket, key,
                        options):
    options = {"key": key, "server": proxied, **options}
    error = failure(land, db, "t", "SELECT 1 AS n", bucket, **options)
    assert error.pgcode == "22023"
    assert "the key is one of those that onboard keeps for itself" in (
        str(error)
    )
    register(db, bucket, a="SELECT 1 AS n")
    (row,) = land_all(db, **options)
    assert row["status"] == "failed"
    assert proxy.requests() == []


@pytest.mark.parametrize(
    "key",
    ["a/_onboarding/x", "onboard/manifest.json", "x/_onboard", "manifest.json",
     "_SUCCESS", "a/b/_SUCCESS", "_onboard"],
)
def test_keys_that_are_free(db, s3, bucket, key):
    assert land(db, "t", "SELECT 1 AS n", bucket, key=key)["rows"] == 1


def test_a_key_below_the_prefix(db, rgw, make_server, s3, bucket):
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         prefix="räw-")
    for key in ("{prefix}_onboard/x", "räw-_onboard/x"):
        error = failure(land, db, "t", "SELECT 1 AS n", bucket, key=key,
                        server=server)
        assert error.pgcode == "22023"
    land(db, "t", "SELECT 1 AS n", bucket, key="_onboard/x", server=server)
    assert keys(s3, bucket) == ["_onboard/x"]
