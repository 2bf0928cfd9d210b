"""Each relation of PostgreSQL's regression database as Parquet.

PostgreSQL's regression tests leave about 900 relations of all types, with
defaults, dropped columns, inheritance, partitions and rules.  The installed
pg_regress runs these tests from PostgreSQL's source, in the folder
ONBOARD_SOURCE, which test/checked.sh sets; their results are ignored.

DuckDB reads each file, and its values are compared with COPY's text.  Small files
are also checked against the specification.
"""

import os
import pathlib
import pwd
import shutil

import psycopg2
import pytest

from conftest import Server
from landing import Parquet, copy, execute, landed
from lib import process
from lib.parquet_file import ParquetFile
from lib.postgres import Cluster, pg_config
from lib.storable import Storable

DATABASE = "regression"
# Larger files are not checked against the specification, since that is slow.
SMALL = 20_000
MOST_ROWS = 2000
FAILURES = 10

# The errors that an export may raise, by SQLSTATE.
REFUSED = {
    "42611": "the query's result has no columns",
}

RELATIONS = """
    SELECT c.oid::regclass::text, nspname IN ('pg_catalog', 'information_schema')
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'v', 'm', 'p', 'S') AND relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e
            ON d.refobjid = e.oid WHERE d.objid = c.oid AND extname = 'onboard')
    ORDER BY 1
"""


@pytest.fixture(scope="module")
def source():
    found = os.environ.get("ONBOARD_SOURCE")
    assert found, "ONBOARD_SOURCE does not name PostgreSQL's source"
    return pathlib.Path(found) / "src/test/regress"


@pytest.fixture(scope="module")
def regression(source, rgw, canaries):
    """A cluster with PostgreSQL's regression database, and the server s3."""
    with Cluster(settings={"max_connections": "60", "max_prepared_transactions":
                           "4", "max_worker_processes": "8"}) as cluster:
        run_regress(cluster, source)
        cluster.psql("CREATE EXTENSION onboard", DATABASE)
        Server(cluster, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname=DATABASE,
        )
        yield cluster


def run_regress(cluster, source):
    folder = pathlib.Path(cluster.folder) / "regress"
    folder.mkdir()
    process.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "regress.so",
                 "-I" + pg_config("--includedir-server"), source / "regress.c"])
    libraries = pathlib.Path(pg_config("--pkglibdir"))
    for name in ("refint.so", "autoinc.so"):
        shutil.copy(libraries / name, folder)
    shutil.copytree(source, folder / "input")
    as_owner = []
    if os.getuid() == 0:
        owner = pwd.getpwnam("postgres")
        process.run(["chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", folder])
        as_owner = ["setpriv", f"--reuid={owner.pw_uid}", "--clear-groups"]
    arguments = {
        "inputdir": folder / "input", "outputdir": folder, "dlpath": folder,
        "bindir": cluster.bindir, "host": cluster.folder,
        "port": cluster.settings["port"], "user": "postgres",
        "schedule": folder / "input/parallel_schedule",
        "max-concurrent-tests": "20",
    }
    # Some of the tests may fail, for example because of the locale.
    program = libraries / "pgxs/src/test/regress/pg_regress"
    process.run(
        [*as_owner, "sh", "-c", '"$@" >out 2>&1 || tail -n 3 out', "sh", program,
         *(f"--{name}={setting}" for name, setting in arguments.items())],
        cwd=folder, timeout=1800,
    )


@pytest.fixture
def parquet(regression, s3, bucket, readers, tmp_path):
    db = regression.connect(DATABASE)
    execute(db, "SET TimeZone = 'UTC'; SET client_min_messages = error")
    yield Parquet(db, s3, bucket, readers, tmp_path)
    db.close()


def test_regression_database(parquet, show):
    db = parquet.db
    relations = execute(db, RELATIONS)
    failures, count = [], {"same": 0, "refused": 0, "unreadable": 0}
    for relation, changes in relations:
        try:
            count[check(parquet, relation, changes)] += 1
        except Exception as error:
            failures.append(f"{relation}: {str(error)[:2000]}")
            if len(failures) == FAILURES:
                break
    show(f"relations: {count}")
    assert not failures, "\n\n".join(failures)
    assert count["same"] > 700
    assert count["refused"] < 20 and count["unreadable"] < 40


def check(parquet, relation, changes):
    db = parquet.db
    if changes:
        relation = copy_of(db, relation)
    columns = Storable(db).columns(relation)
    values = ", ".join(f"{expression} AS {name}" for name, expression in columns)
    limit = f"FROM {relation} LIMIT {MOST_ROWS}"
    expected = f"SELECT {values} {limit}"
    try:
        copy(db, expected, format="text")
    except psycopg2.Error as wanted:
        # a view may depend on dropped objects, or raise an error
        try:
            parquet.land(f"SELECT * {limit}")
        except psycopg2.Error as error:
            assert error.pgcode == wanted.pgcode, error
            return "unreadable"
        raise
    try:
        data = landed(
            db, parquet.s3, f"SELECT * {limit}", parquet.bucket, key="k",
            format="parquet", empty="write", numeric="text",
            unrepresentable="null",
        )
    except psycopg2.Error as error:
        assert REFUSED[error.pgcode] == error.diag.message_primary, error
        return "refused"
    parquet.save(data)
    file = ParquetFile(data)
    if len(data) < SMALL:
        file.check()
    parquet.compare(file, expected, ["duckdb"])
    return "same"


def copy_of(db, relation):
    """Copies a catalog, whose content changes, into a temporary table.

    A table cannot have columns of pseudo-types, or a column named xmin.
    """
    columns = execute(
        db, "SELECT string_agg(format('%%I%%s AS %%I', attname, CASE WHEN atttypid"
        " IN ('anyarray'::regtype, 'pg_statistic[]'::regtype) THEN '::text' END,"
        " attname || '_'), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0", (relation,),
    )[0][0]
    execute(db, "DROP TABLE IF EXISTS kept; CREATE TEMP TABLE kept AS SELECT"
            f" {columns} FROM {relation} LIMIT {MOST_ROWS}")
    return "kept"
