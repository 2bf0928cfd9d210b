"""The extension's schema is renamed, and another one gets its name.

The schema's owner, who needs no special rights, may do that at any time:
objects of that owner must not run with the rights of a role that dumps,
exports, or looks at runs.
"""

import os

import pytest

from lib import process
from lib.exports import (
    Running, body, keys, select, value, wait_for_event, warnings,
)

# Objects in the schema with the old name: each of them raises "captured".
CAPTURE = """
    ALTER SCHEMA public RENAME TO moved;
    CREATE SCHEMA public;
    CREATE FUNCTION public.capture() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'captured'; END $$;
    CREATE FUNCTION public.role_id(role text) RETURNS oid
    LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
    CREATE VIEW public.onboard_history AS
    SELECT h.* FROM moved.onboard_history h
    RIGHT JOIN (VALUES (1)) AS v ON true WHERE public.capture();
    CREATE VIEW public.onboard_tables AS
    SELECT t.* FROM moved.onboard_tables t
    RIGHT JOIN (VALUES (1)) AS v ON true WHERE public.capture();
    CREATE VIEW public.onboard_watermarks AS
    SELECT w.* FROM moved.onboard_watermarks w
    RIGHT JOIN (VALUES (1)) AS v ON true WHERE public.capture();
"""
TRIGGERS = "".join(
    f"""
    CREATE FUNCTION public.capture_{table}() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
    CREATE TRIGGER capture INSTEAD OF INSERT OR UPDATE OR DELETE
    ON public.onboard_{table}
    FOR EACH ROW EXECUTE FUNCTION public.capture_{table}();
    """
    for table in ("history", "tables", "watermarks")
)


@pytest.fixture
def database(pg, bob, make_server, rgw):
    """A database of bob's, with the extension; returns its server."""
    pg.psql(f"CREATE DATABASE renamed OWNER {bob.name}")
    try:
        pg.psql("CREATE EXTENSION onboard", "renamed")
        server = make_server(
            rgw.endpoint, rgw.access_key, rgw.secret_key, dbname="renamed"
        )
        yield server
        make_server.drop()
    finally:
        pg.psql("DROP DATABASE renamed WITH (FORCE)")


@pytest.fixture
def session(pg, database, bucket):
    """A superuser's session there, with a registered increment of one row."""
    session = pg.connect("renamed")
    select(session, f"SET onboard.server = {database}")
    select(
        session, "CREATE SCHEMA data; CREATE TABLE data.grows AS SELECT 1 n"
    )
    select(
        session,
        "INSERT INTO onboard_tables VALUES ('grows', 'TABLE data.grows', %s,"
        """ '{"watermark": {"column": "n"}, "key": "{name}/{run_id}"}')""",
        (bucket,),
    )
    yield session
    session.close()


def test_all_goes_on_under_the_new_name(
    pg, session, database, bob, s3, bucket
):
    assert value(session, "SELECT status FROM onboard_all()") == "done"
    owner = pg.connect("renamed", user=bob.name)
    select(owner, CAPTURE + TRIGGERS)
    owner.close()
    select(session, "INSERT INTO data.grows VALUES (2)")
    assert value(session, "SELECT status FROM moved.onboard_all()") == "done"
    assert len(keys(s3, bucket)) == 2
    run = value(
        session, "SELECT moved.onboard_submit('job', 'SELECT 1', %s, %s)",
        (bucket, f'{{"server": "{database}"}}'),
    )
    assert value(
        session, "SELECT status FROM moved.onboard_wait(%s)", (run,)
    ) == "done"
    assert value(
        session, "SELECT count(*) FROM moved.onboard_runs WHERE status ="
        " 'done'"
    ) == 3
    assert value(session, "SELECT value FROM moved.onboard_watermarks") == "2"
    assert value(session, "SELECT moved.onboard_prune('0')") == 3
    assert value(session, "SELECT moved.onboard_reset_watermark('grows')") == 1
    assert warnings(session) == []


def test_a_dump_runs_nothing_of_the_schema_s_owner(
    pg, session, database, bob, rgw, bucket
):
    assert value(session, "SELECT status FROM onboard_all()") == "done"
    mark = select(session, "SELECT name, role, value FROM onboard_watermarks")
    owner = pg.connect("renamed", user=bob.name)
    select(owner, CAPTURE + TRIGGERS)
    owner.close()
    dump = process.run(
        [
            os.path.join(pg.bindir, "pg_dump"), "-h", pg.folder, "-p",
            pg.settings["port"], "-U", "postgres", "-N", "public", "-n",
            "moved", "-e", "onboard", "renamed",
        ]
    )
    pg.psql("CREATE DATABASE restored_renamed")
    try:
        pg.psql(dump, "restored_renamed")
        restored = pg.connect("restored_renamed")
        assert mark == select(
            restored, "SELECT name, role, value FROM moved.onboard_watermarks"
        )
        restored.close()
    finally:
        pg.psql("DROP DATABASE restored_renamed WITH (FORCE)")


# The swap happens between the name's look-up and its use: the query waits for a
# lock.
@pytest.mark.parametrize(
    ("table", "mode", "sql"),
    [
        (
            "history", "ACCESS EXCLUSIVE",
            "SELECT * FROM onboard_status('{run}')",
        ),
        ("history", "SHARE", "SELECT onboard_prune('0')"),
        ("tables", "ACCESS EXCLUSIVE", "SELECT * FROM onboard_all()"),
        (
            "tables", "SHARE",
            """SELECT onboard_register('{{"Tables": [{{"table_name": "t"}}]}}')""",
        ),
        ("watermarks", "SHARE", "SELECT onboard_reset_watermark('grows')"),
    ],
)
def test_a_swap_while_a_query_waits(
    pg, session, observer, s3, bucket, table, mode, sql
):
    assert value(session, "SELECT status FROM onboard_all()") == "done"
    run = value(session, "SELECT run_id FROM onboard_runs")
    other = pg.connect("renamed", autocommit=False)
    select(other, f"LOCK TABLE onboard_{table} IN {mode} MODE")
    select(other, CAPTURE + TRIGGERS)
    with Running(session, sql.format(run=run)) as waits:
        wait_for_event(observer, waits.pid, "relation")
        other.commit()
        error = waits.error()
    other.close()
    assert error.pgcode == "40001"
    assert "the schema of the extension onboard was renamed" in str(error)
    assert len(keys(s3, bucket)) == 1


def test_a_swap_while_the_history_waits(
    pg, session, observer, s3, bucket
):
    """The object stays, and no row was written elsewhere."""
    other = pg.connect("renamed", autocommit=False)
    select(other, "LOCK TABLE onboard_history IN SHARE MODE")
    select(other, CAPTURE + TRIGGERS)
    with Running(
        session, "SELECT status FROM onboard_table('x', 'SELECT 1 AS n', %s)",
        (bucket,),
    ) as waits:
        wait_for_event(observer, waits.pid, "relation")
        other.commit()
        assert waits.rows() == [{"status": "done"}]
    other.close()
    assert body(s3, bucket, keys(s3, bucket)[0]) == b"n\n1\n"
    assert "the schema of the extension onboard was renamed" in "".join(
        warnings(session)
    )
