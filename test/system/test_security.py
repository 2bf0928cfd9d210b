"""Claims of docs/security.md that no other file tests."""

import gzip
import json
import os
import pathlib
import re
import subprocess

import pytest

from conftest import Server
from faults import OBJECT, SMALL, XML, ok_with
from lib.exports import (
    Running, body, failure, key_of, keys, land, land_all, no_trace,
    rows, select, value,
)
from lib.postgres import Cluster, PeakMemory
from lib.proxy import Proxy, Response, s3_error

MB = 1024 * 1024
BIG = rows(12)
ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACES = {"py": "test/system", "c": "test/core", "sql": "sql"}


@pytest.fixture
def guest(make_role, make_server, proxy, rgw):
    """A role with USAGE and a mapping for a server behind the proxy."""
    role = make_role()
    role.server = make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key, user=role.name
    )
    role.usage = f"USAGE ON FOREIGN SERVER {role.server}"
    role.may(role.usage)
    return role


def test_each_claim_names_its_test():
    text = (ROOT / "docs/security.md").read_text()
    test = re.compile(r"`(\w+)\.(py|c|sql)(?:::(\w+))?`")
    claims = re.findall(r"^\| claim \|.*?\n\n", text, re.S | re.M)
    for row in "".join(claims).splitlines():
        assert not row or row.startswith(("| claim", "| ---")) or (
            test.search(row) or "`make fuzz`" in row
        ), row
    for file, kind, name in test.findall(text):
        found = (ROOT / PLACES[kind] / f"{file}.{kind}").read_text()
        assert not name or re.search(rf"^(def )?{name}\(", found, re.M), name
    assert len(test.findall(text)) > 60


# Missing rights

CALLS = {
    "table": "SELECT * FROM onboard_table('t', 'SELECT 1', '{bucket}',"
    " '{{\"server\": \"{server}\"}}')",
    "all": "SELECT * FROM onboard_all(NULL,"
    " '{{\"server\": \"{server}\", \"on_error\": \"raise\"}}')",
    "sweep": "SELECT * FROM onboard_abort_uploads('{bucket}',"
    " server => '{server}')",
    "verify": "SELECT * FROM onboard_verify_manifest('s3://{bucket}/m',"
    " options => '{{\"server\": \"{server}\"}}')",
    "check": "SELECT bool_or(ok), count(*) FROM onboard_check('{bucket}',"
    " '{{\"server\": \"{server}\"}}')",
}


@pytest.mark.parametrize("function", list(CALLS))
def test_nothing_is_sent_without_usage(
    bob, proxied, proxy, bucket, registry, function
):
    bob.may("SELECT ON onboard_tables")
    registry("t", "SELECT 1", bucket)
    sql = CALLS[function].format(bucket=bucket, server=proxied)
    if function == "check":
        found = select(bob.session, sql)
        assert found == [{"bool_or": False, "count": 11}]
    else:
        error = failure(select, bob.session, sql)
        assert error.pgcode == ("38000" if function == "all" else "42501")
    notices = "".join(bob.session.notices)
    assert function != "all" or "permission denied" in notices
    assert proxy.connections == 0


def test_explain_needs_what_explain_needs(db, bob):
    """The query is not run."""
    select(
        db, "CREATE TABLE secret_table AS SELECT 1 AS a;"
        "CREATE SEQUENCE open_sequence; GRANT ALL ON open_sequence TO PUBLIC",
    )
    try:
        sql = "SELECT * FROM onboard_explain(%s)"
        error = failure(
            select, bob.session, sql, ("SELECT * FROM secret_table",)
        )
        assert error.pgcode == "42501"
        for query in (
            "SELECT nextval('open_sequence')",
            "(ANALYZE) SELECT nextval('open_sequence')",
            "ANALYZE SELECT nextval('open_sequence')",
        ):
            try:
                select(bob.session, sql, (query,))
            except Exception as error:
                assert error.pgcode == "42601", error
        assert not value(db, "SELECT is_called FROM open_sequence")
    finally:
        select(db, "DROP TABLE secret_table; DROP SEQUENCE open_sequence")


def test_a_long_configuration_can_be_cancelled(bob):
    """Any role may pass one: rights are checked when it is written.  Before
    that, its members are compared with each other, which takes minutes."""
    config = """SELECT onboard_register((SELECT json_build_object('Tables',
        json_agg(json_build_object('table_name', 't' || g)))
        FROM generate_series(1, 100000) g))"""
    select(bob.session, "SET statement_timeout = '2s'")
    with Running(bob.session, config) as running:
        assert running.error(60).pgcode == "57014"
    select(bob.session, "RESET statement_timeout")
    config = """{"Tables": [{"table_name": "t"}]}"""
    error = failure(
        select, bob.session, "SELECT onboard_register(%s)", (config,)
    )
    assert error.pgcode == "42501"


# Revoked rights


def test_revoked_between_two_exports(db, guest, proxy, rgw, bucket):
    """The session still has its connection and its credentials."""

    def export():
        return land(
            guest.session, "t", SMALL, bucket, server=guest.server
        )

    export()
    guest.may_not(guest.usage)
    assert failure(export).pgcode == "42501"
    assert len(proxy.requests()) == 1
    guest.may(guest.usage)
    assert export()["status"] == "done"
    assert len({r.connection for r in proxy.requests()}) == 1
    select(db, f"DROP USER MAPPING FOR {guest.name} SERVER {guest.server}")
    assert failure(export).pgcode == "42704"
    assert len(proxy.requests()) == 2


def test_revoked_while_onboard_all_runs(guest, proxy, bucket, registry, s3):
    """The running table lands; the next one does not."""
    guest.may("SELECT ON onboard_tables")
    registry("a", SMALL, bucket)
    registry("b", SMALL, bucket)
    held = proxy.rule("PUT", hold=True)
    # Tables run one after another, so the right is gone when the second one
    # begins.
    select(guest.session, "SET onboard.parallel_tables = 0")
    sql = "SELECT * FROM onboard_all(NULL, %s)"
    options = f'{{"server": "{guest.server}"}}'
    with Running(guest.session, sql, (options,)) as running:
        held.wait()
        guest.may_not(guest.usage)
        held.release()
        first, second = running.rows()
    assert (first["status"], second["status"]) == ("done", "failed")
    assert second["error"] == (
        f"permission denied for foreign server {guest.server}"
    )
    assert len(proxy.requests()) == 1
    assert keys(s3, bucket) == [key_of("a")]


def test_what_a_session_keeps_is_for_one_identity(
    db, guest, bob, proxy, bucket, canaries
):
    """SET ROLE: a role does not get the cached client and connection of another
    one."""
    bob.may(guest.usage)

    def export(role):
        select(db, f"SET ROLE {role}")
        try:
            return land(db, "t", SMALL, bucket, server=guest.server)
        finally:
            select(db, "RESET ROLE")

    export(guest.name)
    assert failure(export, bob.name).pgcode == "42704"
    assert len(proxy.requests()) == 1
    canaries.add("wrong-of-bob")
    select(
        db, f"CREATE USER MAPPING FOR {bob.name} SERVER {guest.server}"
        " OPTIONS (access_key_id 'bob', secret_access_key 'wrong-of-bob')",
    )
    assert failure(export, bob.name).pgcode == "28000"
    assert export(guest.name)["status"] == "done"


# Destinations of requests

SETTINGS = {
    "connect_timeout", "connections", "max_jobs_per_role", "parallel_tables",
    "part_size", "reserved_workers", "retry_deadline", "server",
    "stall_timeout", "upload_memory",
}


@pytest.mark.parametrize(
    "name",
    ["endpoint", "region", "proxy", "ca_file", "addressing", "credentials",
     "profile", "role_arn", "external_id", "sts_endpoint", "buckets",
     "access_key_id", "secret_access_key", "session_token"],
)
def test_a_call_sets_neither_endpoint_nor_credentials(db, bucket, name, registry):
    """A registered table or a setting cannot, either."""
    error = failure(land, db, "t", SMALL, bucket, **{name: "x"})
    assert error.pgcode == "22023"
    assert f'unknown option "{name}"' in str(error)
    registry("t", SMALL, bucket, **{name: "x"})
    (found,) = land_all(db)
    assert found["error"] == f'unknown option "{name}"'
    sql = "SELECT name FROM pg_settings WHERE name LIKE 'onboard.%'"
    found = {row["name"] for row in select(db, sql)}
    assert found == {f"onboard.{setting}" for setting in SETTINGS}


@pytest.mark.parametrize(
    "bucket",
    ["evil.example/x", "x@evil", "evil:80", "..", "a/../b", "s3://evil",
     "evil#", "evil?", "%2e%2e", "a\nb", "evil.example."],
)
def test_a_bucket_is_no_way_to_another_host(db, proxy, make_server, bucket):
    server = make_server(
        proxy.endpoint, "key", "secret-of-none", addressing="virtual"
    )
    error = failure(land, db, "t", SMALL, bucket, server=server)
    assert error.pgcode == "22023"
    assert proxy.connections == 0


def test_dots_do_not_lead_out_of_the_bucket(db, s3, bucket, proxy, proxied):
    """Keys are sent and signed unchanged: a proxy that resolved the dots would
    break the signature, and S3's servers do not resolve them."""
    for name, key in (("..", None), ("t", "../other-bucket/x")):
        options = {"key": key} if key else {}
        land(db, name, SMALL, bucket, server=proxied, **options)
    assert [r.path for r in proxy.requests()] == [
        f"/{bucket}/../data/inbox/.._data.csv",
        f"/{bucket}/../other-bucket/x",
    ]
    # boto3 resolves the dots, and so could not delete the objects
    assert len(keys(s3, bucket)) == 2


METADATA = [
    "http://169.254.169.254", "http://169.254.170.2", "http://[fd00:ec2::254]",
    "http://[fe80::1]", "http://2852039166", "http://[::ffff:169.254.169.254]",
]


@pytest.mark.parametrize("endpoint", METADATA)
def test_metadata_services_are_no_endpoints(db, make_server, endpoint):
    """A role that may create servers learns nothing from them."""
    server = make_server(endpoint, "key", "secret-of-none")
    error = failure(land, db, "t", SMALL, "latest", server=server)
    assert error.pgcode == "22023"
    assert "link-local" in error.diag.message_detail
    sql = "SELECT * FROM onboard_abort_uploads('latest', server => %s)"
    error = failure(select, db, sql, (server,))
    assert "link-local" in error.diag.message_detail
    sql = "SELECT item, ok, detail FROM onboard_check('latest', %s)"
    found = select(db, sql, (f'{{"server": "{server}"}}',))
    found = {row["item"]: row for row in found}
    assert found["endpoint"]["ok"] is False
    assert "link-local" in found["endpoint"]["detail"]


def test_metadata_services_are_no_endpoints_of_sts(db, make_server):
    server = make_server(
        "http://127.0.0.1:1", "key", "secret-of-none",
        role_arn="arn:aws:iam::123456789012:role/x",
        sts_endpoint="http://169.254.169.254",
    )
    error = failure(land, db, "t", SMALL, "latest", server=server)
    assert error.pgcode == "28000"
    assert "link-local" in error.diag.message_detail


def test_proxy_of_the_environment_is_ignored(rgw, s3, bucket, canaries):
    with Proxy(rgw.endpoint) as trap:
        names = ("http_proxy", "https_proxy", "all_proxy")
        env = {name: trap.endpoint for name in names}
        env.update({name.upper(): trap.endpoint for name in names})
        env["no_proxy"] = env["NO_PROXY"] = ""
        with Cluster(env=env) as cluster:
            cluster.psql("CREATE EXTENSION onboard")
            make = Server(cluster, canaries)
            keys_of = (rgw.access_key, rgw.secret_key)
            make(rgw.endpoint, *keys_of, name="s3", dbname="postgres")
            make(rgw.endpoint, *keys_of, name="used", dbname="postgres",
                 proxy=trap.endpoint)
            session = cluster.connect()
            assert land(session, "t", SMALL, bucket)["status"] == "done"
            assert trap.connections == 0
            # A connection would have been seen.
            trap.rule(times=None, response=Response(407))
            failure(land, session, "t", SMALL, bucket, server="used")
            assert trap.connections > 0
            session.close()
    assert keys(s3, bucket) == [key_of("t")]


# Hostile servers

PAGE = "<html>canary-of-an-internal-page</html>"
QUIET = {
    "page": ok_with(PAGE),
    "refusal": Response(403, PAGE.encode()),
    "header": Response(500, b"", {"Server": "canary-of-an-internal-page"}),
    "text": ok_with("canary-of-an-internal-page"),
    "xml": ok_with(XML + "<Page>canary-of-an-internal-page</Page>"),
}


@pytest.mark.parametrize("response", list(QUIET))
@pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])
def test_responses_are_not_shown(export, proxy, query, response):
    """Only four fields of an S3 error document are shown, so an endpoint cannot
    be used to read services that only the database server reaches."""
    proxy.rule(times=None, response=QUIET[response])
    export.set(retry_deadline="300ms")
    error = export.failure(query)
    assert "canary" not in f"{error} {error.diag.message_detail}"


@pytest.mark.parametrize("header", ["Content-Encoding", "Transfer-Encoding"])
def test_compressed_responses_stay_small(export, proxy, db, header):
    """The response has a few kB, but would decompress to 100 MB."""
    bomb = gzip.compress(b"<Error><Code>" + b"a" * 100 * MB)
    length = {"Content-Length": None} if header[0] == "T" else {}
    response = Response(404, bomb, {header: "gzip", "Connection": "close",
                                    **length})
    proxy.rule(*OBJECT, times=None, response=response)
    export.failure(SMALL)
    with PeakMemory(db.info.backend_pid, interval=0.001) as memory:
        error = export.failure(SMALL)
    assert error.pgcode in ("08P01", "58P01"), error
    assert memory.peak - memory.before < 20 * MB


ODD = "%s%n%1000000d &lt;b&gt; \u009b31m \u202e"
SHOWN = "%s%n%1000000d <b> "


def test_texts_of_a_server(db, proxy, proxied, bucket, registry, pg):
    """They are shown unchanged, except for terminal control characters."""
    proxy.rule(times=None, response=s3_error(403, "AccessDenied", ODD))
    error = failure(land, db, "t", SMALL, bucket, server=proxied)
    assert SHOWN in error.diag.message_detail
    assert error.diag.message_detail.isascii()
    assert error.diag.message_detail.isprintable()
    registry("t", SMALL, bucket)
    db.notices.clear()
    land_all(db, server=proxied)
    (warning,) = [text for text in db.notices if "WARNING" in text]
    assert SHOWN in warning
    log = pg.log_text()
    assert SHOWN in log and "\u009b" not in log


# Names

ODD_NAME = "a\nb\r\x1b[2J\x7f%s%n/..//\u009b\u202e'\"\\"


def test_odd_names(db, s3, bucket):
    found = land(db, ODD_NAME, SMALL, bucket)
    (key,) = keys(s3, bucket)
    assert key.isascii() and key.isprintable()
    assert found["uri"] == f"s3://{bucket}/{key}"
    assert key.count("/") == 3
    sql = "SELECT name FROM onboard_runs WHERE run_id = %s"
    assert value(db, sql, (found["run_id"],)) == ODD_NAME


@pytest.mark.parametrize(
    "options, sqlstate",
    [
        ('{"key": "a\\u0000b"}', "22P05"),
        ('{"key": "a\\nb"}', "22023"),
        ('{"content_type": "a\\r\\nX-Evil: 1"}', "22023"),
        ('{"acl": "private\\r\\nX-Evil: 1"}', "22023"),
        ('{"storage_class": "\\u0085"}', "22023"),
        ('{"metadata": {"a\\r\\nX-Evil": "1"}}', "22023"),
        ('{"metadata": {"a": "1\\nX-Evil: 1"}}', "22023"),
        ('{"tags": {"a\\nb": "1"}}', "22023"),
        ('{"kms_key_id": "a\\nb", "sse": "aws:kms"}', "22023"),
        ('{"expected_bucket_owner": "1\\n2"}', "22023"),
        ('{"server": "s3\\nx"}', "42704"),
    ],
)
def test_control_characters(db, proxy, bucket, options, sqlstate):
    sql = "SELECT onboard_table('t', 'SELECT 1', %s, %s)"
    error = failure(select, db, sql, (bucket, options))
    assert error.pgcode == sqlstate, error


@pytest.fixture
def latin(pg, make_server, proxy, rgw):
    """A session in a database of another encoding, with a server s3."""
    pg.psql(
        "CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0"
    )
    pg.psql("CREATE EXTENSION onboard", "latin")
    make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key, name="s3",
        dbname="latin",
    )
    session = pg.connect("latin")
    yield session
    session.close()
    make_server.drop()
    pg.psql("DROP DATABASE latin WITH (FORCE)")


def test_texts_that_the_database_cannot_hold(latin, proxy, bucket):
    """The original error is raised, not one of its conversion."""
    response = ok_with(XML + "<\u0416-\u00e9/>")
    proxy.rule("POST", times=None, response=response)
    error = failure(land, latin, "gr\u00fcn", BIG, bucket, part_size="5MB")
    assert error.pgcode == "08P01"
    proxy.rule(times=None, response=ok_with(XML + "<\u0416-\u00e9/>"))
    sql = "SELECT * FROM onboard_abort_uploads(%s)"
    error = failure(select, latin, sql, (bucket,))
    assert error.pgcode == "08P01"
    assert "<?-\u00e9>" in str(error)


def test_warnings_in_another_encoding(latin, proxy, rgw, s3, bucket):
    proxy.rule("DELETE", times=None, response=s3_error(403, "AccessDenied"))
    query = "SELECT 1 / (g - 9000), repeat('x', 1000)" \
        " FROM generate_series(1, 12000) g"
    error = failure(
        land, latin, "t", query, bucket, key="gr\u00fcn", part_size="5MB"
    )
    assert error.pgcode == "22012"
    (notice,) = latin.notices
    assert f's3://{bucket}/gr\u00fcn"' in notice
    for upload in rgw.unfinished(bucket):
        s3.abort_multipart_upload(
            Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )


# Exported rows


@pytest.fixture
def shared(db, guest):
    """A table of whose 20,000 rows the role may see 100."""
    select(
        db,
        f"""
        CREATE TABLE shared AS
            SELECT CASE WHEN g % 200 = 0 THEN '{guest.name}' ELSE 'other' END
                AS owner, g FROM generate_series(1, 20000) g;
        ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON shared USING (owner = current_user);
        GRANT SELECT ON shared TO {guest.name};
        ANALYZE shared;
        """,
    )
    yield "shared"
    select(db, "DROP TABLE shared")


def test_row_security_in_parallel_workers(guest, shared, s3, bucket):
    select(
        guest.session,
        "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0",
    )
    options = {"server": guest.server, "parallel": 2}
    sql = "SELECT * FROM onboard_explain('TABLE shared', '{\"parallel\": 2}')"
    plan = [row["onboard_explain"] for row in select(guest.session, sql)]
    assert "workers" in plan[0]
    found = land(guest.session, "shared", None, bucket, **options)
    assert found["rows"] == 100
    landed = body(s3, bucket, key_of("shared")).decode().splitlines()
    owners = {line.split(",")[0] for line in landed[1:]}
    assert owners == {guest.name}


def test_row_security_off_is_an_error(guest, shared, rgw, bucket):
    """As in pg_dump, the rows are never silently incomplete."""
    select(guest.session, "SET row_security = off")
    error = failure(
        land, guest.session, "shared", None, bucket, server=guest.server
    )
    assert error.pgcode == "42501"
    assert "row-level security" in str(error)
    no_trace(rgw, bucket)


def test_row_security_off_and_the_own_runs(db, guest, bucket):
    """The functions report the role's runs; an error leaves the setting
    unchanged."""
    session = guest.session
    select(session, "SET row_security = off")
    select(db, "SELECT pg_advisory_lock(94)")
    try:
        run_id = value(
            session, "SELECT onboard_submit('job',"
            " 'SELECT pg_advisory_xact_lock(94) IS NULL AS x', %s, %s)",
            (bucket, json.dumps({"server": guest.server})),
        )
        status = "SELECT status FROM onboard_status(%s)"
        assert value(session, status, (run_id,)) == "running"
        assert value(session, "SELECT onboard_cancel(%s)", (run_id,)) is True
        wait = "SELECT status FROM onboard_wait(%s, '30s')"
        assert value(session, wait, (run_id,)) == "failed"
    finally:
        select(db, "SELECT pg_advisory_unlock(94)")
    assert value(session, "SHOW row_security") == "off"
    error = failure(select, session, "SELECT FROM onboard_runs")
    assert error.pgcode == "42501"
    select(session, "SET row_security = on")
    found = select(session, "SELECT sqlstate FROM onboard_runs")
    assert found == [{"sqlstate": "57014"}]
    select(session, "SET row_security = off")
    error = failure(select, session, "SELECT onboard_prune('1 s')")
    assert error.pgcode == "42501"  # the role may not delete
    assert value(session, "SHOW row_security") == "off"


def test_what_the_owner_of_a_table_chooses(db, bob, s3, bucket):
    """Its casts and views run with the rights of the exporting role, as in SQL:
    that is documented, with the ways to prevent it."""
    select(
        db, f"CREATE SCHEMA theirs AUTHORIZATION {bob.name};"
        f"SET SESSION AUTHORIZATION {bob.name};"
        "CREATE TYPE theirs.kind AS ENUM ('v');"
        "CREATE TABLE theirs.t AS SELECT 'v'::theirs.kind AS x;"
        "CREATE FUNCTION theirs.cast(theirs.kind) RETURNS json"
        " LANGUAGE sql AS 'SELECT to_json(current_user)';"
        "CREATE CAST (theirs.kind AS json)"
        " WITH FUNCTION theirs.cast(theirs.kind);"
        "RESET SESSION AUTHORIZATION"
    )
    me = value(db, "SELECT current_user")
    try:
        def landed(name, **options):
            land(db, name, None, bucket, key=f"{name}.x", **options)
            return body(s3, bucket, f"{name}.x").decode()

        wanted = value(db, "SELECT row_to_json(t)::text FROM theirs.t")
        assert me in wanted
        assert landed("theirs.t", format="jsonl") == wanted + "\n"
        assert landed("theirs.t") == "x\nv\n"
        select(
            db, f"SET SESSION AUTHORIZATION {bob.name};"
            "ALTER TABLE theirs.t RENAME TO old;"
            "CREATE FUNCTION theirs.who() RETURNS name LANGUAGE sql"
            " AS 'SELECT current_user';"
            "CREATE VIEW theirs.t AS SELECT theirs.who() AS x;"
            "RESET SESSION AUTHORIZATION"
        )
        assert landed("theirs.t") == f"x\n{me}\n"
        select(db, "SET restrict_nonsystem_relation_kind ="
               " 'view, foreign-table'")
        error = failure(land, db, "theirs.t", None, bucket)
        assert error.pgcode == "55000"
        select(db, "SELECT onboard_register('{\"Tables\": []}')")
    finally:
        select(db, "RESET SESSION AUTHORIZATION;"
               "DROP SCHEMA theirs CASCADE")


def test_temporary_tables_stand_for_nothing_of_ours(
    db, guest, bucket, registry, s3
):
    """pg_temp is searched first for unqualified names."""
    guest.may("SELECT ON onboard_tables")
    registry("t", "SELECT 'registered' AS a", bucket)
    select(
        guest.session,
        """
        CREATE TEMP TABLE onboard_tables
            (LIKE public.onboard_tables INCLUDING DEFAULTS);
        CREATE TEMP TABLE onboard_runs (LIKE public.onboard_runs);
        INSERT INTO onboard_tables VALUES ('t', 'SELECT 1/0', NULL, '{}', true)
        """,
    )
    found = land(guest.session, "t", None, None, server=guest.server)
    assert body(s3, bucket, key_of("t")) == b"a\nregistered\n"
    (found,) = land_all(guest.session, server=guest.server)
    assert found["status"] == "done"
    assert select(guest.session, "TABLE pg_temp.onboard_runs") == []
    sql = "SELECT count(*) FROM public.onboard_runs WHERE run_id = %s"
    assert value(guest.session, sql, (found["run_id"],)) == 1


def test_security_definer_is_not_led_astray(db, bob, s3, bucket):
    """The function of docs/operations.md, whose caller creates a table of the
    same name; and a function without its two precautions, which is deceived."""
    select(
        db,
        f"""
        CREATE TABLE orders AS SELECT 'good' AS a;
        CREATE FUNCTION land_orders() RETURNS text
            LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            RETURN (public.onboard_table('orders',
                'SELECT * FROM public.orders', '{bucket}')).status;
        CREATE FUNCTION careless() RETURNS text LANGUAGE sql SECURITY DEFINER
            RETURN (onboard_table('orders', NULL, '{bucket}',
                '{{"key": "careless"}}')).status;
        """,
    )
    try:
        select(
            bob.session,
            "CREATE TEMP TABLE orders AS SELECT 'evil' AS a;"
            "GRANT ALL ON orders TO PUBLIC",
        )
        assert value(bob.session, "SELECT land_orders()") == "done"
        assert body(s3, bucket, key_of("orders")) == b"a\ngood\n"
        assert value(bob.session, "SELECT careless()") == "done"
        assert body(s3, bucket, "careless") == b"a\nevil\n"
    finally:
        select(
            db, "DROP FUNCTION land_orders, careless; DROP TABLE orders"
        )


# Registries that other roles write


def test_registered_options_choose_among_what_the_caller_may(
    db, guest, alice, registry, s3, bucket
):
    guest.may("SELECT ON onboard_tables")
    registry("mine", SMALL, bucket, server=guest.server)
    registry("other", SMALL, bucket, server=alice.server)
    mine, other = land_all(guest.session)
    assert mine["status"] == "done"
    assert other["error"] == (
        f"permission denied for foreign server {alice.server}"
    )
    assert keys(s3, bucket) == [key_of("mine")]


# Secrets that PostgreSQL itself shows


def test_roles_that_see_the_secret_of_a_mapping(db, guest, make_server, rgw):
    """The mapping's role sees it, except if the mapping is for PUBLIC."""
    public = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    guest.may(f"USAGE ON FOREIGN SERVER {public}")
    sql = "SELECT umoptions::text FROM pg_user_mappings WHERE srvname = %s"
    assert rgw.secret_key in value(guest.session, sql, (guest.server,))
    assert value(guest.session, sql, (public,)) is None
    guest.may_not(guest.usage)
    assert value(guest.session, sql, (guest.server,)) is None
    assert failure(
        select, guest.session, "TABLE pg_user_mapping"
    ).pgcode == "42501"


def test_secrets_in_dumps(pg, make_role, make_server, rgw):
    """Superusers see them; dumps of other roles have mappings without options.
    """
    reader = make_role("IN ROLE pg_read_all_data")
    make_server(rgw.endpoint, rgw.access_key, rgw.secret_key, name="dumped")

    def dump(role):
        return subprocess.run(
            [os.path.join(pg.bindir, "pg_dump"), "-h", pg.folder, "-U", role,
             "--schema-only", "onboard"],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout

    for role, shown in (("postgres", True), (reader.name, False)):
        text = dump(role)
        assert "CREATE USER MAPPING FOR postgres SERVER dumped" in text
        assert (rgw.secret_key in text) == shown
