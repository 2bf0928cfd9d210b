"""The registry, onboard_all() and the history."""

import json
import os
import pathlib

import pytest

from lib import process
from lib.exports import (
    Running, body, copy, failure, key_of, keys, land, land_all, no_upload_left,
    rows, select, value, wait_for_event, wait_for_worker,
)

EXAMPLE = (
    pathlib.Path(__file__).parent.parent.parent / "examples" / "table_sql.json"
)
REGISTRY = (
    "SELECT name, query, bucket, options, enabled FROM onboard_tables"
    " ORDER BY name"
)


def load(db, *tables):
    config = json.dumps({"Tables": tables})
    return value(db, "SELECT onboard_register(%s)", (config,))


def register(db, bucket, **queries):
    load(
        db,
        *(
            {"table_name": name, "sql_query": query, "bucket": bucket}
            for name, query in queries.items()
        ),
    )


def outcome(found):
    return [(row["name"], row["status"]) for row in found]


# onboard_register()


def test_load_the_example(db, registry):
    config = EXAMPLE.read_text()
    tables = json.loads(config)["Tables"]
    found = value(db, "SELECT onboard_register(%s)", (config,))
    assert found == len(tables) == 4
    assert select(db, REGISTRY) == sorted(
        (
            {
                "name": table["table_name"],
                "query": table["sql_query"],
                "bucket": None,
                "options": {},
                "enabled": True,
            }
            for table in tables
        ),
        key=lambda row: row["name"],
    )


def test_load_again(db, registry):
    """Members of an entry replace its values; all other values stay."""
    full = {
        "table_name": "t",
        "sql_query": "SELECT 1",
        "bucket": "lake",
        "options": {"format": "text"},
        "enabled": False,
    }
    assert load(db, full, {"table_name": "other"}) == 2
    other, before = select(db, REGISTRY)
    assert list(other.values()) == ["other", None, None, {}, True]
    assert list(before.values()) == [
        "t", "SELECT 1", "lake", {"format": "text"}, False
    ]
    assert load(db, {"table_name": "t"}) == 1
    assert select(db, REGISTRY) == [other, before]
    for key, given, column, stored in [
        ("sql_query", "SELECT 2", "query", "SELECT 2"),
        ("sql_query", None, "query", None),
        ("bucket", "sea", "bucket", "sea"),
        ("bucket", None, "bucket", None),
        ("options", {}, "options", {}),
        ("enabled", True, "enabled", True),
    ]:
        assert load(db, {"table_name": "t", key: given}) == 1
        before[column] = stored
        assert select(db, REGISTRY) == [other, before]


def test_load_nothing(db, registry):
    assert load(db) == 0
    assert select(db, REGISTRY) == []


def test_load_odd_names(db, registry):
    names = ['a"b', "a'b", "ä b", "a\\b", "x" * 1000]
    assert load(db, *({"table_name": name} for name in names)) == 5
    assert sorted(row["name"] for row in select(db, REGISTRY)) == sorted(names)


REFUSED = {
    "[]": '"Tables"',
    "{}": '"Tables"',
    '{"tables": []}': '"Tables"',
    '{"Tables": {}}': '"Tables"',
    '{"Tables": ["t"]}': "must be an object",
    '{"Tables": [{}]}': '"table_name" is missing',
    '{"Tables": [{"table_name": ""}]}': '"table_name" is missing',
    '{"Tables": [{"table_name": null}]}': '"table_name" is missing',
    '{"Tables": [{"table_name": 1}]}': '"table_name" must be a string',
    '{"Tables": [{"table_name": "t", "sql_query": 1}]}':
        '"sql_query" must be a string',
    '{"Tables": [{"table_name": "t", "bucket": []}]}':
        '"bucket" must be a string',
    '{"Tables": [{"table_name": "t", "options": []}]}': "object",
    '{"Tables": [{"table_name": "t", "options": null}]}': "object",
    '{"Tables": [{"table_name": "t", "options": {"x": 1}}]}': '"x"',
    '{"Tables": [{"table_name": "t", "options": {"format": "xml"}}]}': "xml",
    '{"Tables": [{"table_name": "t", "enabled": "yes"}]}':
        '"enabled" must be true or false',
    '{"Tables": [{"table_name": "t", "query": "SELECT 1"}]}':
        'unknown key "query"',
    '{"Tables": [{"table_name": "t", "sql_query": ""}]}': "empty",
    '{"Tables": [{"table_name": "t", "sql_query": "DELETE FROM t"}]}':
        "not a SELECT",
    '{"Tables": [{"table_name": "t"}, {"table_name": "t"}]}': "occurs twice",
}


@pytest.mark.parametrize("config", list(REFUSED))
def test_load_refuses(db, registry, config):
    """The configuration is refused as a whole: even a good entry is not
    registered."""
    for text in (
        config,
        config.replace('"Tables": [', '"Tables": [{"table_name": "good"}, '),
    ):
        error = failure(select, db, "SELECT onboard_register(%s)", (text,))
        assert error.pgcode == "22023"
        assert REFUSED[config] in str(error)
        assert select(db, REGISTRY) == []


def test_load_refuses_null_and_junk(db, registry):
    error = failure(select, db, "SELECT onboard_register(NULL)")
    assert error.pgcode == "22004"
    error = failure(select, db, "SELECT onboard_register('{')")
    assert error.pgcode == "22P02"


# onboard_all()


@pytest.mark.parametrize("workers", [0, 4])
def test_all(db, rgw, s3, registry, bucket, workers):
    """Each table has a row, whatever its outcome."""
    select(db, f"SET onboard.parallel_tables = {workers}")
    register(
        db, bucket,
        d_big=rows(20),
        c_small="SELECT 1 AS one",
        b_empty="SELECT 1 AS one WHERE false",
        a_wrong="SELECT 1 / 0",
        e_wrong_late=rows(20, "1 / (g - 18000), repeat('x', 1000)"),
        f_syntax="SELECT 1 AS f",
    )
    select(
        db, "UPDATE onboard_tables SET query = 'SELEC 1'"
        " WHERE name = 'f_syntax'"
    )
    select(db, "INSERT INTO onboard_tables VALUES ('g_no_bucket', 'SELECT 1')")
    found = land_all(db)
    assert outcome(found) == [
        ("a_wrong", "failed"), ("b_empty", "empty"), ("c_small", "done"),
        ("d_big", "done"), ("e_wrong_late", "failed"), ("f_syntax", "failed"),
        ("g_no_bucket", "failed"),
    ]
    (run_id,) = {row["run_id"] for row in found}
    wrong, empty, small, big, late, syntax, no_bucket = found
    assert wrong["error"] == late["error"] == "division by zero"
    assert "syntax error" in syntax["error"]
    assert "no bucket is given" in no_bucket["error"]
    for row in (empty, small, big):
        assert row["error"] is None
    for row in (wrong, empty, late, syntax, no_bucket):
        assert (row["uri"], row["files"], row["rows"], row["bytes"]) == (
            None, 0, 0, 0
        )
    assert small["uri"] == f"s3://{bucket}/{key_of('c_small')}"
    assert (small["files"], small["rows"], small["bytes"]) == (1, 1, 6)
    assert (big["files"], big["rows"]) == (1, 20000)
    assert big["elapsed"].total_seconds() > 0

    warnings = "".join(db.notices)
    for row in found:
        expected = f'WARNING:  could not export "{row["name"]}": '
        assert (expected in warnings) == (row["status"] == "failed")

    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("c_small"), key_of("d_big")]
    assert body(s3, bucket, key_of("d_big")) == copy(db, rows(20))

    history = select(
        db, "SELECT * FROM onboard_runs WHERE run_id = %s ORDER BY name",
        (run_id,),
    )
    for row, kept in zip(found, history, strict=True):
        for column in ("name", "status", "uri", "files", "rows", "bytes",
                       "error", "detail"):
            assert kept[column] == row[column]
        assert kept["role"] == "postgres"
        assert kept["ended"] - kept["started"] == row["elapsed"]
    assert [row["sqlstate"] for row in history] == [
        "22012", None, None, None, "22012", "42601", "22023"
    ]


def test_pattern(db, s3, registry, bucket):
    register(
        db, bucket,
        orders="SELECT 1", order_items="SELECT 1", customers="SELECT 1",
    )
    assert [row["name"] for row in land_all(db, "order%")] == [
        "order_items", "orders"
    ]
    assert [row["name"] for row in land_all(db, "order_")] == ["orders"]
    assert [row["name"] for row in land_all(db, r"order\_%")] == [
        "order_items"
    ]
    assert land_all(db, "Orders") == []
    assert "no enabled table is registered" in "".join(db.notices)
    assert key_of("customers") not in keys(s3, bucket)
    assert len(land_all(db)) == 3


def test_disabled_tables(db, s3, registry, bucket):
    """onboard_all() skips them; onboard_table() exports them when it is called.
    """
    register(db, bucket, off="SELECT 1", on="SELECT 1")
    load(db, {"table_name": "off", "enabled": False})
    assert outcome(land_all(db)) == [("on", "done")]
    assert keys(s3, bucket) == [key_of("on")]
    assert land(db, "off", None, None)["status"] == "done"


def test_tables_without_a_query(db, s3, registry, bucket):
    """Their name is the table's, or even schema.table."""
    select(
        db,
        """
        CREATE TABLE plain AS SELECT 1 AS one;
        CREATE SCHEMA sub;
        CREATE TABLE sub."Odd name" AS SELECT 2 AS two;
        """,
    )
    try:
        load(
            db,
            {"table_name": "plain", "bucket": bucket},
            {"table_name": 'sub."Odd name"', "bucket": bucket},
            {"table_name": "nonesuch", "bucket": bucket},
        )
        found = land_all(db)
        assert outcome(found) == [
            ("nonesuch", "failed"), ("plain", "done"),
            ('sub."Odd name"', "done"),
        ]
        assert body(s3, bucket, key_of("plain")) == b"one\n1\n"
        odd = key_of("sub.%22Odd%20name%22")
        assert body(s3, bucket, odd) == b"two\n2\n"
    finally:
        select(db, "DROP TABLE plain; DROP SCHEMA sub CASCADE")


def test_on_error_raise(db, s3, registry, bucket):
    register(
        db, bucket, a="SELECT 1", b="SELECT 1 / 0", c="SELECT 1"
    )
    error = failure(land_all, db, on_error="raise")
    assert error.pgcode == "38000"
    assert error.diag.message_primary == (
        "1 of 3 tables could not be exported; the first error was that of"
        ' "b": division by zero'
    )
    assert error.diag.message_detail == (
        'These failed: "b". Each of them was reported in a warning.'
    )
    assert 'could not export "b": division by zero' in "".join(db.notices)
    # The error comes at the end of the call: the others have landed.
    assert keys(s3, bucket) == [key_of("a"), key_of("c")]
    register(db, bucket, b="SELECT 2")
    assert outcome(land_all(db, on_error="raise")) == [
        ("a", "done"), ("b", "done"), ("c", "done")
    ]


def test_on_error_raise_of_many(db, registry, bucket):
    """The error has some names and the number of the others; its text is that
    of the first failed table."""
    register(db, bucket, **{f"t{n:02}": f"SELECT {n} / 0" for n in range(30)})
    select(db, "SET onboard.parallel_tables = 0")
    error = failure(land_all, db, on_error="raise")
    assert error.diag.message_primary == (
        "30 of 30 tables could not be exported; the first error was that of"
        ' "t00": division by zero'
    )
    names = ", ".join(f'"t{n:02}"' for n in range(20))
    assert f"These failed: {names} and 10 more." in error.diag.message_detail


def test_layers_of_options(db, s3, registry, bucket, make_server, rgw):
    """The call overrides the registry, and the registry overrides the server.
    """
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix="of/server/",
        bucket=bucket,
    )
    query = "SELECT 1 AS a, NULL AS b, 'x,y' AS c"
    load(
        db,
        {"table_name": "all_default", "sql_query": query},
        {
            "table_name": "some",
            "sql_query": query,
            "options": {"format": "text", "null": "none", "key": "some.{ext}"},
        },
    )
    assert outcome(land_all(db, server=server)) == [
        ("all_default", "done"), ("some", "done")
    ]
    landed = f"of/server/{key_of('all_default')}"
    assert body(s3, bucket, landed) == b'a,b,c\n1,,"x,y"\n'
    assert body(s3, bucket, "some.txt") == b"1\tnone\tx,y\n"
    options = {"server": server, "delimiter": "|"}
    assert outcome(land_all(db, "some", **options)) == [("some", "done")]
    assert body(s3, bucket, "some.txt") == b"1|none|x,y\n"
    assert land(db, "some", None, None, **options, null="N")["rows"] == 1
    assert body(s3, bucket, "some.txt") == b"1|N|x,y\n"
    assert land(db, "some", "VALUES (7)", None, **options)["rows"] == 1
    assert body(s3, bucket, "some.txt") == b"7\n"


def test_wrong_options_of_the_call(db, s3, registry, bucket):
    """They fail the call, not its tables."""
    register(db, bucket, a="SELECT 1")
    assert failure(land_all, db, form="csv").pgcode == "22023"
    assert failure(land_all, db, format="xml").pgcode == "22023"
    assert keys(s3, bucket) == []


def test_wrong_options_in_the_registry(db, s3, registry, bucket):
    """INSERT accepts options that onboard_register() would refuse: that table
    fails."""
    register(db, bucket, a="SELECT 1", b="SELECT 1")
    select(
        db, """UPDATE onboard_tables SET options = '{"form": "csv"}'
        WHERE name = 'a'"""
    )
    found = land_all(db)
    assert outcome(found) == [("a", "failed"), ("b", "done")]
    assert '"form"' in found[0]["error"]


def test_two_tables_on_one_key(db, s3, registry, bucket):
    register(db, bucket, a="SELECT 1", b="SELECT 2", c="SELECT 3")
    for name in ("a", "c"):
        load(db, {"table_name": name, "options": {"key": "same.csv"}})
    error = failure(land_all, db)
    assert error.pgcode == "42710"
    assert f'"a" and "c" would both land at "s3://{bucket}/same.csv"' in (
        str(error)
    )
    assert "{name}" in error.diag.message_hint
    assert keys(s3, bucket) == []
    assert outcome(land_all(db, "a")) == [("a", "done")]
    assert outcome(land_all(db, key="{name}")) == [
        ("a", "done"), ("b", "done"), ("c", "done")
    ]


@pytest.mark.parametrize("workers", [0, 4])
def test_one_snapshot(pg, db, s3, registry, bucket, workers):
    """Rows that are committed while the first table is exported are in no
    object."""
    select(db, f"SET onboard.parallel_tables = {workers}")
    select(
        db, "CREATE TABLE changing AS SELECT g FROM generate_series(1, 9) g"
    )
    other = pg.connect("onboard")
    try:
        register(
            db, bucket,
            a="SELECT pg_advisory_xact_lock(42) IS NULL AS locked,"
            " (SELECT count(*) FROM changing) AS n",
            b="SELECT count(*) AS n FROM changing",
            changing="TABLE changing",
        )
        select(other, "SELECT pg_advisory_lock(42)")
        with Running(db, "SELECT * FROM onboard_all() ORDER BY name") as run:
            if workers:
                wait_for_worker(other, "advisory")
            else:
                wait_for_event(other, run.pid, "advisory")
            select(other, "INSERT INTO changing VALUES (10)")
            select(other, "SELECT pg_advisory_unlock(42)")
            found = run.rows()
        assert outcome(found) == [
            ("a", "done"), ("b", "done"), ("changing", "done")
        ]
        assert body(s3, bucket, key_of("a")) == b"locked,n\nf,9\n"
        assert body(s3, bucket, key_of("b")) == b"n\n9\n"
        assert found[2]["rows"] == 9
        assert value(db, "SELECT count(*) FROM changing") == 10
    finally:
        other.close()
        select(db, "DROP TABLE changing")


@pytest.mark.parametrize(
    "workers, isolation, volatility, seen",
    [
        (0, "read committed", "VOLATILE", 10),
        (0, "read committed", "STABLE", 9),
        (0, "repeatable read", "VOLATILE", 9),
        (4, "read committed", "VOLATILE", 9),
    ],
)
def test_what_a_volatile_function_sees(
    pg, db, s3, registry, bucket, workers, isolation, volatility, seen
):
    """As documented, that is not always the run's instant."""
    select(db, f"SET onboard.parallel_tables = {workers}")
    select(db, f"SET default_transaction_isolation = '{isolation}'")
    select(
        db, "CREATE TABLE changing AS SELECT g FROM generate_series(1, 9) g;"
        f"CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql {volatility}"
        " AS $$ BEGIN RETURN (SELECT count(*) FROM changing); END $$",
    )
    other = pg.connect("onboard")
    try:
        register(
            db, bucket,
            a="SELECT pg_advisory_xact_lock(42) IS NULL AS locked,"
            " counted() AS n",
            b="SELECT count(*) AS n FROM changing",
        )
        select(other, "SELECT pg_advisory_lock(42)")
        with Running(db, "SELECT * FROM onboard_all() ORDER BY name") as run:
            if workers:
                wait_for_worker(other, "advisory")
            else:
                wait_for_event(other, run.pid, "advisory")
            select(other, "INSERT INTO changing VALUES (10)")
            select(other, "SELECT pg_advisory_unlock(42)")
            run.rows()
        assert body(s3, bucket, key_of("a")) == b"locked,n\nf,%d\n" % seen
        assert body(s3, bucket, key_of("b")) == b"n\n9\n"
    finally:
        other.close()
        select(db, "DROP FUNCTION counted(); DROP TABLE changing")


@pytest.mark.parametrize("how", ["cancel", "timeout", "terminate"])
def test_all_is_ended_as_a_whole(pg, db, rgw, s3, registry, bucket, how):
    """An interrupt fails the run, not the table that it happens to hit."""
    sleep = (
        "CASE g WHEN 18000 THEN pg_sleep(300)::text"
        " ELSE repeat('x', 1000) END AS text"
    )
    register(db, bucket, a="SELECT 1", b=rows(20, sleep), c="SELECT 1")
    session, observer = pg.connect("onboard"), pg.connect("onboard")
    runs = value(db, "SELECT count(*) FROM onboard_runs")
    select(session, "SET onboard.parallel_tables = 0")
    if how == "timeout":
        select(session, "SET statement_timeout = '2s'")
    with Running(session, "SELECT * FROM onboard_all()") as run:
        wait_for_event(observer, run.pid, "PgSleep")
        if how != "timeout":
            select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        error = run.error()
    if how != "terminate":
        assert error.pgcode == "57014"
        assert land(session, "again", "SELECT 1", bucket)["rows"] == 1
        s3.delete_object(Bucket=bucket, Key=key_of("again"))
        runs += 1
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("a")]
    assert value(db, "SELECT count(*) FROM onboard_runs") == runs
    session.close()
    observer.close()


def test_all_from_a_function(db, s3, registry, bucket):
    register(db, bucket, a="SELECT 1", b="SELECT 1 / 0", c="SELECT 1")
    select(
        db,
        """
        CREATE FUNCTION pg_temp.nightly() RETURNS text LANGUAGE plpgsql AS $$
        DECLARE
            found record;
            text text := '';
        BEGIN
            FOR found IN SELECT * FROM onboard_all() ORDER BY name LOOP
                text := text || found.name || ':' || found.status || ' ';
            END LOOP;
            RETURN text;
        END $$
        """,
    )
    for _ in range(2):
        expected = "a:done b:failed c:done "
        assert value(db, "SELECT pg_temp.nightly()") == expected


# Backups


def test_dump_and_restore(pg, db, registry, bucket):
    """Both tables are user data, so pg_dump includes them."""
    register(db, bucket, kept="SELECT 1", wrong="SELECT json '{'")
    load(db, {"table_name": "kept", "options": {"format": "text"}})
    kept, wrong = land_all(db)
    assert kept["detail"] is None
    assert wrong["detail"] == "The input string ended unexpectedly."
    # In another database, a job of another test that still runs is lost.
    tables = ("TABLE onboard_tables ORDER BY name",
              "SELECT * FROM onboard_runs WHERE status <> ALL"
              " ('{queued,running,lost}') ORDER BY run_id, name")
    expected = [select(db, sql) for sql in tables]
    # Mappings are not restored: their secrets must not be logged.
    dump = process.run(
        [
            os.path.join(pg.bindir, "pg_dump"), "-h", pg.folder, "-p",
            pg.settings["port"], "-U", "postgres", "-e", "onboard", "onboard",
        ]
    )
    assert "CREATE EXTENSION" in dump and "CREATE USER MAPPING" not in dump
    pg.psql("CREATE DATABASE restored")
    try:
        pg.psql(dump, "restored")
        restored = pg.connect("restored")
        try:
            assert [select(restored, sql) for sql in tables] == expected
            error = failure(
                select, restored, "INSERT INTO onboard_tables VALUES ('kept')"
            )
            assert error.pgcode == "23505"
        finally:
            restored.close()
    finally:
        pg.psql("DROP DATABASE restored WITH (FORCE)")
