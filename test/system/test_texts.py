"""Texts that are too long for their destination are clipped between characters.

The databases have two encodings, and clients others: half a character would
make a whole statement fail there.
"""

import itertools
import json
import select as sockets

import pytest
from conftest import Server

from lib import process
from lib.exports import Running, call, failure, land, select, value
from lib.proxy import s3_error

# Each sign has three bytes in UTF-8; two in EUC_JP, but three where SJIS has
# none.
PAIRS = {
    "UTF8": "\u8868\u4e02", "EUC_JP": "\u8868\u4e02", "SJIS": "\u8868\uff71"
}
CLIENTS = list(PAIRS)


@pytest.fixture(scope="module", params=["UTF8", "EUC_JP"])
def database(request, pg, rgw, canaries):
    name = f"texts_{request.param.lower()}"
    pg.psql(f"CREATE DATABASE {name} ENCODING '{request.param}'"
            " TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    pg.psql("CREATE EXTENSION onboard", name)
    pg.psql(
        """
        CREATE FUNCTION raises(message text, detail text, hint text)
        RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%', message USING DETAIL = detail, HINT = hint;
        END $$
        """, name,
    )
    Server(pg, canaries)(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=name
    )
    yield name
    pg.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def session(pg, database):
    connection = pg.connect(database)
    yield connection
    select(connection, "DELETE FROM onboard_tables")
    connection.close()


def beginning(session, whole, size):
    """The prefix that fits into size bytes, including a NUL, by PostgreSQL's
    functions."""
    found = ""
    length = 0
    sizes = {
        char: value(session, "SELECT octet_length(%s)", (char,))
        for char in set(whole)
    }
    for char in whole:
        length += sizes[char]
        if length >= size:
            break
        found += char
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_errors_of_workers(session, bucket, client):
    """Message, DETAIL and HINT are clipped at each offset."""
    wholes = {}
    for n, start in itertools.product(range(4), range(2)):
        wholes[f"t{n}{start}"] = "x" * n + (PAIRS[client] * 1500)[start:]
    for name, whole in wholes.items():
        select(
            session, "INSERT INTO onboard_tables (name, query, bucket)"
            " VALUES (%s, format('SELECT raises(%%L, %%L, %%L)', %s::text,"
            " %s::text, %s::text), %s)",
            (name, *[whole] * 3, bucket),
        )
    session.set_client_encoding(client)
    del session.notices[:]
    rows = select(session, "SELECT * FROM onboard_all() ORDER BY name")
    assert [row["name"] for row in rows] == sorted(wholes)
    received = "".join(session.notices)
    for row in rows:
        whole = wholes[row["name"]]
        error = beginning(session, whole, 2048)
        assert row["error"] == error != whole
        assert row["detail"] == beginning(session, whole, 1024)
        assert f'could not export "{row["name"]}": {error}\n' in received
        assert f"DETAIL:  {beginning(session, whole, 1024)}\n" in received
        assert f"HINT:  {beginning(session, whole, 512)}\n" in received
    # the history has the whole text
    errors = select(
        session, "SELECT name, error, detail FROM onboard_runs"
        " WHERE run_id = %s", (rows[0]["run_id"],),
    )
    assert {row["name"]: row["error"] for row in errors} == wholes
    assert {row["name"]: row["detail"] for row in errors} == wholes


def test_errors_of_jobs(session, bucket):
    """A job that could not begin reports the reason to its submitter."""
    select(
        session, f"""
        CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%', repeat('x', length(NEW.name))
                || repeat('{PAIRS['UTF8']}', 1500)
                USING DETAIL = repeat('y', length(NEW.name))
                || repeat('{PAIRS['UTF8']}', 1500);
        END $$
        """
    )
    select(session, "CREATE TRIGGER refuses BEFORE INSERT ON onboard_history"
                    " FOR EACH ROW EXECUTE FUNCTION refuses()")
    try:
        for n in range(1, 6):
            whole = "x" * n + PAIRS["UTF8"] * 1500
            error = failure(
                value, session, "SELECT onboard_submit(%s, 'SELECT 1', %s)",
                ("n" * n, bucket),
            )
            assert error.diag.message_primary == (
                "could not begin the run: " + beginning(session, whole, 1024)
            )
            assert error.diag.message_detail == beginning(
                session, whole.replace("x", "y"), 1024
            )
    finally:
        select(session, "DROP FUNCTION refuses() CASCADE")


@pytest.mark.parametrize("client", CLIENTS)
def test_names(pg, database, session, proxy, rgw, canaries, bucket, client):
    """Names are clipped in the views of running exports, and in notifications.
    """
    server = Server(pg, canaries)
    proxied = server(proxy.endpoint, rgw.access_key, rgw.secret_key,
                     dbname=database)
    listener = pg.connect(database)
    listener.set_client_encoding(client)
    select(listener, "LISTEN onboard")
    try:
        for n in range(4):
            name = "x" * n + PAIRS[client] * 160
            held = proxy.rule("PUT", hold=True)
            options = {"server": proxied, "key": f"k{n}"}
            with Running(session, *call(name, "SELECT 1", bucket, **options)
                         ) as run:
                held.wait()
                (row,) = select(listener, "TABLE onboard_progress")
                begins = row["name"].rstrip(".")
                assert name.startswith(begins) and len(begins) >= 12
                held.release()
                run.rows()
            received = []
            while not received:
                ready, _, _ = sockets.select([listener], [], [], 30)
                assert ready
                listener.poll()
                received = [json.loads(one.payload) for one in listener.notifies]
                del listener.notifies[:]
            assert received[0]["name"] == beginning(session, name, 401)
    finally:
        listener.close()
        server.drop()


@pytest.mark.parametrize("client", CLIENTS)
def test_activity(pg, database, session, bucket, client):
    """pg_stat_activity shows a worker's activity with names of any length."""
    names = ["x" * n + PAIRS[client] * 350 for n in range(2)]
    for n, name in enumerate(names):
        select(
            session, "INSERT INTO onboard_tables (name, query, bucket,"
            " options) VALUES (%s, 'SELECT pg_advisory_xact_lock_shared(65)"
            " IS NULL', %s, %s)", (name, bucket, json.dumps({"key": str(n)})),
        )
    observer = pg.connect(database)
    observer.set_client_encoding(client)
    select(observer, "SELECT pg_advisory_lock(65)")
    sql = ("SELECT query FROM pg_stat_activity WHERE wait_event = 'advisory'"
           " AND backend_type = 'onboard worker'")
    try:
        with Running(session, "SELECT status FROM onboard_all()") as run:
            process.wait_until(
                lambda: len(select(observer, sql)) == 2, 30, "both wait"
            )
            for row in select(observer, sql):
                begins = row["query"].removeprefix('onboard: export of "')
                assert any(name.startswith(begins) for name in names)
            select(observer, "SELECT pg_advisory_unlock(65)")
            assert [row["status"] for row in run.rows()] == ["done"] * 2
    finally:
        observer.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_texts_of_a_store(pg, database, session, proxy, rgw, canaries, bucket,
                          client):
    """Keys in S3 are UTF-8, and a message may have any bytes."""
    server = Server(pg, canaries)
    proxied = server(proxy.endpoint, rgw.access_key, rgw.secret_key,
                     dbname=database)
    session.set_client_encoding(client)
    try:
        for n in range(4):
            key = "x" * n + PAIRS[client] * 165
            proxy.rule("PUT", response=s3_error(
                403, "AccessDenied", "m" * n + "\u8868\u00e9\U0001f600" * 300
            ))
            error = failure(
                land, session, "t", "SELECT 1", bucket, server=proxied,
                key=key,
            )
            assert error.pgcode == "42501"
            assert key in error.diag.message_primary
            error.diag.message_detail.encode("ascii")
    finally:
        server.drop()


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("client", CLIENTS)
def test_an_error_that_the_client_cannot_read(
    pg, database, session, bucket, client, workers
):
    """The run goes on, and the history has the error."""
    whole = "m" + PAIRS["UTF8"]  # SJIS does not have the sign
    for name in "ab":
        select(
            session, "INSERT INTO onboard_tables (name, query, bucket)"
            " VALUES (%s, format('SELECT raises(%%L, %%L, ''x'')',"
            " %s::text, %s::text), %s)", (name, whole, whole, bucket),
        )
    select(session, f"SET onboard.parallel_tables = {workers}")
    session.set_client_encoding(client)
    found = select(session, "SELECT * FROM onboard_all()")
    assert len(found) == 2
    for row in found:
        for text in (row["error"], row["detail"]):
            if client != "SJIS":
                assert text == whole
            else:  # PostgreSQL's conversion from EUC_JP replaces the sign
                assert text in ("m??", "m\u8868\u3013")
    observer = pg.connect(database)
    try:
        observer.set_client_encoding("UTF8")
        kept = select(
            observer, "SELECT error, detail FROM onboard_runs"
            " WHERE run_id = %s", (found[0]["run_id"],),
        )
        assert [tuple(row.values()) for row in kept] == [(whole, whole)] * 2
    finally:
        observer.close()


@pytest.mark.parametrize("workers", [0, 4])
def test_bytes_of_no_encoding(pg, rgw, canaries, bucket, workers):
    """A database in SQL_ASCII contains any bytes that clients have sent."""
    name = "texts_sql_ascii"
    pg.psql(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII'"
            " TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    pg.psql("CREATE EXTENSION onboard", name)
    Server(pg, canaries)(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=name
    )
    session = pg.connect(name)
    try:
        session.set_client_encoding("UTF8")
        select(
            session, "INSERT INTO onboard_tables (name, query, bucket) VALUES"
            " ('bad', format('SELECT %%L::int', 'caf' || chr(233)), %s),"
            " ('good', 'SELECT 1', %s)", (bucket, bucket),
        )
        select(session, f"SET onboard.parallel_tables = {workers}")
        found = select(session, "SELECT * FROM onboard_all() ORDER BY name")
        assert [row["status"] for row in found] == ["failed", "done"]
        assert '"caf?"' in found[0]["error"]
        assert '"caf?"' in session.notices[0]
    finally:
        session.close()
        pg.psql(f"DROP DATABASE {name} WITH (FORCE)")
