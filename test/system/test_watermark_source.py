"""Increments: the source of their column, and its sort order."""

import pytest

from lib.exports import keys, land_all, select, value
from test_watermark import increment, register, table
from test_watermark_safety import refused

__all__ = ["table"]  # a fixture

LIMITED = {
    "subquery": "SELECT * FROM (SELECT id FROM increments ORDER BY id LIMIT 5)"
                " AS few",
    "ties": "SELECT * FROM (SELECT id FROM increments ORDER BY id"
            " FETCH FIRST 5 ROWS WITH TIES) AS few",
    "offset": "SELECT * FROM (SELECT id FROM increments ORDER BY id OFFSET 1)"
              " AS most",
    "deeper": "SELECT v + 1 AS id FROM (SELECT id AS v FROM (SELECT id FROM"
              " increments FETCH FIRST 5 ROWS ONLY) AS few) AS x",
    "cte": "WITH few AS (SELECT id FROM increments LIMIT 5)"
           " SELECT id FROM (SELECT id FROM few) AS x",
    "recursive": "WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL"
                 " SELECT id + 1 FROM (SELECT id FROM r LIMIT 5) AS x"
                 " WHERE id < 9) SELECT id FROM r",
    "union": "SELECT id FROM increments UNION ALL"
             " (SELECT id FROM increments LIMIT 5)",
    "view": "SELECT id FROM few",
    "join": "SELECT id FROM (SELECT id FROM increments LIMIT 5) AS a"
            " FULL JOIN increments AS b USING (id)",
    "group": "SELECT id FROM (SELECT id FROM increments LIMIT 5) AS few"
             " GROUP BY id",
    "max": "SELECT max(id) AS id FROM (SELECT id FROM increments LIMIT 5)"
           " AS few",
    "sublink": "SELECT (SELECT few.id) AS id FROM"
               " (SELECT id FROM increments LIMIT 5) AS few",
    "lateral": "SELECT x.id FROM (SELECT id FROM increments LIMIT 5) AS few,"
               " LATERAL (SELECT few.id) AS x",
    "row": "SELECT (few).id FROM (SELECT id, 1 FROM increments LIMIT 5)"
           " AS few",
    "top": "SELECT id FROM increments ORDER BY id LIMIT 5",
    "computed": "SELECT id FROM increments OFFSET 2 - 1",
}


@pytest.fixture
def few(db, table):
    table("id int, tenant int")
    select(db, "INSERT INTO increments SELECT g, 1 FROM generate_series(1, 10)"
           " AS g; CREATE VIEW few AS SELECT id FROM increments LIMIT 5")
    yield
    select(db, "DROP VIEW few")


@pytest.mark.parametrize("form", LIMITED)
def test_67_a_limit_below(db, s3, few, bucket, form):
    """The limit is found wherever the column passes through it."""
    register(db, "increments", bucket, "id", query=LIMITED[form])
    (found,) = land_all(db)
    assert found["error"] == (
        'the query of "increments" has a LIMIT, OFFSET or FETCH'
    )
    assert keys(s3, bucket) == []


HARMLESS = {
    "all": "SELECT id FROM increments LIMIT ALL",
    "null": "SELECT id FROM increments LIMIT NULL OFFSET NULL",
    "zero": "SELECT id FROM (SELECT id FROM increments OFFSET 0) AS x",
    "expression": "SELECT id, (SELECT 1 FROM increments LIMIT 1) AS one"
                  " FROM increments",
    "condition": "SELECT id FROM increments AS i WHERE EXISTS"
                 " (SELECT FROM increments AS o WHERE o.id = i.id LIMIT 1)",
    "beside": "SELECT i.id FROM increments AS i,"
              " (SELECT id FROM increments LIMIT 1) AS one",
    "lateral": "SELECT x.id FROM increments AS i, LATERAL (WITH y AS"
               " (SELECT id FROM increments AS o WHERE o.id = i.id LIMIT 1)"
               " SELECT id FROM y) AS x",
    "except": "SELECT id FROM increments EXCEPT"
              " (SELECT 0 FROM increments LIMIT 1)",
    "recursive": "WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL"
                 " SELECT id + 1 FROM r WHERE id < 10) SELECT id FROM r",
}


@pytest.mark.parametrize("form", HARMLESS)
def test_67_a_limit_that_takes_nothing(db, s3, few, bucket, form):
    register(db, "increments", bucket, "id", query=HARMLESS[form])
    assert len(increment(db, s3, bucket)) == 10
    assert increment(db, s3, bucket) is None


def test_67_a_sample(db, s3, few, bucket):
    """A sample that differs each time loses rows."""
    register(
        db, "increments", bucket, "id",
        query="SELECT id FROM (SELECT * FROM increments"
        " TABLESAMPLE BERNOULLI (50)) AS x",
    )
    (found,) = land_all(db)
    assert found["error"] == (
        'the query of "increments" has a TABLESAMPLE without REPEATABLE'
    )
    select(db, "UPDATE onboard_tables SET query = 'SELECT id FROM increments"
           " TABLESAMPLE BERNOULLI (100) REPEATABLE (1)'")
    assert len(increment(db, s3, bucket)) == 10


CHANGING = {
    "random": "SELECT random() AS id FROM increments",
    "clock": "SELECT clock_timestamp() AS id FROM increments",
    "own": "SELECT same(id) AS id FROM increments",
    "below": "SELECT id + 1 AS id FROM (SELECT id + random() AS id"
             " FROM increments) AS x",
    "view": "SELECT id FROM odd",
    "function": "SELECT r AS id FROM increments, random() AS r",
    "values": "SELECT id FROM (VALUES (1, 1), (1, random())) AS v (x, id)",
    "union": "SELECT id FROM increments UNION ALL SELECT random()",
    "sublink": "SELECT (SELECT max(r) FROM random() AS r) AS id"
               " FROM increments",
}


@pytest.mark.parametrize("form", CHANGING)
def test_66_a_column_that_changes(db, s3, few, bucket, form):
    """The value is looked up before the export, and differs during it."""
    select(db, "CREATE FUNCTION same(int) RETURNS int LANGUAGE sql AS"
           " 'SELECT $1'; CREATE VIEW odd AS SELECT random() AS id")
    try:
        register(db, "increments", bucket, "id", query=CHANGING[form])
        (found,) = land_all(db)
        assert found["error"] == (
            'column "id" of "increments" is made by a volatile function'
        )
        assert keys(s3, bucket) == []
        select(db, "ALTER FUNCTION same STABLE")
        if form == "own":
            assert len(increment(db, s3, bucket)) == 10
    finally:
        select(db, "DROP VIEW odd; DROP FUNCTION same")


@pytest.mark.parametrize("query", [
    "SELECT id, random() AS other FROM increments",
    "SELECT id FROM (SELECT *, random() AS r FROM increments) AS x",
    "SELECT v AS id FROM several() AS v",
    "SELECT v AS id FROM (VALUES (1, random()), (2, 2)) AS x (v, w)",
])
def test_66_other_columns_may_change(db, s3, few, bucket, query):
    """A function may also take the place of a table."""
    select(db, "CREATE FUNCTION several() RETURNS SETOF int LANGUAGE sql AS"
           " 'SELECT id FROM increments'")
    try:
        register(db, "increments", bucket, "id", query=query)
        assert increment(db, s3, bucket)
        assert increment(db, s3, bucket) is None
    finally:
        select(db, "DROP FUNCTION several")


# The order


ICU = "provider = icu, locale"
ORDERS = {
    # columns, values, then statements that change the order
    "collation": ("v text", "('b')",
                  "ALTER TABLE increments ALTER v TYPE text COLLATE german"),
    "provider": ("v text COLLATE \"C\"", "('b')",
                 "ALTER TABLE increments ALTER v TYPE text COLLATE german"),
    "same name": ("v text COLLATE german", "('b')",
                  "ALTER TABLE increments ALTER v TYPE text;"
                  f"DROP COLLATION german; CREATE COLLATION german ({ICU} ="
                  " 'de-u-kf-upper'); ALTER TABLE increments ALTER v TYPE text"
                  " COLLATE german"),
    "array": ("v text[]", "('{b}')",
              "ALTER TABLE increments ALTER v TYPE text[] COLLATE german"),
    "precision": ("v timestamptz(6)", "('2026-01-01 00:00:00.5+00')",
                  "ALTER TABLE increments ALTER v TYPE timestamptz(0)"),
    "scale": ("v numeric(10,2)", "(1.25)",
              "ALTER TABLE increments ALTER v TYPE numeric(10,1)"),
    "domain": ("v feeling", "('ok')",
               "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'ok'"),
    "enum": ("v mood", "('ok')",
             "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'"),
    "renamed": ("v mood", "('ok')", "ALTER TYPE mood RENAME VALUE 'ok' TO 'o'"),
    "lower renamed": ("v mood", "('ok')",
                      "ALTER TYPE mood RENAME VALUE 'sad' TO 's'"),
    "enum in a pair": ("v pair", "('(ok,b)')",
                       "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'"),
    "enum in an array": ("v mood[]", "('{ok}')",
                         "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'"),
    "more attributes": ("v pair", "('(ok,b)')",
                        "ALTER TYPE pair ADD ATTRIBUTE more int CASCADE"),
}


@pytest.fixture
def orders(db):
    select(
        db, f"CREATE COLLATION german ({ICU} = 'de');"
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');"
        "CREATE DOMAIN feeling AS mood;"
        "CREATE TYPE pair AS (m mood, t text)"
    )
    yield
    select(db, "DROP TYPE pair; DROP DOMAIN feeling; DROP TYPE mood;"
           "DROP COLLATION german")


@pytest.fixture
def ordered(db, s3, orders, table, bucket):
    """Makes a table with these columns, and lands these values."""

    def make(columns, values, query="TABLE increments"):
        table(columns)
        register(db, "increments", bucket, "v", 0, query=query)
        select(db, f"INSERT INTO increments VALUES {values}")
        assert increment(db, s3, bucket)

    yield make
    select(db, "DROP TABLE increments; CREATE TABLE increments ()")


@pytest.mark.parametrize("order", ORDERS)
def test_62_another_order(db, s3, ordered, bucket, order):
    """Then rows below the watermark are not those that have landed."""
    columns, values, change = ORDERS[order]
    ordered(columns, values)
    assert increment(db, s3, bucket)
    select(db, change)
    refused(db, s3, bucket, 'the order of column "v" of "increments" has')
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
    assert increment(db, s3, bucket)


SAME_ORDER = {
    "wider": ("v varchar(5)", "('b')",
              "ALTER TABLE increments ALTER v TYPE varchar(50)"),
    "added above": ("v mood", "('ok')",
                    "ALTER TYPE mood ADD VALUE 'great' AFTER 'ok'"),
    "lower of a pair": ("v pair", "('(ok,b)')",
                        "ALTER TYPE pair RENAME ATTRIBUTE t TO u"),
    "renamed": ("v text COLLATE german", "('b')",
                "ALTER TABLE increments RENAME TO other;"
                "ALTER TABLE other RENAME TO increments"),
}


@pytest.mark.parametrize("order", SAME_ORDER)
def test_62_the_same_order(db, s3, ordered, bucket, order):
    columns, values, change = SAME_ORDER[order]
    ordered(columns, values)
    select(db, change)
    assert len(increment(db, s3, bucket)) == 1


def test_62_an_enum_that_goes_on(db, s3, ordered, bucket):
    """Only labels up to the watermark count."""
    ordered("v mood", "('sad')")
    select(db, "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'ok'")
    select(db, "INSERT INTO increments VALUES ('so so'), ('ok')")
    assert increment(db, s3, bucket) == ["ok", "sad", "so so"]
    sql = "SELECT ordering FROM onboard_watermarks"
    assert value(db, sql) == "public.mood ('sad', 'so so', 'ok')"
    select(db, "ALTER TYPE mood ADD VALUE 'last'")
    assert increment(db, s3, bucket) == ["ok"]
    select(db, "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'so so'")
    refused(db, s3, bucket, 'the order of column "v" of "increments" has')


@pytest.mark.parametrize("collation", ["german", "pg_catalog.\"default\""])
def test_62_another_version_of_a_collation(
    db, s3, ordered, bucket, collation
):
    """This simulates an upgrade of ICU, or of the operating system's
    collations."""
    ordered(f"v text COLLATE {collation}", "('b')")
    actual = value(
        db, "SELECT pg_collation_actual_version(%s::regcollation)",
        (collation,),
    )
    kept = value(db, "SELECT ordering FROM onboard_watermarks")
    if collation != "german":
        assert kept == 'text COLLATE "default" (libc, C)'
        return
    assert kept == f"text COLLATE public.german (icu, de, version {actual})"
    assert len(increment(db, s3, bucket)) == 1
    select(db, "UPDATE onboard_watermarks SET ordering ="
           " replace(ordering, %s, '1.2.3')", (actual,))
    refused(db, s3, bucket, 'the order of column "v" of "increments" has')
    assert value(db, "SELECT onboard_reset_watermark('increments', keep => true)") == 1
    assert len(increment(db, s3, bucket)) == 1
    assert value(db, "SELECT ordering FROM onboard_watermarks") == kept


def test_62_the_order_of_a_query(db, s3, ordered, bucket):
    """The column's sort order counts, not that of the query."""
    ordered("v text", "('b')", 'SELECT v COLLATE "C" AS v FROM increments')
    select(db, "ALTER TABLE increments ALTER v TYPE text COLLATE german")
    assert len(increment(db, s3, bucket)) == 1


# Values that a watermark cannot keep


@pytest.mark.parametrize("query, reason", [
    ("SELECT ROW(id) AS id FROM increments",
     "input of anonymous composite types is not implemented"),
    ("SELECT ARRAY[ROW(id)] AS id FROM increments",
     "input of anonymous composite types is not implemented"),
    # Two operators have this name.
    ("SELECT '+(integer,integer)'::regoperator::oid::regoper AS id"
     " FROM increments", "more than one operator named pg_catalog.+"),
])
def test_66_a_value_that_no_increment_can_follow(
    db, s3, few, bucket, query, reason
):
    """The error comes before anything lands."""
    register(db, "increments", bucket, "id", query=query)
    (found,) = land_all(db)
    assert found["error"] == (
        'column "id" of "increments" cannot be a watermark'
    )
    assert reason in "".join(db.notices)
    assert keys(s3, bucket) == []


def test_66_a_watermark_that_is_of_no_use_any_more(db, s3, ordered, bucket):
    """The error says what to do."""
    ordered("v mood", "('ok')")
    select(db, "ALTER TYPE mood RENAME VALUE 'ok' TO 'good';"
           "SELECT onboard_reset_watermark('increments', keep => true)")
    (found,) = land_all(db)
    assert found["error"] == (
        'the watermark of "increments" cannot be used any more'
    )
    notices = "".join(db.notices)
    assert 'invalid input value for enum public.mood: "ok"' in notices
    assert "onboard_reset_watermark('increments') forgets it" in notices
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
    assert increment(db, s3, bucket) == ["good"]
