"""The recipes of docs/recipes.md, with the real servers.

The tests run the SQL blocks as printed.
"""

import datetime
import os
import pathlib
import re
import subprocess

import pytest

from lib import process
from lib.exports import body, copy, key_of, keys, land_all, select, value
from lib.mariadb import MariaDB
from lib.postgres import Cluster, faketime

RECIPES = (
    pathlib.Path(__file__).parent.parent.parent / "docs" / "recipes.md"
)


def recipe(heading, language="sql", **places):
    """The code below a heading, with its placeholders replaced."""
    section = RECIPES.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(rf"```{language}\n(.*?)```", section, re.S)
    for name, text in places.items():
        assert any(name in block for block in blocks), name
        blocks = [block.replace(name, str(text)) for block in blocks]
    return blocks


def test_alerts(pg, db, rgw, s3, registry, bucket, tmp_path):
    """A failed, a late and a new table are reported; tables that are well are not."""
    (view,) = recipe("Alerts")
    check, metrics = recipe("Alerts", "sh")
    environment = {
        **os.environ, "PGHOST": pg.folder, "PGPORT": pg.settings["port"],
        "PGUSER": "postgres", "PGDATABASE": "onboard",
    }

    def run(script):
        return subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environment, text=True,
            capture_output=True, check=True, timeout=60,
        ).stdout

    select(db, view)
    try:
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket) VALUES"
            " ('alert_good', 'SELECT 1', %s), ('alert_bad \"\\', 'SELECT 1 / 0', %s)",
            (bucket, bucket),
        )
        land_all(db)
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket, enabled) VALUES"
            " ('alert_new', 'SELECT 1', %s, true),"
            " ('alert_off', 'SELECT 1', %s, false)",
            (bucket, bucket),
        )
        assert run(check) == (
            'CRITICAL: alert_bad "\\: failed: division by zero\n'
            "alert_new: never exported: \nexit status 2\n"
        )
        lines = run(metrics).splitlines()
        assert [line for line in lines if line.startswith(
            'onboard_last_success_timestamp_seconds{table="alert_good"} 1'
        )]
        problems = [line for line in lines if "_problem" in line]
        assert sorted(problems) == [
            'onboard_problem{table="alert_bad \\"\\\\"} 1',
            'onboard_problem{table="alert_good"} 0',
            'onboard_problem{table="alert_new"} 1',
        ]
        select(db, "UPDATE onboard_tables SET query = 'SELECT 2'")
        land_all(db)
        assert run(check) == "OK\nexit status 0\n"
        select(
            db, "UPDATE onboard_history SET ended = ended - interval '27 hours',"
            " started = started - interval '27 hours' WHERE name = 'alert_good'"
        )
        assert run(check).startswith("CRITICAL: alert_good: done: \nexit status 2")
        select(db, "DROP VIEW export_problems")
        assert run(check) == "UNKNOWN: the query failed\nexit status 3\n"
    finally:
        select(db, "DROP VIEW IF EXISTS export_problems")


def test_another_postgresql(pg, db, rgw, s3, registry, bucket):
    """postgres_fdw: the rows of a foreign table land beside those of a local
    one."""
    with Cluster() as other:
        other.psql(
            "CREATE TABLE orders AS SELECT g AS id, 'order ' || g AS name,"
            " now() AS at FROM generate_series(1, 5000) g"
        )
        try:
            for block in recipe(
                "Tables of another PostgreSQL",
                **{
                    "'other.example.com'": f"'{other.folder}'",
                    "'5432'": f"'{other.settings['port']}'",
                    "'shop'": "'postgres'", "'reader'": "'postgres'",
                    "my-lake": bucket,
                },
            ):
                select(db, block)
            select(
                db, "CREATE TABLE local_orders AS TABLE shop.orders;"
                "INSERT INTO onboard_tables (name, bucket)"
                f" VALUES ('local_orders', '{bucket}')"
            )
            found = land_all(db)
            assert [(row["name"], row["status"], row["rows"])
                    for row in found] == [
                ("local_orders", "done", 5000), ("shop.orders", "done", 5000)
            ]
            wanted = copy(db, "TABLE local_orders")
            assert body(s3, bucket, key_of("shop.orders")) == wanted
            assert body(s3, bucket, key_of("local_orders")) == wanted
        finally:
            select(
                db, "DROP SERVER IF EXISTS shop CASCADE;"
                "DROP SCHEMA IF EXISTS shop CASCADE;"
                "DROP TABLE IF EXISTS local_orders;"
                "DROP EXTENSION IF EXISTS postgres_fdw"
            )


def test_mariadb(pg, db, rgw, s3, registry, bucket):
    """mysql_fdw: the same with MariaDB or MySQL."""
    with MariaDB() as server:
        server.sql(
            "CREATE DATABASE crm CHARACTER SET utf8mb4;"
            "CREATE TABLE crm.customers (id int PRIMARY KEY,"
            " name varchar(100), born date, balance decimal(12,2));"
            "INSERT INTO crm.customers SELECT seq, concat('Kundin Ä ', seq),"
            " '1980-02-29', seq / 7 FROM seq_1_to_3000;"
            "INSERT INTO crm.customers VALUES (0, NULL, NULL, NULL);"
            "CREATE USER reader@'%' IDENTIFIED BY 'a-password';"
            "GRANT SELECT ON crm.* TO reader@'%'"
        )
        try:
            for block in recipe(
                "Tables of MariaDB or MySQL",
                **{
                    "'crm.example.com'": "'127.0.0.1'",
                    "'3306'": f"'{server.port}'", "my-lake": bucket,
                },
            ):
                select(db, "SET log_statement = none; " + block)
            select(db, "CREATE TABLE here AS TABLE crm.customers")
            select(
                db, "INSERT INTO onboard_tables (name, bucket)"
                f" VALUES ('here', '{bucket}')"
            )
            found = land_all(db)
            assert [(row["name"], row["status"], row["rows"])
                    for row in found] == [
                ("crm.customers", "done", 3001), ("here", "done", 3001)
            ]
            landed = body(s3, bucket, key_of("crm.customers")).splitlines()
            wanted = copy(db, "TABLE here").splitlines()
            assert sorted(landed) == sorted(wanted)
            assert "3000,Kundin Ä 3000,1980-02-29,428.57" in (
                b"\n".join(landed).decode()
            )
        finally:
            select(
                db, "DROP SERVER IF EXISTS crm CASCADE;"
                "DROP SCHEMA IF EXISTS crm CASCADE;"
                "DROP TABLE IF EXISTS here;"
                "DROP EXTENSION IF EXISTS mysql_fdw"
            )


@pytest.fixture
def cron(rgw, canaries):
    """A cluster with pg_cron, whose clock is just before a full minute."""
    now = datetime.datetime.now()
    ahead = (50 - now.second) % 60
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": "postgres",
        "cron.use_background_workers": "on",
    }
    with Cluster(settings, env=faketime(f"+{ahead}s")) as server:
        yield server


def test_pg_cron(cron, canaries, rgw, s3, bucket):
    """A schedule exports the registered tables; a failed table is reported."""
    from conftest import Server

    cron.psql("CREATE EXTENSION onboard")
    servers = Server(cron, canaries)
    servers(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
        dbname="postgres",
    )
    db = cron.connect()
    select(
        db, "INSERT INTO onboard_tables (name, query, bucket) VALUES"
        " ('good', 'SELECT 1 AS one', %s), ('bad', 'SELECT 1 / 0', %s)",
        (bucket, bucket),
    )
    install, schedule, failed, history = recipe("A schedule with pg_cron")
    select(db, install)
    # The schedule is the printed one, but runs each minute, so that the test
    # can wait.
    select(db, schedule)
    select(db, schedule.replace("0 2 * * *", "* * * * *").replace(
        "nightly", "often"))
    assert select(
        db, "SELECT schedule, command FROM cron.job WHERE jobname = 'nightly'"
    ) == [{
        "schedule": "0 2 * * *",
        "command": "SELECT onboard_all(options => '{\"on_error\": \"raise\"}')",
    }]
    sql = "SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"
    process.wait_until(lambda: value(db, sql) > 0, 90, "the job has run")
    (row,) = select(db, failed)[:1]
    assert "1 of 2 tables could not be exported" in row["return_message"]
    assert '"bad": ' in row["return_message"]
    assert {(row["name"], row["status"]) for row in select(db, history)} == {
        ("bad", "failed")
    }
    assert keys(s3, bucket) == [key_of("good")]
    assert body(s3, bucket, key_of("good")) == b"one\n1\n"
    select(db, "SELECT cron.unschedule('often')")
    db.close()
