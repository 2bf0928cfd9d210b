"""Date fields of keys: the time zone and the day that they show."""

import json

import pytest

from lib.exports import body, failure, keys, select, value

FIELDS = "{year}|{month}|{day}|{hour}|{date}|{time}"
SHOWN = "YYYY|MM|DD|HH24|YYYY-MM-DD|HH24MISS"


@pytest.fixture
def register(registry, bucket):
    """Registers tables of the run in the test's bucket: register(name=options,
    ...)."""

    def several(**tables):
        for name, options in tables.items():
            registry(name, "SELECT 1 AS n", bucket, **options)

    return several


def land(db, bucket, **options):
    return value(
        db, "SELECT uri FROM onboard_table('t', 'SELECT 1 AS n', %s, %s)",
        (bucket, json.dumps({"key": FIELDS, **options})),
    )


@pytest.mark.parametrize("zone", [
    None, "UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns",
    "asia/KATHMANDU", "Etc/GMT+12",
])
def test_the_run_s_own_time(db, s3, bucket, zone):
    """The option's time zone counts, not the session's TimeZone."""
    select(db, "SET TimeZone = 'Asia/Tokyo'; BEGIN")
    select(db, "SELECT pg_sleep(1.1)")  # The clock goes on.
    land(db, bucket, **({"timezone": zone} if zone else {}))
    shown = value(
        db, f"SELECT to_char(now() AT TIME ZONE %s, '{SHOWN}')",
        (zone or "UTC",),
    )
    select(db, "COMMIT")
    assert keys(s3, bucket) == [shown]


@pytest.mark.parametrize("as_of, zone, shown", [
    ("2026-01-31", None, "2026|01|31|00|2026-01-31|000000"),
    ("2026-01-31", "Europe/Berlin", "2026|01|31|00|2026-01-31|000000"),
    ("2026-01-31 02:03", None, "2026|01|31|02|2026-01-31|020300"),
    ("2026-01-31T23:59:59.999", None, "2026|01|31|23|2026-01-31|235959"),
    ("2026-01-31T23:30Z", "Europe/Berlin", "2026|02|01|00|2026-02-01|003000"),
    ("2026-01-31 00:30+01", None, "2026|01|30|23|2026-01-30|233000"),
    ("2026-01-31T00:30:00-0330", None, "2026|01|31|04|2026-01-31|040000"),
    ("2024-02-29", "America/New_York", "2024|02|29|00|2024-02-29|000000"),
    ("0001-01-01", None, "0001|01|01|00|0001-01-01|000000"),
    ("9999-12-31T23:00", None, "9999|12|31|23|9999-12-31|230000"),
    # The hour that a clock change skips, and the one that comes twice.
    ("2026-03-29T02:30", "Europe/Berlin", "2026|03|29|03|2026-03-29|033000"),
    ("2026-10-25T02:30", "Europe/Berlin", "2026|10|25|02|2026-10-25|023000"),
])
def test_another_moment(db, s3, bucket, as_of, zone, shown):
    select(db, "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German, DMY'")
    land(db, bucket, as_of=as_of, **({"timezone": zone} if zone else {}))
    assert keys(s3, bucket) == [shown]


def test_what_sql_makes_is_read(db, s3, bucket):
    """Dates and times in SQL's JSON form are accepted; now() is the run's time.
    """
    select(db, "SET TimeZone = 'Asia/Kolkata'; BEGIN")
    for expression in ("current_date", "now()", "now()::text"):
        select(
            db, "SELECT onboard_table('t', 'SELECT now()::text AS n', %s,"
            f" jsonb_build_object('as_of', {expression}, 'timezone',"
            " 'Asia/Kolkata', 'key', %s))",
            (bucket, expression + "/{date}T{hour}"),
        )
    now = value(db, "SELECT now()::text")
    day, hour = now[:10], now[11:13]
    select(db, "COMMIT")
    assert keys(s3, bucket) == [
        f"current_date/{day}T00", f"now()/{day}T{hour}",
        f"now()::text/{day}T{hour}",
    ]
    assert body(s3, bucket, f"now()/{day}T{hour}").decode() == f"n\n{now}\n"


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("how", ["each", "together", "job"])
def test_time_zones_of_tables(db, s3, register, bucket, workers, how):
    """Each table has a time zone of its own, and all have the same moment."""
    register(
        a={"key": "{name}/{date}T{hour}", "timezone": "Asia/Tokyo"},
        b={"key": "{name}/{date}T{hour}", "timezone": "America/New_York"},
        c={"key": "{name}/{date}T{hour}"},
    )
    select(db, f"SET onboard.parallel_tables = {workers}")
    options = {"as_of": "2026-01-31T18:00Z"}
    if how == "job":
        run_id = value(db, "SELECT onboard_submit_all(NULL, %s)",
                       (json.dumps(options),))
        status = "SELECT status FROM onboard_wait(%s, '60 s')"
        assert value(db, status, (run_id,)) == "done"
    else:
        options["publish"] = how
        rows = select(db, "SELECT status FROM onboard_all(options => %s)",
                      (json.dumps(options),))
        assert {row["status"] for row in rows} == {"done"}
    assert [key for key in keys(s3, bucket) if key[0] != "_"] == [
        "a/2026-02-01T03", "b/2026-01-31T13", "c/2026-01-31T18"
    ]


def test_a_run_that_is_repeated(db, s3, register, bucket):
    """A given day is the same when the run is repeated tomorrow."""
    register(a={}, b={})
    run_id = value(db, "SELECT gen_random_uuid()")
    for _ in range(2):
        rows = select(
            db, "SELECT uri FROM onboard_all(NULL, %s, %s) ORDER BY name",
            (json.dumps({
                "key": "{name}/year={year}/month={month}/day={day}.{ext}",
                "as_of": "2026-01-05", "timezone": "Europe/Berlin",
                "manifest": True}), run_id),
        )
        assert [row["uri"] for row in rows] == [
            f"s3://{bucket}/{name}/year=2026/month=01/day=05.csv"
            for name in "ab"
        ]
    assert len(keys(s3, bucket)) == 4


def test_tables_that_would_share_a_key(db, s3, register, bucket):
    """Depending on the moment, two time zones have the same day."""
    register(a={"timezone": "Asia/Tokyo", "key": "{year}-{month}-{day}"},
             b={"timezone": "UTC", "key": "{date}"})
    run = "SELECT count(*) FROM onboard_all(options => %s)"
    error = failure(select, db, run, ('{"as_of": "2026-01-31T12:00Z"}',))
    assert error.pgcode == "42710"
    assert keys(s3, bucket) == []
    assert value(db, run, ('{"as_of": "2026-01-31T18:00Z"}',)) == 2
    assert keys(s3, bucket) == ["2026-01-31", "2026-02-01"]


def test_increments_of_one_day(db, s3, registry, bucket):
    """No increment replaces an earlier one, although their date fields are
    equal."""
    select(db, "CREATE TABLE grows AS SELECT 1 AS n")
    try:
        registry("grows", "TABLE grows", bucket, watermark={"column": "n"},
                 key="{name}/{date}/{hour}/{run_id}")
        run = "SELECT status, error FROM onboard_all(NULL, %s)"
        as_of = '{"as_of": "2026-01-31"}'
        assert value(db, run, (as_of,)) == "done"
        select(db, "INSERT INTO grows VALUES (2)")
        assert value(db, run, (as_of,)) == "done"
        found = keys(s3, bucket)
        assert len(found) == 2
        assert all(key.startswith("grows/2026-01-31/00/") for key in found)
        assert {body(s3, bucket, key) for key in found} == {b"n\n1\n",
                                                            b"n\n2\n"}
        select(db, "INSERT INTO grows VALUES (3)")
        (row,) = select(db, run, (json.dumps({
            "as_of": "2026-01-31", "key": "{year}/{month}/{day}/{hour}"}),))
        assert row["status"] == "failed"
        assert "needs a key that no other run has" in row["error"]
        assert keys(s3, bucket) == found
    finally:
        select(db, "DROP TABLE grows")


def test_the_check_shows_it(db, bucket):
    sql = "SELECT detail FROM onboard_check(%s, %s) WHERE item = 'key'"
    options = {"key": "{year}/{month}", "as_of": "2025-12-31T23:30Z",
               "timezone": "Europe/Berlin"}
    assert "2026/01" in value(db, sql, (bucket, json.dumps(options)))
