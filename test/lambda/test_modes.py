"""From events to landed objects, in each mode."""

import collections
import contextlib
import json
import os
import pathlib
import re
import threading
import time
import uuid

import pytest
from conftest import (
    PASSWORD, PROGRAM, address, fetched, figure, make_secret,
)

from lib import process
from lib.exports import body, key_of, keys, select, value
from lib.invoke_api import InvokeApi
from lib.proxy import Proxy
from lib.runtime_api import Function, FunctionError, RuntimeApi

SCHEDULED = {
    "version": "0", "id": None, "detail-type": "Scheduled Event",
    "source": "aws.events", "account": "123456789012",
    "time": "2026-11-24T02:00:00Z", "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/nightly"],
    "detail": {},
}


def scheduled(event_id=None):
    return {**SCHEDULED, "id": event_id or str(uuid.uuid4())}


def run(*tables, **more):
    request = {"action": "run", **more}
    if tables:
        request["tables"] = list(tables)
    return {"onboard": request}


def register(db, **queries):
    for name, query in queries.items():
        select(
            db, "INSERT INTO onboard_tables (name, query) VALUES (%s, %s)",
            (name, query),
        )


def summary(error):
    assert error.type == "Onboard.TablesFailed"
    return json.loads(error.message)


def failing(invocation, timeout=60):
    try:
        found = invocation.result(timeout)
    except FunctionError as error:
        return error
    raise AssertionError(f"no error, but {found}")


def sessions(db):
    return value(
        db, "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'onboard/%'",
    )


def history(db, run_id):
    return {
        row["name"]: row["status"]
        for row in select(
            db, "SELECT name, status FROM onboard_runs WHERE run_id = %s",
            (run_id,),
        )
    }


@pytest.fixture
def default_bucket(db, bucket):
    """Jobs of all tables take the bucket from the registry."""
    select(db, "ALTER SERVER s3 OPTIONS (ADD bucket '%s')" % bucket)
    yield bucket
    select(db, "ALTER SERVER s3 OPTIONS (DROP bucket)")


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_01_a_scheduled_event(
    db, s3, api, start, bucket, default_bucket, mode
):
    register(db, a="SELECT 1 AS a", b="SELECT 2 AS b",
             c="SELECT 3 AS c WHERE false")
    function = start(ONBOARD_MODE=mode)
    event = scheduled()
    found = api.invoke(event).result()
    assert (found["state"], found["exported"], found["empty"],
            found["failed"]) == ("done", 2, 1, 0)
    assert found["run_id"] == event["id"]
    (line,) = [line for line in function.log if "_aws" in line]
    (metrics,) = line["_aws"]["CloudWatchMetrics"]
    assert (metrics["Namespace"], metrics["Dimensions"]) == (
        "Onboard", [["Function"]]
    )
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 600
    assert {metric["Name"]: line[metric["Name"]] for metric in metrics["Metrics"]
            if metric["Name"] != "Duration"} == {
        "Exported": 2, "Empty": 1, "Failed": 0, "Rows": 2,
        "Bytes": found["bytes"],
    }
    assert line["Function"] == "onboard" and line["run_id"] == event["id"]
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]
    assert body(s3, bucket, key_of("b")) == b"b\n2\n"


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_an_id_that_another_role_took_before(
    db, s3, api, start, bucket, default_bucket, mode
):
    """The event's id can be guessed: its run still belongs to the exporter,
    even if the exporter may see the other role's run."""
    register(db, a="SELECT 1 AS a")
    start(ONBOARD_MODE=mode)
    event = scheduled()
    select(
        db, "CREATE ROLE claimer; GRANT claimer TO exporter;"
        " GRANT USAGE ON FOREIGN SERVER s3 TO claimer"
    )
    try:
        select(db, "SET ROLE claimer")
        value(db, "SELECT onboard_submit('a', run_id => %s)", (event["id"],))
        sql = "SELECT status FROM onboard_wait(%s)"
        assert value(db, sql, (event["id"],)) == "failed"
        select(db, "RESET ROLE")
        found = api.invoke(event).result()
        assert (found["state"], found["exported"]) == ("done", 1)
        assert found["landed_before"] == 0
        assert keys(s3, bucket) == [key_of("a")]
    finally:
        select(db, "RESET ROLE; DROP OWNED BY claimer; DROP ROLE claimer")


@pytest.mark.parametrize("mode", ["wait", "submit", "fanout"])
def test_thirty_tables(
    db, s3, api, start, moto, bucket, default_bucket, mode
):
    """Two of them are empty, one fails."""
    queries = {f"t{n:02}": f"SELECT {n} AS n" for n in range(27)}
    register(
        db, **queries, e1="SELECT 1 WHERE false", e2="SELECT 1 WHERE false",
        wrong="SELECT 1 / 0",
    )
    event = scheduled()
    if mode != "fanout":
        start(ONBOARD_MODE=mode)
        found = summary(failing(api.invoke(event)))
        assert (found["exported"], found["empty"], found["failed"]) == (
            27, 2, 1
        )
        (failed,) = found["failures"]
        assert (failed["table"], failed["sqlstate"]) == ("wrong", "22012")
    else:
        with InvokeApi(moto.access_key, moto.secret_key) as lam:
            children = RuntimeApi()
            children.__enter__()
            lam.deliver = lambda payload, trace: results.append(
                children.invoke(payload)
            )
            results = []
            start(ONBOARD_MODE=mode, AWS_ENDPOINT_URL_LAMBDA=lam.endpoint)
            for _ in range(3):
                start(api=children, ONBOARD_MODE=mode,
                      AWS_ENDPOINT_URL_LAMBDA=lam.endpoint)
            found = api.invoke(event).result()
            assert (found["state"], found["running"]) == ("running", 30)
            assert len(results) == 30
            errors = 0
            for result in results:
                try:
                    assert result.result()["state"] == "done"
                except FunctionError as error:
                    assert summary(error)["failures"][0]["table"] == "wrong"
                    errors += 1
            assert errors == 1
            assert lam.refused == []
            children.__exit__()
    assert len(keys(s3, bucket)) == 27
    for n in range(27):
        assert body(s3, bucket, key_of(f"t{n:02}")) == f"n\n{n}\n".encode()


def test_02_no_secret_anywhere(db, api, start, moto, bucket):
    """No payload, error, log line, message or command line contains a secret.
    """
    register(db, a="SELECT 1 AS a", wrong="SELECT 1 / 0")
    sns = moto.client("sns")
    topic = sns.create_topic(Name="runs")["TopicArn"]
    sqs = moto.client("sqs")
    queue = sqs.create_queue(QueueName="runs")["QueueUrl"]
    arn = sqs.get_queue_attributes(
        QueueUrl=queue, AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    function = start(ONBOARD_TOPIC_ARN=topic)
    error = failing(api.invoke(scheduled()))
    assert PASSWORD not in str(error)
    lines = [line for line in function.log if "notif" in line["event"]]
    assert [line["event"] for line in lines] == ["notified"], lines
    (message,) = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10
    )["Messages"]
    body = json.loads(message["Body"])
    assert json.loads(body["Message"])["failures"][0]["table"] == "wrong"
    assert body["Subject"].startswith("onboard: run partial")
    assert PASSWORD not in message["Body"]
    with open(f"/proc/{function.process.pid}/cmdline", "rb") as line:
        assert PASSWORD.encode() not in line.read()


def test_a_notification_that_fails(db, api, start):
    """The failure is logged, and changes nothing; a successful run sends none.
    """
    register(db, a="SELECT 1 AS a", wrong="SELECT 1 / 0")
    function = start(
        ONBOARD_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:nowhere"
    )
    assert api.invoke(run("a")).result()["exported"] == 1
    found = summary(failing(api.invoke(run("wrong"))))
    assert found["failed"] == 1
    lines = [line for line in function.log if "notif" in line["event"]]
    assert [line["event"] for line in lines] == ["notification failed"]


def test_a_schedule_of_eventbridge_scheduler(db, api, start):
    """The run id depends on the schedule and its time, not on the attempt."""
    register(db, a="SELECT 1 AS a")
    start()
    event = run(schedule_arn="arn:aws:scheduler:us-east-1:1:schedule/x/y",
                scheduled_time="2026-11-24T02:00:00Z")
    first = api.invoke(event).result()
    again = api.invoke(event).result()
    assert first["run_id"] == again["run_id"]
    assert again["landed_before"] == 1
    event["onboard"]["scheduled_time"] = "2026-11-25T02:00:00Z"
    assert api.invoke(event).result()["run_id"] != first["run_id"]


def test_03_a_hard_password(db, api, start):
    """The fixtures' password has @ : / % ' \\ blank and double quote."""
    assert set("@:/%'\\ \"") <= set(PASSWORD)
    register(db, a="SELECT current_user AS u")
    start()
    assert api.invoke(run()).result()["exported"] == 1


@pytest.mark.parametrize("rotated", [True, False], ids=["new", "wrong"])
def test_04_the_password_changes(
    db, pg, api, start, aws, moto, secret, rotated
):
    register(db, a="SELECT 1 AS a")
    start()
    assert api.invoke(run()).result()["exported"] == 1
    assert fetched(aws) == 1
    quoted = PASSWORD.replace("'", "''")
    try:
        pg.psql("ALTER ROLE exporter PASSWORD 'another-one'")
        if rotated:
            moto.client("secretsmanager").put_secret_value(
                SecretId=secret,
                SecretString=json.dumps(address(pg, password="another-one")),
            )
            assert api.invoke(run()).result()["exported"] == 1
        else:
            error = failing(api.invoke(run()))
            assert error.type == "Onboard.RunFailed"
            assert "28P01" in error.message
        assert fetched(aws) == 2
    finally:
        pg.psql(f"ALTER ROLE exporter PASSWORD '{quoted}'")


def landings(s3, bucket):
    """How often each key was written, in a bucket with versioning."""
    found = s3.list_object_versions(Bucket=bucket)
    return collections.Counter(
        version["Key"] for version in found.get("Versions", [])
    )


@pytest.fixture
def kept(s3, bucket):
    """The bucket with versioning, which keeps all versions of a key."""
    s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return bucket


@pytest.mark.parametrize("mode", ["wait", "submit", "fanout"])
def test_05_an_event_twice(
    db, s3, api, start, moto, kept, default_bucket, mode
):
    """The event is one run: landed tables are not exported again."""
    register(db, a="SELECT 1 AS a", c="SELECT 2 AS c")
    event = scheduled()
    with InvokeApi(moto.access_key, moto.secret_key) as lam:
        start(ONBOARD_MODE=mode, AWS_ENDPOINT_URL_LAMBDA=lam.endpoint)
        found = api.invoke(event).result()
        for payload, _ in lam.accepted:
            assert api.invoke(payload).result()["exported"] == 1
        count = len(lam.accepted)
        assert (mode == "fanout") == (count == 2)
        if mode != "fanout":
            assert (found["exported"], found["landed_before"]) == (2, 0)
        found = api.invoke(event).result()
        assert (found["state"], found["exported"], found["landed_before"]) == (
            "done", 2, 2
        )
        # No child is invoked again for it.
        assert len(lam.accepted) == count
    assert landings(s3, kept) == {key_of("a"): 1, key_of("c"): 1}
    assert history(db, event["id"]) == {"a": "done", "c": "done"}


def test_05_an_event_twice_together(db, s3, api, start, kept):
    """The two deliveries share the work in any way."""
    names = [f"t{n}" for n in range(6)]
    register(db, **{name: "SELECT pg_sleep(0.1) IS NULL" for name in names})
    event = scheduled()
    functions = [start(), start()]
    invocations = [api.invoke(event), api.invoke(event)]
    found = [invocation.result() for invocation in invocations]
    for one in found:
        assert one["run_id"] == event["id"]
        # A table that it has not landed itself was landed, or is being landed,
        # by the other one.
        assert one["exported"] + one["running"] == one["tables"] == 6
        assert one["state"] == ("running" if one["running"] else "done")
    assert sum(one["exported"] - one["landed_before"] for one in found) == 6
    landed = [
        line["table"] for function in functions for line in function.log
        if line["event"] == "table exported"
    ]
    assert sorted(landed) == names
    assert landings(s3, kept) == {key_of(name): 1 for name in names}
    assert history(db, event["id"]) == {name: "done" for name in names}
    # Whatever their results were, a third delivery returns the final state.
    found = api.invoke(event).result()
    assert (found["state"], found["landed_before"]) == ("done", 6)


HOLD_UP = """
    CREATE FUNCTION hold_up() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('application_name') = 'onboard/held'
            AND current_query() LIKE '%onboard_table(%' THEN
            PERFORM pg_catalog.pg_advisory_xact_lock_shared(1205);
        END IF;
        RETURN true;
    END $$;
    CREATE POLICY hold_up ON onboard_history AS RESTRICTIVE FOR SELECT
        USING (hold_up());
"""


@pytest.fixture
def held(pg, db):
    """Deliveries with the request id "held" stop where they check whether a
    table of the given run has landed, until release is called."""
    pg.psql(HOLD_UP)
    holder = pg.connect()

    def hold(run_id):
        select(holder, "SELECT pg_advisory_lock(1205)")
        # The policy checks again because of this row, which reports a failed
        # earlier attempt.
        select(
            db, "INSERT INTO onboard_history (run_id, name, role, source,"
            " status, files, rows, raw_bytes, bytes, parts, retries, started,"
            " ended, pid) VALUES (%s, 'a', 'exporter', 'test', 'failed', 0, 0,"
            " 0, 0, 0, 0, now(), now(), 0)", (run_id,),
        )

    def waits():
        return value(
            db, "SELECT count(*) FROM pg_stat_activity WHERE application_name"
                " = 'onboard/held' AND wait_event = 'advisory'") == 1

    hold.until_there = lambda: process.wait_until(waits, 30, "it is held")
    hold.release = lambda: select(holder, "SELECT pg_advisory_unlock_all()")
    yield hold
    holder.close()
    pg.psql("DROP POLICY hold_up ON onboard_history; DROP FUNCTION hold_up()")


def test_05_an_event_while_another_checks(db, s3, api, start, kept, held):
    """Between its check of the history and its export, no other delivery lands
    the table: its lock is older than its check."""
    register(db, a="SELECT 1 AS a")
    event = scheduled()
    held(event["id"])
    start()
    start()
    first = api.invoke(event, request_id="held")
    held.until_there()
    second = api.invoke(event).result()
    held.release()
    first = first.result()
    assert landings(s3, kept) == {key_of("a"): 1}
    assert (second["state"], second["exported"], second["running"]) == (
        "running", 0, 1
    )
    assert (first["state"], first["exported"]) == ("done", 1)
    assert history(db, event["id"]) == {"a": "done"}


def test_05_landed_since_the_list(db, pg, s3, api, start, kept):
    """A table that another delivery lands between our list and our turn is
    reported as landed."""
    register(db, a="SELECT pg_advisory_xact_lock_shared(1206) IS NULL AS a",
             b="SELECT 2 AS b")
    event = scheduled()
    function = start(ONBOARD_CONCURRENCY="1")
    other = pg.connect(user="exporter")
    with contextlib.closing(pg.connect()) as holder:
        select(holder, "SELECT pg_advisory_lock(1206)")
        invocation = api.invoke(event)
        process.wait_until(
            lambda: value(db, "SELECT count(*) FROM pg_stat_activity WHERE"
                              " wait_event = 'advisory'") == 1,
            30, "the first table is under way",
        )
        select(other, "SELECT onboard_table('b', bucket => %s, run_id => %s)",
               (kept, event["id"]))
    other.close()
    found = invocation.result()
    assert (found["exported"], found["landed_before"]) == (2, 1)
    assert landings(s3, kept) == {key_of("a"): 1, key_of("b"): 1}
    (line,) = [line for line in function.log
               if line["event"] == "table landed before"]
    assert line["table"] == "b"


def overlap(rows):
    """The greatest number of intervals that share an instant."""
    steps = [(row["started"], 1) for row in rows]
    steps += [(row["ended"], -1) for row in rows]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def test_06_concurrency(db, api, start):
    """8 tables that take a second each, 4 at a time."""
    register(db, **{f"t{n}": "SELECT pg_sleep(1) IS NULL" for n in range(8)})
    start(ONBOARD_CONCURRENCY="4")
    invocation = api.invoke(run())
    invocation.taken.wait(10)
    began = time.time()
    found = invocation.result()
    assert found["exported"] == 8
    took = invocation.ended_at - began
    figure(f"wait, 8 tables of 1 s, 4 at a time: {took:.2f} s (bar: 2.9)")
    assert took >= 2
    rows = select(db, "SELECT started, ended FROM onboard_runs"
                      " WHERE run_id = %s", (found["run_id"],))
    assert len(rows) == 8 and overlap(rows) <= 4


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_06_no_more_at_a_time(db, pg, api, start, mode):
    """Exactly ONBOARD_CONCURRENCY tables are running while none ends."""
    names = [f"t{n}" for n in range(6)]
    register(db, **{
        name: "SELECT pg_advisory_xact_lock_shared(1207) IS NULL"
        for name in names
    })
    start(ONBOARD_MODE=mode, ONBOARD_CONCURRENCY="3")

    def under_way():
        return value(db, "SELECT count(*) FROM pg_locks WHERE locktype ="
                         " 'advisory' AND objid = 1207 AND NOT granted")

    with contextlib.closing(pg.connect()) as holder:
        select(holder, "SELECT pg_advisory_lock(1207)")
        invocation = api.invoke(run(*names))
        process.wait_until(lambda: under_way() == 3, 30, "3 are under way")
    found = invocation.result()
    assert found["exported"] == 6
    if mode == "wait":
        rows = select(db, "SELECT started, ended FROM onboard_runs"
                          " WHERE run_id = %s", (found["run_id"],))
        assert overlap(rows) == 3


def test_the_largest_first(db, pg, api, start):
    """The order is that of the planner's estimates; tables without one come
    last, by name."""
    sizes = {"small": 10, "large": 1000, "middle": 100}
    pg.psql("".join(
        f"CREATE TABLE {name} AS SELECT generate_series(1, {size}) AS n;"
        f"ANALYZE {name}; GRANT SELECT ON {name} TO exporter;"
        for name, size in sizes.items()
    ))
    try:
        register(db, small=None, middle=None, large=None,
                 query="SELECT 1 AS n")
        start(ONBOARD_CONCURRENCY="1")
        found = api.invoke(scheduled()).result()
        assert found["rows"] == 1111
        rows = select(db, "SELECT name FROM onboard_runs WHERE run_id = %s"
                          " ORDER BY started", (found["run_id"],))
        assert [row["name"] for row in rows] == [
            "large", "middle", "small", "query"
        ]
    finally:
        pg.psql("DROP TABLE small, middle, large")


def test_07_the_deadline(db, api, start):
    register(db, a="SELECT 1 AS a", slow="SELECT pg_sleep(30) IS NULL")
    start()
    invocation = api.invoke(run(), timeout=6)
    found = summary(failing(invocation))
    assert invocation.ended_at < invocation.deadline
    assert (found["exported"], found["unfinished"]) == (1, 1)
    (failed,) = found["failures"]
    assert (failed["table"], failed["sqlstate"]) == ("slow", "deadline")
    process.wait_until(lambda: sessions(db) == 0, 10, "no session is left")


def test_a_table_that_outlives_the_deadline(
    db, s3, api, start, bucket, default_bucket
):
    """In mode submit it lands all the same, and a status event reports it."""
    register(db, a="SELECT 1 AS a", slow="SELECT pg_sleep(8) IS NULL AS s")
    start(ONBOARD_MODE="submit")
    invocation = api.invoke(run(), timeout=6)
    found = invocation.result()
    assert invocation.ended_at < invocation.deadline
    assert found["state"] == "running"
    value(db, "SELECT status FROM onboard_wait(%s)", (found["run_id"],))
    status = {"onboard": {"action": "status", "run_id": found["run_id"]}}
    found = api.invoke(status).result()
    assert (found["state"], found["exported"]) == ("done", 2)
    assert body(s3, bucket, key_of("slow")) == b"s\nf\n"


def test_nothing_is_registered(db, s3, api, start, bucket, default_bucket):
    """A job of no tables is done, now and in later status events."""
    start(ONBOARD_MODE="submit")
    found = api.invoke(run()).result()
    assert (found["state"], found["tables"]) == ("done", 0)
    row = value(
        db, "SELECT status FROM onboard_wait(%s, '30s')", (found["run_id"],)
    )
    assert row == "done"
    status = {"onboard": {"action": "status", "run_id": found["run_id"]}}
    found = api.invoke(status).result()
    assert (found["state"], found["tables"]) == ("done", 0)


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_08_killed(db, s3, rgw, api, start, bucket, default_bucket, mode):
    """The backend ends with its client; a job does not."""
    register(db, slow="SELECT pg_sleep(4) IS NULL AS s")
    function = start(ONBOARD_MODE=mode)
    event = scheduled()
    api.invoke(event)
    process.wait_until(
        lambda: value(db, "SELECT count(*) FROM pg_stat_activity WHERE"
                          " wait_event = 'PgSleep'") == 1,
        30, "the export is under way",
    )
    function.process.kill()
    process.wait_until(
        lambda: value(db, "SELECT count(*) FROM pg_stat_activity WHERE"
                          " wait_event = 'PgSleep'") == 0,
        20, "the export has ended",
    )
    if mode == "submit":
        value(db, "SELECT status FROM onboard_wait(%s)", (event["id"],))
        assert keys(s3, bucket) == [key_of("slow")]
    else:
        assert keys(s3, bucket) == []
        assert rgw.unfinished(bucket) == []


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_09_a_table_is_dropped(
    db, s3, api, start, kept, default_bucket, mode
):
    """Another delivery repeats only that table, as often as necessary."""
    register(db, a="SELECT 1 AS a", gone="SELECT * FROM gone_table")
    start(ONBOARD_MODE=mode)
    event = scheduled()
    status = {"onboard": {"action": "status", "run_id": event["id"]}}
    for delivery in range(3):
        found = summary(failing(api.invoke(event)))
        (failed,) = found["failures"]
        assert (failed["table"], failed["sqlstate"]) == ("gone", "42P01")
        assert (found["exported"], found["failed"]) == (1, 1)
        assert found["landed_before"] == (1 if delivery else 0)
    if mode == "submit":
        assert summary(failing(api.invoke(status)))["failed"] == 1
    select(db, "CREATE TABLE gone_table AS SELECT 5 AS n;"
               "GRANT SELECT ON gone_table TO exporter")
    try:
        found = api.invoke(event).result()
        assert (found["exported"], found["landed_before"]) == (2, 1)
    finally:
        select(db, "DROP TABLE gone_table")
    assert body(s3, kept, key_of("gone")) == b"n\n5\n"
    assert landings(s3, kept) == {key_of("a"): 1, key_of("gone"): 1}
    for again in (status, event):
        assert api.invoke(again).result()["exported"] == 2
    assert landings(s3, kept) == {key_of("a"): 1, key_of("gone"): 1}


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_09_long_texts(db, api, start, default_bucket, mode):
    """The database's messages are clipped between characters."""
    select(db, """
        CREATE FUNCTION raises(message text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%', message;
        END $$
    """)
    wholes = {
        f"t{n}": "x" * n + "\u8868\U0001f600" * 1000 for n in range(7)
    }
    register(db, **{
        name: f"SELECT raises('{whole}')" for name, whole in wholes.items()
    })
    try:
        start(ONBOARD_MODE=mode)
        found = summary(failing(api.invoke(scheduled())))
    finally:
        select(db, "DROP FUNCTION raises(text)")
    messages = {one["table"]: one["message"] for one in found["failures"]}
    assert set(messages) == set(wholes)
    for name, message in messages.items():
        assert message and wholes[name].startswith(message)


@pytest.mark.parametrize("mode", ["wait", "submit"])
def test_details(db, api, start, default_bucket, mode):
    """DETAIL is passed on, including S3's response, and clipped like messages.
    """
    select(db, """
        CREATE FUNCTION raises(detail text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'as wanted' USING DETAIL = detail;
        END $$
    """)
    long = "\u8868\U0001f600" * 1000
    register(
        db, a=f"SELECT raises('{long}')", b="SELECT raises('one\ntwo')",
        c="SELECT 1 / 0", d="SELECT 1 AS a",
    )
    select(db, "UPDATE onboard_tables SET bucket = 'no-such-bucket'")
    try:
        start(ONBOARD_MODE=mode, ONBOARD_BUCKET="no-such-bucket")
        found = summary(failing(api.invoke(scheduled())))
    finally:
        select(db, "DROP FUNCTION raises(text)")
    failures = {one["table"]: one for one in found["failures"]}
    assert set(failures) == set("abcd")
    cut = failures["a"]["detail"]
    assert 500 < len(cut.encode()) < 1024 and long.startswith(cut)
    assert failures["b"]["detail"] == "one"
    assert "detail" not in failures["c"]
    assert "NoSuchBucket" in failures["d"]["detail"]
    assert "request id" in failures["d"]["detail"]


@pytest.mark.parametrize("status", [403, 500, None], ids=str)
def test_10_next_without_an_event(api, start, status):
    """Such a response is not taken for an event, and the next request comes
    after a pause."""
    api.next_statuses = [status] * 50
    function = start()
    assert function.wait() != 0
    requests = api.requests_to("GET", "/invocation/next")
    # libcurl may repeat a request on a connection that has died
    assert 1 <= len(requests) <= 8
    assert not any("/response" in path for _, path in api.requests)


@pytest.mark.parametrize("what", ["secret", "variable"])
def test_11_an_error_at_the_start(api, start, what):
    env = {"ONBOARD_SECRETS": "missing"}
    if what == "variable":
        env = {"ONBOARD_MODE": "often"}
    function = start(**env)
    assert function.wait() != 0
    ((kind, document),) = api.init_errors
    assert kind == document["errorType"] == "Onboard.Configuration"
    assert ("missing" if what == "secret" else "ONBOARD_MODE") in (
        document["errorMessage"]
    )
    assert api.requests_to("GET", "/invocation/next") == []


def test_12_fan_out(db, api, start, moto):
    select(db, "INSERT INTO onboard_tables (name, query) SELECT 't' || n,"
               " 'SELECT 1' FROM generate_series(1, 250) n")
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    with InvokeApi(moto.access_key, moto.secret_key) as lam:
        refused = json.dumps({"__type": "ResourceNotFoundException",
                              "message": "no such function"}).encode()
        busy = json.dumps({"Reason": "CallerRateLimitExceeded"}).encode()
        lam.responses = {3: (429, busy), 7: (404, refused), 9: (500, b"")}
        lam.hold = threading.Event()
        start(ONBOARD_MODE="fanout", AWS_ENDPOINT_URL_LAMBDA=lam.endpoint)
        invocation = api.invoke(scheduled(), trace_id=trace)
        process.wait_until(lambda: lam.open_now == 16, 30, "16 are open")
        lam.hold.set()
        found = summary(failing(invocation))
        assert lam.refused == []
        assert (found["running"], found["failed"]) == (249, 1)
        assert len(lam.accepted) == 249
        assert lam.open_most == 16
        assert PASSWORD not in json.dumps(lam.accepted)
        assert all(headers.get("x-amzn-trace-id") == trace
                   for _, headers in lam.accepted)
        names = {
            name for payload, _ in lam.accepted
            for name in payload["onboard"]["tables"]
        }
        names |= {failed["table"] for failed in found["failures"]}
        assert len(names) == 250
        for payload, _ in lam.accepted:
            assert set(payload["onboard"]) == {
                "action", "run_id", "depth", "tables"
            }
        # An unregistered table is reported by the parent, not by a child; and
        # the trace id is not kept for the next event.
        count = len(lam.accepted)
        found = summary(failing(api.invoke(run("t1", "nope"))))
        assert (found["running"], found["failures"][0]["table"]) == (1, "nope")
        ((payload, headers),) = lam.accepted[count:]
        assert payload["onboard"]["tables"] == ["t1"]
        assert "x-amzn-trace-id" not in headers
        # A child does not invoke others.
        child = lam.accepted[0][0]
        count = len(lam.accepted)
        assert api.invoke(child).result()["exported"] == 1
        assert len(lam.accepted) == count


def test_13_signatures(db, api, start, moto):
    """moto verifies signatures: a wrong key is refused, the right one is not,
    nor are a role's temporary ones with their session token."""
    register(db, a="SELECT 1 AS a")
    function = start(AWS_SECRET_ACCESS_KEY="wrong" * 8)
    assert function.wait() != 0
    assert "HTTP 403" in "".join(function.lines)
    start()
    assert api.invoke(run()).result()["exported"] == 1
    keys = moto.role_keys
    with InvokeApi(keys["AccessKeyId"], keys["SecretAccessKey"],
                   keys["SessionToken"]) as lam:
        other = RuntimeApi()
        with other:
            start(
                api=other, ONBOARD_MODE="fanout",
                AWS_ENDPOINT_URL_LAMBDA=lam.endpoint,
                AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
                AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
                AWS_SESSION_TOKEN=keys["SessionToken"],
            )
            assert other.invoke(run()).result()["running"] == 1
        assert lam.refused == []
        ((_, headers),) = lam.accepted
        assert headers["x-amz-security-token"] == keys["SessionToken"]


BAD = {
    "conn": {"table_name": "a", "sql_query": "SELECT 1", "conn": "postgres"},
    "query": run("a", sql_query="SELECT 1"),
    "unknown": {"hello": "world"},
    "array": [1, 2],
    "source": {**scheduled(), "source": "me"},
    "action": {"onboard": {"action": "drop"}},
    "both": {**run(), **scheduled()},
    "depth": {"onboard": {"action": "table", "depth": 2, "tables": ["a"],
                          "run_id": str(uuid.uuid4())}},
    "deep": {"onboard": {"action": "table", "depth": 2 ** 32 + 1,
                         "tables": ["a"], "run_id": str(uuid.uuid4())}},
    "schedule": run(schedule_arn="arn:aws:scheduler:x"),
    "time": run(schedule_arn="arn:aws:scheduler:x", scheduled_time=5),
    "child": {"onboard": {"action": "table", "depth": 1, "tables": ["a"],
                          "run_id": str(uuid.uuid4()), "conn": "postgres"}},
    "names": run("a", "a"),
    "run_id": run(run_id="x'; DROP TABLE onboard_runs; --"),
    "text": b"hello",
    "nested": b"[" * 1000000,
    "twice": b'{"onboard": {"action": "run", "action": "status"}}',
    "empty": b"",
}


@pytest.mark.parametrize("bad", list(BAD))
def test_14_bad_events(db, api, start, bad):
    register(db, a="SELECT 1 AS a")
    start()
    before = value(db, "SELECT count(*) FROM onboard_history")
    assert failing(api.invoke(BAD[bad])).type == "Onboard.BadEvent"
    assert value(db, "SELECT count(*) FROM onboard_history") == before
    # The function goes on.
    assert api.invoke(run()).result()["exported"] == 1


def memory(pid, name):
    """VmRSS, or VmHWM: its maximum."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")


@pytest.fixture
def trusted(pg):
    """No password is needed: hashing it takes most of the time of a short run.
    """
    path = pg.datadir + "/pg_hba.conf"
    with open(path) as hba:
        rules = hba.read()
    try:
        with open(path, "w") as hba:
            hba.write("host all exporter 127.0.0.1/32 trust\n" + rules)
        pg.psql("SELECT pg_reload_conf()")
        yield
    finally:
        with open(path, "w") as hba:
            hba.write(rules)
        pg.psql("SELECT pg_reload_conf()")


def test_15_a_thousand_events(db, api, start, trusted):
    """Memory and descriptors stay level, whatever the events are."""
    register(db, a="SELECT 1 WHERE false")
    function = start()
    pid = function.process.pid

    def use():
        return memory(pid, "VmRSS"), len(os.listdir(f"/proc/{pid}/fd"))

    def exported():
        assert api.invoke(run()).result()["empty"] == 1

    def failed():
        assert summary(failing(api.invoke(run("nope"))))["failed"] == 1

    def status():
        event = {"onboard": {"action": "status", "run_id": str(uuid.uuid4())}}
        assert api.invoke(event).result()["tables"] == 0

    def refused():
        assert failing(api.invoke({"x": 1})).type == "Onboard.BadEvent"

    kinds = (exported, failed, status, refused)
    for n in range(1000):
        kinds[n % len(kinds)]()
        if n == 99:
            early = use()
    late = use()
    assert late[1] <= early[1]
    assert late[0] - early[0] < 4 * 1024 * 1024


def test_variables_of_an_earlier_program(db, s3, api, start, secret, bucket):
    """A deployment of an earlier program moves to this one by replacing the
    code."""
    register(db, a="SELECT 1 AS n, NULL AS nothing")
    start(ONBOARD_SECRETS="", DBsecret=secret, ONBOARD_BUCKET="",
          targetS3Bucket=bucket, TargetLoc="lake/")
    assert api.invoke(scheduled()).result()["exported"] == 1
    landed = json.loads(body(s3, bucket, "lake/a/data/inbox/a_data.json"))
    assert landed == {"Results": [{"n": 1, "nothing": None}]}


def test_tables_of_the_file(db, s3, api, start, bucket, tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "table_sql.json").write_text(json.dumps({
        "Tables": [
            {"table_name": "one", "sql_query": "SELECT 1 AS n"},
            {"table_name": "two", "sql_query": "SELECT 2 AS n"},
        ]
    }))
    start(ONBOARD_TABLES="file", LAMBDA_TASK_ROOT=str(tmp_path))
    assert api.invoke(scheduled()).result()["exported"] == 2
    assert body(s3, bucket, key_of("two")) == b"n\n2\n"
    assert api.invoke(run("one")).result()["tables"] == 1
    found = summary(failing(api.invoke(run("three"))))
    assert found["failures"][0]["sqlstate"] == "42704"
    (config / "table_sql.json").write_text('{"Tables": [{"a": 1}]}')
    assert "no table_name" in failing(api.invoke(scheduled())).message


@pytest.mark.parametrize("fail_on", ["any", "all", "never"])
def test_fail_on(db, api, start, fail_on):
    register(db, a="SELECT 1 AS a", wrong="SELECT 1 / 0")
    start(ONBOARD_FAIL_ON=fail_on)
    invocation = api.invoke(run())
    if fail_on == "any":
        assert summary(failing(invocation))["state"] == "partial"
    else:
        assert invocation.result()["state"] == "partial"
    invocation = api.invoke(run("wrong"))
    if fail_on == "never":
        assert invocation.result()["state"] == "failed"
    else:
        assert summary(failing(invocation))["state"] == "failed"


def test_an_idle_wait_costs_nothing(db, api, start):
    """Even 1,000 tables that take no time need little."""
    select(db, "INSERT INTO onboard_tables (name, query) SELECT 't' || n,"
               " 'SELECT 1 WHERE false' FROM generate_series(1, 1000) n")
    function = start(ONBOARD_CONCURRENCY="8")
    assert api.invoke(run(), timeout=300).result(200)["empty"] == 1000
    most = memory(function.process.pid, "VmHWM")
    figure(f"1,000 tables: at most {most / 1024 / 1024:.1f} MB (bar: 64)")
    assert most < 64 * 1024 * 1024
    select(db, "DELETE FROM onboard_tables")
    register(db, slow="SELECT pg_sleep(3) IS NULL")

    def used():
        with open(f"/proc/{function.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    before = used()
    assert api.invoke(run()).result()["exported"] == 1
    took = used() - before
    figure(f"an idle wait of 3 s: {took:.2f} s of CPU")
    # a busy loop would use 3
    assert took < 0.3


def test_the_package_in_an_empty_root(
    db, pg, s3, api, moto, authority, bucket, tmp_path
):
    """There is only the unpacked zip, where Lambda would put it; its bundle of
    authorities verifies AWS and the database."""
    root = pathlib_root()
    package = root / "build" / "lambda" / "onboard-lambda.zip"
    process.run(
        ["/usr/bin/python3", str(root / "deploy" / "package.py"), "zip",
         str(package.parent)], timeout=300,
    )
    assert package.stat().st_size < 30 * 1000 * 1000
    task = tmp_path / "var" / "task"
    task.mkdir(parents=True)
    process.run(["/usr/bin/python3", "-m", "zipfile", "-e", str(package),
                 str(task)])
    for path in (task / "bootstrap", *(task / "lib").iterdir()):
        path.chmod(0o755)
    bundle = (task / "ca.pem").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 50
    own = pathlib.Path(authority.ca_file).read_text()
    (task / "ca.pem").write_text(bundle + own)
    program = process.run(["readelf", "-lV", str(task / "bootstrap")])
    assert "interpreter: /var/task/lib/ld-linux" in program
    versions = re.findall(r"GLIBC_2\.(\d+)", program)
    assert versions and max(map(int, versions)) <= 34
    secret = make_secret(moto, pg, sslmode="verify-full")
    register(db, a="SELECT 1 AS a")
    aws = Proxy(moto.endpoint, tls=authority.context())
    with aws, Function(
        api, ["chroot", str(tmp_path), "/var/task/bootstrap"],
        {
            "ONBOARD_SECRETS": secret, "ONBOARD_BUCKET": bucket,
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_ACCESS_KEY_ID": moto.access_key,
            "AWS_SECRET_ACCESS_KEY": moto.secret_key,
            "AWS_ENDPOINT_URL": aws.endpoint,
        },
    ) as function:
        assert api.invoke(scheduled()).result()["exported"] == 1, (
            function.lines
        )
    assert body(s3, bucket, key_of("a")) == b"a\n1\n"


def pathlib_root():
    return PROGRAM.parent.parent.parent
