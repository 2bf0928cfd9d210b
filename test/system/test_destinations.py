"""The server that an export goes to, and the roles that may determine it."""

import pathlib
import re
import secrets

import pytest

from lib.exports import (
    body, failure, key_of, keys, land, land_all, select, value,
)
from lib.process import wait_until
from lib.proxy import Proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUERY = "SELECT 'secret' AS a FROM generate_series(1, 100)"
LAKE = "my-lake"


@pytest.fixture
def evil(rgw):
    """An attacker's store, which must not receive any request."""
    with Proxy(rgw.endpoint) as server:
        yield server


@pytest.fixture
def stranger(db, make_role, rgw, evil):
    """A role with USAGE on the wrapper, and a server that offers itself to all
    roles."""
    role = make_role()
    role.may("USAGE ON FOREIGN DATA WRAPPER onboard")
    role.make = lambda name: offer(role, name, evil, rgw)
    role.server = role.make("evil_" + secrets.token_hex(4))
    return role


def offer(role, name, evil, rgw):
    """Makes a server with USAGE for PUBLIC and a mapping for PUBLIC."""
    select(
        role.session,
        f"""CREATE SERVER {name} FOREIGN DATA WRAPPER onboard
            OPTIONS (endpoint '{evil.endpoint}');
        GRANT USAGE ON FOREIGN SERVER {name} TO PUBLIC;
        CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS
            (access_key_id '{rgw.access_key}', secret_access_key 'none')""",
    )
    return name


@pytest.fixture
def lake(s3, rgw):
    """The bucket of docs/operations.md."""
    s3.create_bucket(Bucket=LAKE)
    yield LAKE
    for key in keys(s3, LAKE):
        s3.delete_object(Bucket=LAKE, Key=key)
    s3.delete_bucket(Bucket=LAKE)


def documented():
    """The SQL of the SECURITY DEFINER function of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    (found,) = re.findall(r"```sql\n(CREATE FUNCTION .*?)```", text, re.S)
    return found


# A caller's settings in a function that runs with the rights of its owner


def test_the_documented_function_keeps_its_destination(
    db, stranger, lake, s3, evil
):
    select(
        db, f"CREATE TABLE orders AS {QUERY}; CREATE ROLE analyst;"
        + documented() + f"GRANT analyst TO {stranger.name}",
    )
    try:
        select(stranger.session, f"SET onboard.server = '{stranger.server}'")
        select(stranger.session, "SELECT land_orders()")
        assert body(s3, lake, key_of("orders")).count(b"secret") == 100
        assert evil.connections == 0
    finally:
        select(
            db, "DROP FUNCTION land_orders; DROP TABLE orders;"
            "DROP ROLE analyst",
        )


CALLS = {
    "table": "SELECT status FROM onboard_table('t', {query}, {bucket})",
    "all": "SELECT status FROM onboard_all(options => {raises})",
    "job": "SELECT status FROM onboard_wait(onboard_submit("
    "'t', {query}, {bucket}))",
    "jobs": "SELECT status FROM onboard_wait(onboard_submit_all())",
    "sweep": "SELECT 'done' FROM (SELECT count(*) FROM"
    " onboard_abort_uploads({bucket})) AS swept",
    "check": "SELECT detail FROM onboard_check({bucket})"
    " WHERE item = 'server'",
}


@pytest.fixture
def define(db, bucket, registry):
    """Makes functions that run with the superuser's rights."""
    names = []

    def make(call, more=""):
        name = "definer_" + secrets.token_hex(4)
        body = CALLS[call].format(
            query="$q$" + QUERY + "$q$", bucket=f"'{bucket}'",
            raises="""'{"on_error": "raise"}'""",
        )
        select(
            db, f"CREATE FUNCTION {name}() RETURNS text LANGUAGE sql"
            f" SECURITY DEFINER SET search_path = public, pg_temp {more}"
            f" AS $f$ {body} $f$",
        )
        names.append(name)
        return name

    registry("t", QUERY, bucket)
    yield make
    for name in names:
        select(db, f"DROP FUNCTION {name}")


def result_or_error(session, function):
    """The result of a function, or its complete error."""
    try:
        found = value(session, f"SELECT {function}()")
    except Exception as error:
        found = f"{error.pgcode} {error} {error.diag.message_hint}"
    return f"{found} {''.join(session.notices)}"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["set", "local", "wrapped", "role", "client"])
def test_a_caller_does_not_redirect_rights_of_others(
    pg, db, stranger, define, evil, call, how
):
    name = define(call)
    session = stranger.session
    if how == "role":
        select(
            session, f"ALTER ROLE {stranger.name}"
            f" SET onboard.server = '{stranger.server}'",
        )
    options = f"-c onboard.server={stranger.server}"
    if how in ("role", "client"):
        session = pg.connect(
            "onboard", user=stranger.name,
            options=options if how == "client" else "",
        )
    elif how == "set":
        select(session, f"SET onboard.server = '{stranger.server}'")
    elif how == "local":
        select(session, f"BEGIN; SET LOCAL onboard.server = '{stranger.server}'")
    else:
        select(
            session, "CREATE FUNCTION pg_temp.wrap() RETURNS text LANGUAGE sql"
            f" SET onboard.server = '{stranger.server}'"
            f" AS 'SELECT {name}()'",
        )
        name = "pg_temp.wrap"
    output = result_or_error(session, name)
    if call == "jobs" or call == "job":
        # a job of the superuser's, which the stranger cannot see
        sql = "SELECT error FROM onboard_runs ORDER BY started DESC LIMIT 1"
        output += value(db, sql)
    assert f"of role \"{stranger.name}\" does not count for exports of role" \
        ' "postgres"' in output
    assert evil.connections == 0
    if session is not stranger.session:
        session.close()


@pytest.mark.parametrize("call", CALLS)
def test_a_function_sets_its_own_destination(
    db, stranger, define, bucket, s3, evil, call
):
    name = define(call, "SET onboard.server = 's3'")
    select(stranger.session, f"SET onboard.server = '{stranger.server}'")
    output = result_or_error(stranger.session, name)
    assert "does not count" not in output
    if call not in ("sweep", "check"):
        assert keys(s3, bucket) == [key_of("t")]
    assert evil.connections == 0


def test_a_function_leaves_no_destination_behind(
    db, stranger, bucket, s3, evil
):
    """A superuser calls the function, which makes settings that outlast it."""
    select(
        stranger.session, "CREATE FUNCTION pg_temp.harmless() RETURNS text"
        " LANGUAGE sql SECURITY DEFINER AS"
        f" $$SELECT set_config('onboard.server', '{stranger.server}',"
        " false)$$",
    )
    temp = value(
        stranger.session, "SELECT nspname FROM pg_namespace"
        " WHERE oid = pg_my_temp_schema()",
    )
    select(db, f"SELECT {temp}.harmless()")
    error = failure(land, db, "t", QUERY, bucket)
    assert error.pgcode == "42501"
    assert "does not count" in str(error)
    assert "option \"server\"" in error.diag.message_hint
    select(db, "RESET onboard.server")
    assert land(db, "t", QUERY, bucket)["status"] == "done"
    assert evil.connections == 0


def test_members_choose_destinations_of_their_group(
    db, alice, bob, bucket, s3
):
    """SET ROLE: a role's members may determine where its exports go."""
    select(db, f"GRANT {alice.name} TO {bob.name}")
    select(
        bob.session,
        f"SET onboard.server = '{alice.server}'; SET ROLE {alice.name}",
    )
    assert land(bob.session, "t", QUERY, bucket)["status"] == "done"
    select(bob.session, "RESET onboard.server; RESET ROLE")
    select(
        db, f"SET onboard.server = '{alice.server}'; SET ROLE {alice.name}"
    )
    assert land(db, "u", QUERY, bucket)["status"] == "done"
    select(db, "RESET ROLE")
    assert keys(s3, bucket) == [key_of("t"), key_of("u")]


# A server that has the name of the default without being chosen


@pytest.fixture
def no_default(db):
    """While the test runs, server s3 has another name."""
    select(db, "ALTER SERVER s3 RENAME TO s3_away")
    yield
    select(db, "DROP SERVER IF EXISTS s3 CASCADE")
    select(db, "ALTER SERVER s3_away RENAME TO s3")


def test_a_stranger_s_default_is_not_used(
    db, stranger, bob, bucket, registry, evil, no_default
):
    """Superusers pass all checks of USAGE, and PUBLIC has USAGE here."""
    stranger.make("s3")
    registry("payroll", QUERY, bucket)
    bob.may("SELECT ON onboard_tables")
    for session in (db, bob.session):
        (found,) = land_all(session)
        assert found["status"] == "failed"
        assert "is not used by default" in found["error"]
        error = failure(land, session, "payroll", QUERY, bucket)
        assert error.pgcode == "42501"
        assert "ALTER SERVER s3 OWNER TO" in error.diag.message_hint
        sql = "SELECT * FROM onboard_abort_uploads(%s)"
        assert failure(select, session, sql, (bucket,)).pgcode == "42501"
        sql = "SELECT ok FROM onboard_check(%s) WHERE item = 'server'"
        assert value(session, sql, (bucket,)) is False
    assert evil.connections == 0


def session_with_default(pg, name):
    """A session that has begun with that setting, or None if the connection
    failed."""
    session = pg.connect("onboard")
    select(session, "LOAD 'onboard'")
    if value(session, "SHOW onboard.server") == name:
        return session
    session.close()
    return None


@pytest.mark.parametrize("how", ["database", "file"])
def test_a_default_for_everybody_is_no_choice(
    pg, db, stranger, bucket, evil, how
):
    name = stranger.make("lake_" + secrets.token_hex(4))
    place = "DATABASE onboard SET" if how == "database" else "SYSTEM SET"
    reset = place.replace("SET", "RESET")
    select(db, "LOAD 'onboard'")
    select(db, f"ALTER {place} onboard.server = '{name}'")
    try:
        select(db, "SELECT pg_reload_conf()")
        session = wait_until(lambda: session_with_default(pg, name), 30, "a reload")
        error = failure(land, session, "t", QUERY, bucket)
        assert error.pgcode == "42501"
        assert "is not used by default" in str(error)
        session.close()
    finally:
        select(db, f"ALTER {reset} onboard.server")
        select(db, "SELECT pg_reload_conf()")
    assert evil.connections == 0


def test_a_server_that_is_named_is_used(
    pg, db, make_role, rgw, bucket, s3, no_default
):
    """A team whose servers belong to no superuser."""
    owner, member, guest = make_role(), make_role(), make_role()
    owner.may("USAGE ON FOREIGN DATA WRAPPER onboard")
    select(db, f"GRANT {owner.name} TO {member.name}")
    select(
        owner.session,
        f"""CREATE SERVER s3 FOREIGN DATA WRAPPER onboard
            OPTIONS (endpoint '{rgw.endpoint}');
        GRANT USAGE ON FOREIGN SERVER s3 TO {guest.name};
        CREATE USER MAPPING FOR PUBLIC SERVER s3 OPTIONS
            (access_key_id '{rgw.access_key}',
             secret_access_key '{rgw.secret_key}')""",
    )
    assert land(owner.session, "owner", QUERY, bucket)["files"] == 1
    assert land(member.session, "member", QUERY, bucket)["files"] == 1
    for session in (guest.session, db):
        assert failure(land, session, "t", QUERY, bucket).pgcode == "42501"
    assert land(db, "named", QUERY, bucket, server="s3")["files"] == 1
    select(guest.session, "SET onboard.server = 's3'")
    assert land(guest.session, "set", QUERY, bucket)["files"] == 1
    # a role's setting for all databases names no server of this database
    select(db, f"ALTER ROLE {guest.name} SET onboard.server = 's3'")
    session = pg.connect("onboard", user=guest.name)
    assert failure(land, session, "t", QUERY, bucket).pgcode == "42501"
    session.close()
    select(
        db, f"ALTER ROLE {guest.name} IN DATABASE onboard"
        " SET onboard.server = 's3'",
    )
    session = pg.connect("onboard", user=guest.name)
    assert land(session, "role", QUERY, bucket)["files"] == 1
    session.close()
    select(db, "ALTER SERVER s3 OWNER TO postgres")
    assert land(db, "default", QUERY, bucket)["files"] == 1
    assert len(keys(s3, bucket)) == 6
