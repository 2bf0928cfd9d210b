"""Privileges: which role may export which data, and which runs it sees."""

import os
import secrets

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    Running, body, call, failure, key_of, keys, land, land_all, no_trace,
    select, value, wait_for_event, warnings,
)
from lib.postgres import Cluster

QUERY = "SELECT 1 AS one"


# Servers


def test_no_usage(alice, bob, bucket, rgw):
    error = failure(
        land, bob.session, "t", QUERY, bucket, server=alice.server
    )
    assert error.pgcode == "42501"
    assert f"denied for foreign server {alice.server}" in str(error)
    assert error.diag.message_hint == (
        f"GRANT USAGE ON FOREIGN SERVER {alice.server} TO {bob.name};"
    )
    no_trace(rgw, bucket)


def test_usage_and_mapping(alice, s3, bucket):
    found = land(alice.session, "t", QUERY, bucket, server=alice.server)
    assert found["status"] == "done"
    assert body(s3, bucket, key_of("t")) == b"one\n1\n"


def test_no_mapping(alice, bob, bucket, rgw):
    bob.may(f"USAGE ON FOREIGN SERVER {alice.server}")
    error = failure(
        land, bob.session, "t", QUERY, bucket, server=alice.server
    )
    assert error.pgcode == "42704"
    assert f'no user mapping for role "{bob.name}"' in str(error)
    hint = error.diag.message_hint
    assert f"USER MAPPING FOR {bob.name} SERVER {alice.server}" in hint
    no_trace(rgw, bucket)


def test_mapping_of_public(bob, make_server, rgw, s3, bucket):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    bob.may(f"USAGE ON FOREIGN SERVER {server}")
    assert land(bob.session, "t", QUERY, bucket, server=server)["files"] == 1
    assert keys(s3, bucket) == [key_of("t")]


def test_own_mapping_goes_before_that_of_public(
    db, bob, make_server, rgw, bucket, canaries
):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    bob.may(f"USAGE ON FOREIGN SERVER {server}")
    select(
        db, f"CREATE USER MAPPING FOR {bob.name} SERVER {server} OPTIONS"
        " (access_key_id 'nobody', secret_access_key 'nothing')"
    )
    error = failure(land, bob.session, "t", QUERY, bucket, server=server)
    assert error.pgcode == "28000"


def test_buckets_of_a_server(make_server, rgw, db, bucket, s3):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key,
        buckets=f"other-*,{bucket[:-4]}*",
    )
    assert land(db, "t", QUERY, bucket, server=server)["files"] == 1
    # Even the superuser cannot bypass it.
    error = failure(land, db, "t", QUERY, f"x{bucket[:60]}", server=server)
    assert error.pgcode == "42501"
    assert "is not allowed by server" in str(error)
    assert "buckets" in error.diag.message_hint
    sql = "SELECT * FROM onboard_abort_uploads(%s, server => %s)"
    error = failure(select, db, sql, ("my-bucket", server))
    assert error.pgcode == "42501"


def test_creating_servers_needs_usage(db, bob, rgw):
    create = (
        "CREATE SERVER {} FOREIGN DATA WRAPPER onboard"
        " OPTIONS (endpoint 'http://127.0.0.1:1')"
    ).format("server_" + secrets.token_hex(4))
    assert failure(select, bob.session, create).pgcode == "42501"
    alter = "ALTER SERVER s3 OPTIONS (SET endpoint 'http://127.0.0.1:1')"
    bob.may("USAGE ON FOREIGN SERVER s3")
    assert failure(select, bob.session, alter).pgcode == "42501"
    bob.may("USAGE ON FOREIGN DATA WRAPPER onboard")
    select(bob.session, create)


def test_sweep_needs_usage(bob, bucket):
    sql = "SELECT * FROM onboard_abort_uploads(%s)"
    error = failure(select, bob.session, sql, (bucket,))
    assert error.pgcode == "42501"


# Exported data


def test_table_privileges(db, alice, rgw, s3, bucket):
    select(db, "CREATE TABLE private AS SELECT 1 AS a, 2 AS b")
    try:
        for query in (None, "SELECT b FROM private"):
            error = failure(
                land, alice.session, "private", query, bucket,
                server=alice.server,
            )
            assert error.pgcode == "42501"
        no_trace(rgw, bucket)
        alice.may("SELECT (a) ON private")
        query = "SELECT a FROM private"
        land(alice.session, "private", query, bucket, server=alice.server)
        assert body(s3, bucket, key_of("private")) == b"a\n1\n"
    finally:
        select(db, "DROP TABLE private")


def test_row_security(db, alice, s3, bucket):
    select(
        db,
        f"""
        CREATE TABLE shared (owner name, g int);
        INSERT INTO shared VALUES ('{alice.name}', 1), ('other', 2);
        ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON shared USING (owner = current_user);
        GRANT SELECT ON shared TO {alice.name};
        """,
    )
    try:
        land(alice.session, "shared", None, bucket, server=alice.server)
        assert body(s3, bucket, key_of("shared")) == (
            f"owner,g\n{alice.name},1\n".encode()
        )
        land(db, "shared", None, bucket)
        assert b"other,2" in body(s3, bucket, key_of("shared"))
    finally:
        select(db, "DROP TABLE shared")


def test_security_definer(db, alice, bob, s3, bucket):
    """The function's owner exports, with that role's mapping and privileges."""
    schema = "schema_" + secrets.token_hex(4)
    select(
        db,
        f"""
        CREATE SCHEMA {schema};
        GRANT ALL ON SCHEMA {schema} TO {alice.name};
        GRANT USAGE ON SCHEMA {schema} TO {bob.name};
        SET ROLE {alice.name};
        CREATE TABLE {schema}.owned AS SELECT 'of alice' AS text;
        CREATE FUNCTION {schema}.export() RETURNS text
            LANGUAGE sql SECURITY DEFINER AS $$
            SELECT (public.onboard_table('owned', 'TABLE {schema}.owned',
                '{bucket}', '{{"server": "{alice.server}"}}')).status
        $$;
        RESET ROLE;
        """,
    )
    try:
        assert value(bob.session, f"SELECT {schema}.export()") == "done"
        assert body(s3, bucket, key_of("owned")) == b"text\nof alice\n"
        assert roles_of_runs(alice.session, bucket) == [alice.name]
        assert roles_of_runs(bob.session, bucket) == []
    finally:
        select(db, f"DROP SCHEMA {schema} CASCADE")


# History and registry


def roles_of_runs(session, bucket):
    sql = "SELECT role FROM onboard_runs WHERE uri LIKE %s ORDER BY started"
    found = select(session, sql, (f"s3://{bucket}/%",))
    return [row["role"] for row in found]


def test_history_is_seen_by_membership(db, alice, bob, bucket):
    land(db, "t", QUERY, bucket)
    land(alice.session, "t", QUERY, bucket, server=alice.server)
    assert roles_of_runs(alice.session, bucket) == [alice.name]
    assert roles_of_runs(bob.session, bucket) == []
    assert roles_of_runs(db, bucket) == ["postgres", alice.name]
    select(db, f"GRANT {alice.name} TO {bob.name}")
    assert roles_of_runs(bob.session, bucket) == [alice.name]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO onboard_history (run_id, name, role)"
        " SELECT run_id, name, role FROM onboard_history",
        "UPDATE onboard_history SET name = 'forged'",
        "DELETE FROM onboard_history",
        "TRUNCATE onboard_history",
        "ALTER TABLE onboard_history DISABLE ROW LEVEL SECURITY",
        "CREATE TRIGGER t BEFORE INSERT ON onboard_history"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "SELECT * FROM onboard_tables",
        "INSERT INTO onboard_tables (name) VALUES ('forged')",
        "SELECT * FROM onboard_all()",
        """SELECT onboard_register('{"Tables": [{"table_name": "forged"}]}')""",
    ],
)
def test_only_the_owner_may(alice, sql, bucket):
    land(alice.session, "t", QUERY, bucket, server=alice.server)
    assert failure(select, alice.session, sql).pgcode == "42501"
    assert roles_of_runs(alice.session, bucket) == [alice.name]


def test_history_is_the_role_s_and_not_the_name_s(pg, db, alice, bucket):
    """A renamed role keeps its rows, and a new role of its old name has none;
    after DROP ROLE, the rows stay for roles that see all of the history."""
    name = alice.name
    land(alice.session, "t", QUERY, bucket, server=alice.server)
    rows = "SELECT name, role FROM onboard_runs WHERE uri LIKE %s"
    uri = f"s3://{bucket}/%"
    select(db, f"ALTER ROLE {name} RENAME TO {name}_old")
    select(db, f"CREATE ROLE {name} LOGIN")
    newcomer = pg.connect("onboard", user=name)
    try:
        assert select(newcomer, rows, (uri,)) == []
        here = [{"name": "t", "role": f"{name}_old"}]
        assert select(alice.session, rows, (uri,)) == here
        assert select(db, rows, (uri,)) == here
        land(alice.session, "u", QUERY, bucket, server=alice.server)
        assert len(select(alice.session, rows, (uri,))) == 2
        assert select(newcomer, rows, (uri,)) == []
    finally:
        newcomer.close()
        select(db, f"DROP ROLE {name}; ALTER ROLE {name}_old RENAME TO {name}")
    select(db, "CREATE ROLE role_that_goes")
    select(
        db, "INSERT INTO onboard_history (run_id, name, role, source, status,"
        " files, rows, raw_bytes, bytes, parts, retries, started, pid)"
        " VALUES (gen_random_uuid(), 'gone', 'role_that_goes', '', 'done', 0,"
        " 0, 0, 0, 0, 0, now(), 0)"
    )
    select(db, "DROP ROLE role_that_goes; CREATE ROLE role_that_goes")
    try:
        sql = "SELECT role FROM onboard_runs WHERE name = 'gone'"
        assert value(db, sql) == "role_that_goes"
        select(db, "SET ROLE role_that_goes")
        assert select(db, sql) == []
    finally:
        select(db, "RESET ROLE; DROP ROLE role_that_goes")


def dump_of(pg, database, *options, user="postgres"):
    return process.run(
        [
            os.path.join(pg.bindir, "pg_dump"), "-h", pg.folder, "-p",
            pg.settings["port"], "-U", user, *options, database,
        ]
    )


def test_dump_by_a_database_s_owner(pg, db, bob):
    """The database's owner may not read all of the history, nor the registry:
    with the documented option, the dump has everything else."""
    pg.psql(f"CREATE DATABASE bobs OWNER {bob.name}")
    try:
        pg.psql("CREATE EXTENSION onboard", "bobs")
        session = pg.connect("bobs", user=bob.name)
        select(session, "CREATE TABLE his AS SELECT 4711 AS n")
        session.close()
        with pytest.raises(process.RigError):
            dump_of(pg, "bobs", user=bob.name)
        dump = dump_of(
            pg, "bobs", "--exclude-table=*.onboard_*", user=bob.name
        )
        assert "4711" in dump and "CREATE EXTENSION" in dump
    finally:
        pg.psql("DROP DATABASE bobs WITH (FORCE)")


def test_restored_history_is_the_role_s_of_that_name(
    pg, db, alice, bob, bucket
):
    """The history belongs to the role with that name in the restored database;
    without such a role, it belongs to no role, even if a role gets that name
    later."""
    land(alice.session, "mine", QUERY, bucket, server=alice.server)
    insert = (
        "INSERT INTO onboard_history (run_id, name, role, source, status,"
        " files, rows, raw_bytes, bytes, parts, retries, started, pid)"
        " VALUES (gen_random_uuid(), 'lost', '{}', '', 'done', 0, 0, 0, 0, 0,"
        " 0, now(), 0)"
    )
    missing = "role_of_elsewhere"
    select(db, insert.format(missing))
    dump = dump_of(pg, "onboard", "-e", "onboard")
    pg.psql("CREATE DATABASE restored_history")
    try:
        pg.psql(dump, "restored_history")
        with_alice = pg.connect("restored_history", user=alice.name)
        select(db, f"CREATE ROLE {missing} LOGIN")
        late = pg.connect("restored_history", user=missing)
        sql = "SELECT name FROM onboard_runs WHERE name IN ('mine', 'lost')"
        assert {"name": "mine"} in select(with_alice, sql)
        assert {"name": "lost"} not in select(with_alice, sql)
        assert select(late, sql) == []
        with_alice.close()
        late.close()
    finally:
        pg.psql("DROP DATABASE restored_history WITH (FORCE)")
        select(db, f"DROP ROLE IF EXISTS {missing}")


@pytest.mark.parametrize("successor", [False, True])
def test_a_role_that_is_renamed_while_it_exports(
    pg, db, observer, make_role, make_server, rgw, s3, bucket, successor
):
    """Its row is still written; a new role of its old name gets none."""
    role = make_role()
    role.server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user=role.name
    )
    role.may(f"USAGE ON FOREIGN SERVER {role.server}")
    query = "SELECT pg_advisory_xact_lock(61) IS NULL AS n"
    select(observer, "SELECT pg_advisory_lock(61)")
    old = role.name
    try:
        with Running(
            role.session, *call(
                "renamed", query, bucket, server=role.server
            )
        ) as export:
            wait_for_event(observer, export.pid, "advisory")
            select(db, f"ALTER ROLE {old} RENAME TO {old}_new")
            role.name = f"{old}_new"
            if successor:
                select(db, f"CREATE ROLE {old}")
            select(observer, "SELECT pg_advisory_unlock(61)")
            assert export.rows()[0]["status"] == "done"
        assert select(
            db, "SELECT name, role FROM onboard_runs WHERE role LIKE %s",
            (f"{old}%",)
        ) == [{"name": "renamed", "role": role.name}]
        assert warnings(role.session) == []
    finally:
        select(observer, "SELECT pg_advisory_unlock_all()")
        if successor:
            select(db, f"DROP ROLE {old}")


def test_watermarks_of_roles_that_are_missing(pg, db, registry, bucket):
    """They belong to no role, even several of one table; those of other roles
    stay."""
    registry("inc", "SELECT 1 AS n", bucket)
    roles = ("missing_one", "missing_two", "postgres")
    for role in roles[:2]:
        select(db, f"CREATE ROLE {role}")
    try:
        for role in roles:
            select(
                db, "INSERT INTO onboard_watermarks (name, role, column_name,"
                " type, value, uri, run_id, landed) VALUES ('inc', %s, 'n',"
                " 'integer', '1', '', gen_random_uuid(), now())", (role,)
            )
        dump = dump_of(pg, "onboard", "-e", "onboard")
    finally:
        for role in roles[:2]:
            select(db, f"DROP ROLE {role}")
    pg.psql("CREATE DATABASE restored_marks")
    try:
        pg.psql(dump, "restored_marks")
        restored = pg.connect("restored_marks")
        assert select(
            restored, "SELECT role, role_id = 0 AS of_nobody FROM"
            " onboard_watermarks ORDER BY role"
        ) == [
            {"role": role, "of_nobody": role != "postgres"} for role in roles
        ]
        restored.close()
    finally:
        pg.psql("DROP DATABASE restored_marks WITH (FORCE)")


# A registry or history whose owner cannot be trusted


def test_a_watermark_is_not_written_as_whom_the_registry_s_owner_wants(
    db, alice, bob, registry, bucket
):
    """A relation in the registry's place is read with its owner's rights."""
    registry(
        "inc", "SELECT 1 AS n", bucket, watermark={"column": "n"},
        key="{name}/{run_id}",
    )
    select(db, OWNERS_CODE)
    select(db, f"GRANT CREATE ON SCHEMA public TO {bob.name}")
    select(db, f"ALTER TABLE onboard_tables OWNER TO {bob.name}")
    try:
        select(
            bob.session, "CREATE FUNCTION note() RETURNS boolean LANGUAGE"
            " plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES (current_user,"
            " ''); RETURN true; END $$;"
            "ALTER TABLE onboard_tables RENAME TO bobs_tables;"
            "CREATE VIEW onboard_tables AS SELECT * FROM bobs_tables"
            " WHERE note(); GRANT SELECT ON onboard_tables TO PUBLIC;",
        )
        select(db, f"GRANT SELECT ON onboard_tables TO {alice.name}")
        (landed,) = select(
            alice.session, "SELECT status FROM onboard_table('inc', options =>"
            " %s)", (f'{{"server": "{alice.server}"}}',)
        )
        assert landed == {"status": "done"}
        ran = select(db, "SELECT DISTINCT who FROM ran ORDER BY who")
        assert {row["who"] for row in ran} == {alice.name, bob.name}
        sql = "SELECT role FROM onboard_watermarks"
        assert select(db, sql) == [{"role": alice.name}]
    finally:
        select(
            db, "DROP VIEW IF EXISTS onboard_tables;"
            "ALTER TABLE IF EXISTS bobs_tables RENAME TO onboard_tables;"
            "ALTER TABLE onboard_tables OWNER TO CURRENT_USER;"
            "DROP FUNCTION IF EXISTS note(); DROP TABLE ran;"
            "DROP FUNCTION act()",
        )


@pytest.fixture
def owned(db, bob):
    """The history and the watermarks, owned by bob."""
    tables = ("onboard_history", "onboard_watermarks")
    select(db, f"GRANT CREATE ON SCHEMA public TO {bob.name}")
    for table in tables:
        select(db, f"ALTER TABLE {table} OWNER TO {bob.name}")
    yield bob
    for table in tables:
        select(db, f"ALTER TABLE {table} OWNER TO CURRENT_USER")


OWNERS_CODE = """
    CREATE TABLE ran (who text, path text);
    GRANT INSERT ON ran TO PUBLIC;
    CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.ran VALUES (current_user,
            set_config('search_path', 'nowhere', false));
        RETURN NULL;
    END $$;
"""


def test_a_deferred_trigger_of_the_history_does_not_run(
    db, observer, owned, registry, rgw, bucket
):
    """It would run at the end of the transaction, as the exporting role."""
    registry("t", QUERY, bucket)
    select(owned.session, OWNERS_CODE + """
        CREATE CONSTRAINT TRIGGER t AFTER INSERT ON onboard_history
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION act();
    """)
    try:
        error = failure(land, db, "t", QUERY, bucket)
        assert error.pgcode == "55000"
        assert "deferrable trigger" in str(error)
        sql = "SELECT onboard_submit('t', 'SELECT 1', %s)"
        assert failure(select, db, sql, (bucket,)).pgcode == "55000"
        (row,) = land_all(db)
        assert (row["status"], row["files"]) == ("failed", 0)
        assert select(db, "TABLE ran") == []
        no_trace(rgw, bucket)
        # A trigger that is created while the export is running comes too late.
        select(owned.session, "DROP TRIGGER t ON onboard_history")
        query = "SELECT pg_advisory_xact_lock_shared(88) IS NULL AS x"
        select(owned.session, "SELECT pg_advisory_lock(88)")
        with Running(db, *call("t", query, bucket)) as run:
            wait_for_event(observer, run.pid, "advisory")
            select(owned.session, """
                CREATE CONSTRAINT TRIGGER t AFTER INSERT ON onboard_history
                DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION act();
                SELECT pg_advisory_unlock(88);
            """)
            assert run.rows()[0]["status"] == "done"
        assert select(db, "TABLE ran") == []
        assert any("could not be written" in line for line in db.notices)
    finally:
        select(owned.session, "SELECT pg_advisory_unlock_all()")
        select(owned.session, "DROP FUNCTION act() CASCADE; DROP TABLE ran")


def test_an_immediate_trigger_of_the_history_runs_as_its_owner(
    db, owned, s3, bucket
):
    """It leaves no setting behind."""
    select(owned.session, OWNERS_CODE + """
        CREATE TRIGGER t AFTER INSERT ON onboard_history
        FOR EACH ROW EXECUTE FUNCTION act();
    """)
    try:
        path = value(db, "SHOW search_path")
        assert land(db, "t", QUERY, bucket)["status"] == "done"
        assert select(db, "TABLE public.ran") == [
            {"who": owned.name, "path": "nowhere"}
        ]
        assert value(db, "SHOW search_path") == path
    finally:
        select(db, "RESET search_path")
        select(owned.session, "DROP FUNCTION act() CASCADE; DROP TABLE ran")


def test_a_superuser_s_pruning_runs_triggers_as_the_owner(db, owned, bucket):
    select(db, OWNERS_CODE)
    try:
        select(
            owned.session, "CREATE TRIGGER acts AFTER DELETE ON"
            " onboard_history FOR EACH STATEMENT EXECUTE FUNCTION act()",
        )
        path = value(db, "SHOW search_path")
        select(db, "SELECT onboard_prune('0')")
        assert select(db, "SELECT who FROM ran") == [{"who": owned.name}]
        assert value(db, "SHOW search_path") == path
    finally:
        select(
            db, "DROP TRIGGER IF EXISTS acts ON onboard_history;"
            "DROP TABLE ran; DROP FUNCTION act()",
        )


def test_a_landed_object_whose_row_cannot_be_written(db, s3, bucket):
    """The export is valid, and a WARNING names the object."""
    select(db, """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON onboard_history
        FOR EACH ROW EXECUTE FUNCTION refuse();
    """)
    del db.notices[:]
    try:
        row = land(db, "t", QUERY, bucket)
    finally:
        select(db, "DROP FUNCTION refuse() CASCADE")
    assert row["status"] == "done"
    assert body(s3, bucket, key_of("t")) == b"one\n1\n"
    text = "".join(db.notices)
    assert 'WARNING:  the end of "t" could not be written' in text
    assert f'The object is there: "{row["uri"]}", 1 rows' in text


def test_a_cancel_while_the_row_is_written(db, pg, s3, bucket):
    """The statement is cancelled; a WARNING says that the object exists."""
    other = pg.connect("onboard")
    query = "SELECT pg_advisory_xact_lock_shared(89) IS NULL AS x"
    select(other, "SELECT pg_advisory_lock(89)")
    del db.notices[:]
    try:
        with Running(db, *call("t", query, bucket)) as run:
            wait_for_event(other, run.pid, "advisory")
            select(other, "BEGIN; LOCK TABLE onboard_history IN SHARE MODE;"
                   " SELECT pg_advisory_unlock(89)")
            wait_for_event(other, run.pid, "relation")
            select(other, "SELECT pg_cancel_backend(%s)", (run.pid,))
            assert failure(run.rows).pgcode == "57014"
    finally:
        other.close()
    assert keys(s3, bucket) == [key_of("t")]
    assert "The object is there" in "".join(db.notices)


def test_registered_query_needs_a_grant(
    db, alice, registry, s3, bucket
):
    """Without a grant, the registry is not even read."""
    registry("registered", "SELECT 'registered' AS text", bucket)
    error = failure(
        land, alice.session, "registered", None, bucket, server=alice.server
    )
    assert error.pgcode == "42P01"
    alice.may("SELECT ON onboard_tables")
    land(alice.session, "registered", None, None, server=alice.server)
    assert body(s3, bucket, key_of("registered")) == b"text\nregistered\n"
    (found,) = land_all(alice.session, server=alice.server)
    assert found["status"] == "done"
    assert roles_of_runs(alice.session, bucket) == [alice.name] * 2


def test_all_runs_as_the_caller(db, alice, registry, s3, bucket):
    """A table that the caller may not read fails, even if the registry's owner
    could read it."""
    alice.may("SELECT ON onboard_tables")
    registry("authid", "SELECT rolname FROM pg_authid", bucket)
    registry("user", "SELECT current_user", bucket)
    first, second = land_all(alice.session, server=alice.server)
    assert first["status"] == "failed"
    assert "permission denied for table pg_authid" in first["error"]
    assert second["status"] == "done"
    assert keys(s3, bucket) == [key_of("user")]
    landed = body(s3, bucket, key_of("user"))
    assert landed == f"current_user\n{alice.name}\n".encode()
    sql = (
        "SELECT name, status, sqlstate FROM onboard_runs"
        " WHERE run_id = %s ORDER BY name"
    )
    assert [
        tuple(row.values())
        for row in select(alice.session, sql, (first["run_id"],))
    ] == [("authid", "failed", "42501"), ("user", "done", None)]


# Schemas

EVIL = """
CREATE SCHEMA {schema};
SET search_path = {schema};
CREATE FUNCTION evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'evil code runs'; END $$;
CREATE FUNCTION evil(name, text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'evil code runs'; END $$;
CREATE FUNCTION evil(jsonb, text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'evil code runs'; END $$;
CREATE OPERATOR = (FUNCTION = evil, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR = (FUNCTION = evil, LEFTARG = name, RIGHTARG = text);
CREATE OPERATOR <> (FUNCTION = evil, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR ~~ (FUNCTION = evil, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR ~~ (FUNCTION = evil, LEFTARG = name, RIGHTARG = text);
CREATE FUNCTION jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'evil code runs'; END $$;
CREATE FUNCTION pg_has_role(oid, text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'evil code runs'; END $$;
CREATE TABLE onboard_history (LIKE public.onboard_history);
CREATE TABLE onboard_tables (LIKE public.onboard_tables);
CREATE VIEW pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE 1 / 0 = 1;
SET search_path = {schema}, pg_catalog, public;
"""


def test_evil_search_path(db, registry, s3, bucket):
    """Our code uses no object that is before pg_catalog in the path."""
    schema = "evil_" + secrets.token_hex(4)
    select(db, EVIL.format(schema=schema))
    try:
        assert failure(select, db, "SELECT 'a'::text = 'a'").pgcode == "P0001"
        config = (
            '{"Tables": [{"table_name": "good", "sql_query": "SELECT 1"}]}'
        )
        for _ in range(2):
            assert value(db, "SELECT onboard_register(%s)", (config,)) == 1
        select(
            db, "UPDATE public.onboard_tables SET bucket = %s", (bucket,)
        )
        (found,) = land_all(db, "go%")
        assert (found["name"], found["status"]) == ("good", "done")
        assert land(db, "good", None, None)["status"] == "done"
        for name in ("onboard_history", "onboard_tables"):
            assert select(db, f"TABLE {schema}.{name}") == []
        runs = "SELECT count(*) FROM public.onboard_runs WHERE run_id = %s"
        assert value(db, runs, (found["run_id"],)) == 1
    finally:
        select(db, f"RESET search_path; DROP SCHEMA {schema} CASCADE")


def test_row_security_of_history_under_evil_search_path(
    db, alice, bucket
):
    schema = "evil_" + secrets.token_hex(4)
    select(db, EVIL.format(schema=schema) + "RESET search_path")
    alice.may(f"USAGE ON SCHEMA {schema}")
    try:
        land(alice.session, "t", QUERY, bucket, server=alice.server)
        land(db, "t", QUERY, bucket)
        select(alice.session, f"SET search_path = {schema}, pg_catalog")
        found = select(alice.session, "SELECT role FROM public.onboard_runs")
        assert found == [{"role": alice.name}]
    finally:
        select(db, f"DROP SCHEMA {schema} CASCADE")


def test_extension_in_another_schema(pg, make_server, rgw, s3, bucket):
    pg.psql("CREATE DATABASE elsewhere")
    try:
        pg.psql(
            """
            CREATE SCHEMA "Odd schema";
            CREATE EXTENSION onboard SCHEMA "Odd schema";
            """,
            "elsewhere",
        )
        server = make_server(
            rgw.endpoint, rgw.access_key, rgw.secret_key, dbname="elsewhere"
        )
        session = pg.connect("elsewhere")
        try:
            select(session, f"SET onboard.server = {server}")
            sql = (
                """SELECT "Odd schema".onboard_register('{"Tables": ["""
                """{"table_name": "t", "sql_query": "SELECT 1 AS one"}]}')"""
            )
            assert value(session, sql) == 1
            sql = """SELECT (onboard_table).status FROM
                "Odd schema".onboard_table('t', NULL, %s) AS onboard_table"""
            assert value(session, sql, (bucket,)) == "done"
            select(
                session, 'UPDATE "Odd schema".onboard_tables SET bucket = %s',
                (bucket,),
            )
            sql = 'SELECT status FROM "Odd schema".onboard_all()'
            assert value(session, sql) == "done"
            sql = 'SELECT count(*) FROM "Odd schema".onboard_runs'
            assert value(session, sql) == 2
        finally:
            session.close()
        assert keys(s3, bucket) == [key_of("t")]
        make_server.drop()
    finally:
        pg.psql("DROP DATABASE elsewhere WITH (FORCE)")


# Secrets

LOUD = {
    "log_min_messages": "debug5",
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "debug5",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length_on_error": "-1",
    "debug_print_parse": "on",
    "debug_print_plan": "on",
}


def test_no_secret_is_shown(rgw, s3, bucket, canaries, proxy):
    """A server that logs as much as it can shows no secret, and no error does.
    """
    wrong = "canary-" + secrets.token_hex(16)
    token = "canary-" + secrets.token_hex(16)
    own = {rgw.secret_key, wrong, token}
    shown = []
    with Cluster() as cluster:
        cluster.psql("CREATE EXTENSION onboard")
        make = Server(cluster, canaries)
        place = {"dbname": "postgres"}
        make(proxy.endpoint, rgw.access_key, rgw.secret_key, name="good",
             **place)
        make(rgw.endpoint, rgw.access_key, wrong, token, name="wrong",
             **place)
        cluster.restart(LOUD)
        session, observer = cluster.connect(), cluster.connect()
        error = failure(land, session, "t", QUERY, bucket, server="wrong")
        assert error.pgcode == "28000"
        fields = [name for name in dir(error.diag) if name[0] != "_"]
        shown += [str(getattr(error.diag, name)) for name in fields]
        rule = proxy.rule("PUT", hold=True)
        sql = call("good", QUERY, bucket, server="good")
        with Running(session, *sql) as export:
            rule.wait()
            shown.append(str(select(observer, "TABLE pg_stat_activity")))
            rule.release()
            shown.append(str(export.rows()))
        # a row of the history with the store's response
        sql = "INSERT INTO onboard_tables VALUES ('kept', 'SELECT 1', %s)"
        select(session, sql, (bucket,))
        (kept,) = land_all(session, server="wrong")
        assert "S3 answered HTTP" in kept["detail"]
        shown.append(str(kept))
        shown.append(str(select(session, "TABLE onboard_runs")))
        assert kept["detail"] in shown[-1]
        shown.append(str(session.notices))
        session.close()
        observer.close()
        shown.append(cluster.log_text())
    assert keys(s3, bucket) == [key_of("good")]
    assert "DEBUG:" in shown[-1] and "onboard_table" in shown[-1]
    for text in shown:
        for secret in own:
            assert secret not in text, "a secret is shown"


def test_credentials_of_the_environment(rgw, s3, bucket, canaries):
    """The credentials are those of the server process; USAGE is all that a role
    needs."""
    env = {
        "AWS_ACCESS_KEY_ID": rgw.access_key,
        "AWS_SECRET_ACCESS_KEY": rgw.secret_key,
    }
    with Cluster(env=env) as cluster:
        cluster.psql("CREATE EXTENSION onboard; CREATE ROLE carol LOGIN")
        make = Server(cluster, canaries)
        make(rgw.endpoint, name="s3", dbname="postgres",
             credentials="environment")
        carol = cluster.connect(user="carol")
        error = failure(land, carol, "t", QUERY, bucket)
        assert error.pgcode == "42501"
        cluster.psql("GRANT USAGE ON FOREIGN SERVER s3 TO carol")
        assert land(carol, "t", QUERY, bucket)["status"] == "done"
        carol.close()
    assert keys(s3, bucket) == [key_of("t")]
