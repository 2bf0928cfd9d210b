"""_schema.json: what stands beside an object, when, and when not."""

import json

import pytest

from lib.exports import (
    Running, body, failure, key_of, keys, land, land_all, map_user, register, select,
    statuses, value,
)
from lib.proxy import s3_error

SERIAL, WORKERS = 0, 4
FILE = "_schema.json"
BESIDE = {name: key_of(name).rpartition("/")[0] + "/" + FILE for name in "abtu"}


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request, db):
    select(db, f"SET onboard.parallel_tables = {request.param}")
    select(db, "SET onboard.retry_deadline = '100ms'")
    return request.param


def schema(s3, bucket, key):
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["ContentType"] == "application/json"
    return json.loads(found["Body"].read())


@pytest.fixture
def table(db):
    select(db, """
        CREATE TYPE schema_pair AS (a int, "b c" text);
        CREATE TABLE schema_table (
            id bigint NOT NULL, price numeric(10,2), note varchar(20), tags text[],
            pair schema_pair, doc jsonb, at timestamptz NOT NULL);
        COMMENT ON COLUMN schema_table.price IS E'in \\u20ac, "net"';
        CREATE VIEW schema_view AS SELECT id, price AS cost FROM schema_table;
        COMMENT ON COLUMN schema_view.cost IS 'of the view';
        INSERT INTO schema_table (id, at) VALUES (1, now())""")
    yield
    select(db, """DROP VIEW schema_view; DROP TABLE schema_table;
        DROP TYPE schema_pair""")


COLUMNS = [
    ("id", "bigint", False, None),
    ("price", "numeric(10,2)", True, 'in \u20ac, "net"'),
    ("note", "character varying(20)", True, None),
    ("tags", "text[]", True, None),
    ("pair", "schema_pair", True, None),
    ("doc", "jsonb", True, None),
    ("at", "timestamp with time zone", False, None),
]
CSV = {"name": "csv", "compression": "gzip", "encoding": "UTF8", "header": False,
       "delimiter": "\x01", "null": "\\N", "quote": "'", "escape": "\\"}


@pytest.mark.parametrize("format, member, types", [
    ("parquet", "parquet_type", [
        "INT64", "DECIMAL(10,2)", "STRING", "LIST<STRING>",
        'STRUCT<"a": INT32, "b c": STRING>', "JSON", "TIMESTAMP(true,MICROS)"]),
    ("jsonl", "json_type", [
        "number", "number", "string", "array", "object", "any", "string"]),
    ("csv", None, None),
    ("binary", None, None),
])
def test_content(db, s3, bucket, table, format, member, types):
    options = {key: value for key, value in CSV.items() if key != "name"}
    if format != "csv":
        options = {}
    land(db, "t", "SELECT * FROM schema_table", bucket, format=format, schema=True,
         **options)
    content = schema(s3, bucket, BESIDE["t"])
    found = content.pop("format")
    assert found["name"] == format
    assert format != "csv" or found == CSV
    wanted = [
        {"name": name, "type": type, "nullable": nullable, "comment": comment,
         **({member: types[i]} if member else {})}
        for i, (name, type, nullable, comment) in enumerate(COLUMNS)
    ]
    assert content == {"version": 1, "name": "t", "columns": wanted}


@pytest.mark.parametrize("query, nullable, comment", [
    ("SELECT price AS id FROM schema_table", True, COLUMNS[1][3]),
    ("SELECT id FROM schema_table WHERE id > 0 ORDER BY 1", False, None),
    ("SELECT id + 1 AS id FROM schema_table", True, None),
    ("SELECT x.id FROM schema_table y LEFT JOIN schema_table x ON false", True, None),
    ("SELECT id FROM (SELECT id FROM schema_table) x", True, None),
    ("SELECT id FROM schema_view", True, None),
    ("SELECT cost AS id FROM schema_view", True, "of the view"),
    ("SELECT id FROM schema_table GROUP BY ROLLUP (id)", True, None),
    ("SELECT id FROM schema_table UNION ALL SELECT NULL", True, None),
    ("SELECT tableoid AS id FROM schema_table", True, None),
    ("SELECT NULL AS id", True, None),
    ("VALUES (1)", True, None),
])
def test_origin(db, s3, bucket, table, query, nullable, comment):
    land(db, "t", query, bucket, schema=True)
    (column,) = schema(s3, bucket, BESIDE["t"])["columns"]
    assert (column["nullable"], column["comment"]) == (nullable, comment)


@pytest.mark.parametrize("source, nullable", [
    ("ONLY schema_parent", False), ("schema_parent", True), ("schema_child", True),
    ("schema_parts", False), ("schema_mixed", True), ("schema_whole", False),
])
def test_rows_of_other_tables(db, s3, bucket, source, nullable):
    """Children need not have their parent's constraints, and foreign tables
    do not enforce theirs."""
    select(db, """
        CREATE TABLE schema_parent (id int);
        CREATE TABLE schema_child () INHERITS (schema_parent);
        INSERT INTO schema_child VALUES (NULL);
        CREATE TABLE schema_parts (id int NOT NULL) PARTITION BY LIST (id);
        CREATE TABLE schema_whole PARTITION OF schema_parts FOR VALUES IN (1);
        CREATE TABLE schema_mixed (id int NOT NULL) PARTITION BY LIST (id);
        CREATE FOREIGN DATA WRAPPER schema_wrapper;
        CREATE SERVER schema_server FOREIGN DATA WRAPPER schema_wrapper;
        CREATE FOREIGN TABLE schema_foreign PARTITION OF schema_mixed
            FOR VALUES IN (1) SERVER schema_server""")
    try:
        if int(value(db, "SHOW server_version_num")) < 180000:
            select(db, "ALTER TABLE ONLY schema_parent ALTER id SET NOT NULL")
        else:
            select(db, "ALTER TABLE schema_parent"
                   " ADD CONSTRAINT n NOT NULL id NO INHERIT")
        land(db, "t", f"SELECT id FROM {source} WHERE id = 2", bucket, schema=True,
             empty="write")
        (column,) = schema(s3, bucket, BESIDE["t"])["columns"]
        assert column["nullable"] is nullable
    finally:
        select(db, """
            DROP TABLE schema_parent, schema_child, schema_parts, schema_mixed;
            DROP FOREIGN DATA WRAPPER schema_wrapper CASCADE""")


def test_only_beside_an_object(db, s3, bucket):
    nothing = "SELECT 1 AS a WHERE false"
    assert land(db, "t", nothing, bucket, schema=True)["status"] == "empty"
    assert land(db, "u", "SELECT 1 AS a", bucket, schema=False)["status"] == "done"
    assert keys(s3, bucket) == [key_of("u")]
    land(db, "t", nothing, bucket, schema=True, empty="write")
    assert keys(s3, bucket) == [BESIDE["t"], key_of("t"), key_of("u")]
    land(db, "t", "SELECT 1 AS a, 2 AS b", bucket, schema=True)
    names = [item["name"] for item in schema(s3, bucket, BESIDE["t"])["columns"]]
    assert names == ["a", "b"]


def test_in_the_root_of_the_bucket(db, s3, bucket):
    land(db, "t", "SELECT 1 AS a", bucket, schema=True, key="{name}.csv")
    assert keys(s3, bucket) == [FILE, "t.csv"]


def test_names_that_are_not_ascii(db, s3, bucket):
    db.set_client_encoding("LATIN1")
    land(db, "\u00e4", 'SELECT 1 AS "Gr\u00f6\u00dfe"', bucket, schema=True,
         null="\u00e4", key="x/y")
    content = schema(s3, bucket, "x/" + FILE)
    assert content["name"] == content["format"]["null"] == "\u00e4"
    assert content["columns"][0]["name"] == "Gr\u00f6\u00dfe"


def test_its_requests_have_the_options_of_the_export(db, s3, bucket, proxied, proxy):
    land(db, "t", "SELECT 1 AS a", bucket, schema=True, server=proxied, manifest=True,
         acl="private")
    puts = [request for request in proxy.requests("PUT", ".")]
    assert [request.path.rpartition("/")[2] for request in puts] == [
        "t_data.csv", FILE, "manifest.json", "_SUCCESS"]
    for request in puts:
        assert request.headers["x-amz-acl"] == "private"


def test_two_tables_in_one_directory(db, s3, registry, workers, bucket, proxied, proxy):
    """Nothing is sent."""
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    error = failure(land_all, db, key="x/{name}", schema=True, server=proxied)
    assert error.pgcode == "42710"
    assert f's3://{bucket}/x/{FILE}"' in str(error)
    assert "before the last slash" in error.diag.message_hint
    for a, b in (({"schema": True, "key": "x/a"}, {"key": "x/" + FILE}),
                 ({"key": "x/" + FILE}, {"schema": True, "key": "x/b"})):
        for name, options in (("a", a), ("b", b)):
            select(db, "UPDATE onboard_tables SET options = %s WHERE name = %s",
                   (json.dumps(options), name))
        error = failure(land_all, db, server=proxied)
        assert error.pgcode == "42710" and f"x/{FILE}" in str(error)
    assert proxy.requests("PUT", ".") == []
    for name in "ab":
        select(db, "UPDATE onboard_tables SET options = '{}'")
    land_all(db, key="x/{name}", server=proxied)
    land_all(db, key="{name}/x", schema=True, server=proxied)
    assert keys(s3, bucket) == [
        f"a/{FILE}", "a/x", f"b/{FILE}", "b/x", "x/a", "x/b"]


def test_of_a_run(db, s3, registry, workers, bucket):
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    land_all(db, schema=True)
    for name, column in (("a", "one"), ("b", "two")):
        content = schema(s3, bucket, BESIDE[name])
        assert content["name"] == name
        assert [item["name"] for item in content["columns"]] == [column]


def test_published_together(db, s3, registry, workers, bucket, proxied, proxy):
    """After all objects, before the manifest."""
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two",
             u="SELECT 1 AS n WHERE false")
    found = land_all(db, schema=True, publish="together", server=proxied)
    assert statuses(found) == {"a": "done", "b": "done", "u": "empty"}
    order = [request.path.split("?")[0].rpartition("/")[2]
             for request in proxy.requests(None, r"uploadId=|\.json|_SUCCESS")
             if (request.method, "uploadId=" in request.path) in (
                 ("POST", True), ("PUT", False))]
    assert sorted(order[:2]) == ["a_data.csv", "b_data.csv"]
    assert order[2:] == [FILE, FILE, "manifest.json", "_SUCCESS"]
    for name, column in (("a", "one"), ("b", "two")):
        (found,) = schema(s3, bucket, BESIDE[name])["columns"]
        assert found["name"] == column and found["nullable"] is True


def test_nothing_of_a_run_that_fails(db, s3, registry, workers, bucket):
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 1 / (n - n) FROM"
             " generate_series(1, 2) n")
    land_all(db, schema=True, publish="together")
    assert [key for key in keys(s3, bucket) if FILE in key] == []


def test_it_cannot_be_written(db, s3, registry, workers, bucket, proxied, proxy):
    """The object is there, and the error says so; there is no manifest."""
    proxy.rule("PUT", FILE, response=s3_error(403, "AccessDenied"), times=None)
    error = failure(land, db, "t", "SELECT 1 AS a", bucket, schema=True,
                    manifest=True, server=proxied)
    assert error.pgcode == "42501"
    assert 'writing the schema of "t", whose object is visible' in error.diag.context
    assert keys(s3, bucket) == [key_of("t")]
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    found = land_all(db, schema=True, server=proxied)
    assert statuses(found) == {"a": "failed", "b": "failed"}
    sql = ("SELECT error, uri FROM onboard_runs WHERE run_id = %s AND name = 'a'")
    (row,) = select(db, sql, (found[0]["run_id"],))
    assert row["error"].endswith("(the object was written)")
    assert row["uri"] == f"s3://{bucket}/{key_of('a')}"
    error = failure(land_all, db, schema=True, publish="together", server=proxied)
    assert error.pgcode == "42501"
    assert [key for key in keys(s3, bucket) if "_SUCCESS" in key] == []


def test_cancelled_while_it_is_written(pg, db, s3, bucket, proxied, proxy):
    rule = proxy.rule("PUT", FILE, hold=True, when="request")
    session = pg.connect("onboard")
    options = json.dumps({"server": proxied, "schema": True, "manifest": True})
    with Running(session, "SELECT * FROM onboard_table('t', 'SELECT 1 AS a', %s, %s)",
                 (bucket, options)) as export:
        rule.wait(60)
        session.cancel()
        error = export.error(60)
        assert keys(s3, bucket) == [key_of("t")]
        rule.release()
    session.close()
    assert error.pgcode == "57014"
    assert "writing the schema" in error.diag.context


@pytest.mark.parametrize("format", ["csv", "text", "jsonl", "json", "binary"])
def test_no_columns(db, s3, bucket, format):
    land(db, "t", "SELECT", bucket, format=format, schema=True)
    assert schema(s3, bucket, BESIDE["t"])["columns"] == []


def test_keys_that_are_rotated(
    pg, db, rgw, make_server, s3, bucket, canaries, proxy
):
    """The file is written with the keys of its moment, not of the export's."""
    old = rgw.add_key()
    canaries.add(old[1])
    server = make_server(proxy.endpoint, *old, bucket=bucket)
    rule = proxy.rule("PUT", key_of("t"), hold=True)
    session = pg.connect("onboard")
    options = json.dumps({"server": server, "schema": True})
    with Running(session, "SELECT * FROM onboard_table('t', 'SELECT 1 AS a', NULL, %s)",
                 (options,)) as export:
        rule.wait(60)
        map_user(pg, server, rgw.access_key, rgw.secret_key)
        rgw.drop_key(old[0])
        rule.release()
        (row,) = export.rows(60)
    session.close()
    assert row["status"] == "done"
    assert keys(s3, bucket) == [BESIDE["t"], key_of("t")]


def test_an_increment_is_exported_again(db, s3, registry, bucket, proxied, proxy):
    select(db, "CREATE TABLE increments AS SELECT 1 AS id")
    try:
        registry("increments", None, bucket, key="x/{run_id}", schema=True,
                 watermark={"column": "id", "overlap": 0})
        proxy.rule("PUT", FILE, response=s3_error(403, "AccessDenied"))
        failure(land, db, "increments", None, bucket, server=proxied)
        for _ in range(2):
            assert land(db, "increments", None, bucket)["rows"] == 1
        assert value(db, "SELECT value FROM onboard_watermarks") == "1"
        assert len(keys(s3, bucket)) == 4
    finally:
        select(db, "DROP TABLE increments")


def test_a_job(db, s3, bucket):
    run_id = value(
        db, "SELECT onboard_submit('t', 'SELECT 1 AS a', %s,"
        """ '{"schema": true}')""", (bucket,))
    (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    assert row["status"] == "done"
    assert json.loads(body(s3, bucket, BESIDE["t"]))["columns"][0]["name"] == "a"
