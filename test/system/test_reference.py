"""docs/reference.md compared with the server: columns, arguments, values, keys.

The test reads the tables and lists of the reference; each must be complete and
correct, and in the server's order where the order matters.  (test_errors.py
tests the errors.)
"""

import json
import pathlib
import re
import select as sockets

import pytest

from lib.exports import (
    Running, call, failure, land, land_all, rows, run_pid, select, value,
    wait_for_event,
)
from lib.process import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs/reference.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
PARQUET = (ROOT / "docs/parquet.md").read_text()
MESSAGES = "Messages, log lines and notifications"
NAME = re.compile(r"`([^`]*)`")
TYPES = {"timestamptz": "timestamp with time zone"}


def section(title, text=REFERENCE):
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.S | re.M
    )
    assert found, f"no section {title}"
    return found.group(2)


def table_of(text, head):
    """The rows, as lists of cells, of the table with this first head."""
    found = re.search(
        rf"^\| {re.escape(head)} \|.*\n\| ---.*\n((?:\|.*\n)+)", text, re.M
    )
    assert found, f"no table {head}"
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in found.group(1).splitlines()
    ]


def names_of(cells):
    """The names in code style: a cell may have several."""
    return [name for cell in cells for name in NAME.findall(cell)]


def bullets(text):
    """Values that a list explains: - `value`: meaning."""
    return re.findall(r"^- `(\w+)`:", text, re.M)


# ---- columns and arguments ----


@pytest.mark.parametrize("relation", [
    "onboard_tables", "onboard_runs", "onboard_progress", "onboard_watermarks",
])
def test_columns(db, relation):
    documented = [
        (name, TYPES.get(type_, type_))
        for names, type_, _ in table_of(section(relation), "column")
        for name in NAME.findall(names)
    ]
    sql = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum"
    )
    assert documented == [
        tuple(row.values()) for row in select(db, sql, (relation,))
    ]


def test_result(db):
    documented = re.findall(r"`(\w+) (\w+)`", section("onboard_result"))
    sql = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'onboard_result'::regclass ORDER BY attnum"
    )
    assert documented == [tuple(row.values()) for row in select(db, sql)]


def signatures():
    """{name: (arguments, columns)} from the functions' code blocks."""
    found = {}
    blocks = re.findall(r"(?:^    .*\n)+", REFERENCE, re.M)
    head = re.compile(
        r"^(onboard_\w+)\(((?:[^()])*)\)(?: RETURNS(?: SETOF)?"
        r" (?:\(([^()]*)\)|\w+))?", re.M,
    )
    for block in blocks:
        flat = re.sub(r"^    ", "", block, flags=re.M)
        flat = re.sub(r"\n +", " ", flat)
        for name, arguments, columns in head.findall(flat):
            found[name] = (split(arguments), split(columns))
    return found


def split(text):
    return [
        " ".join(TYPES.get(word, word) for word in one.split())
        for one in text.split(",") if one.strip()
    ]


FUNCTIONS = """
    SELECT p.proname, pg_get_function_arguments(p.oid)
    FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
        AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid
    WHERE e.extname = 'onboard'
    AND p.pronamespace <> 'onboard_internal'::regnamespace
"""


def test_functions(db):
    documented = signatures()
    there = {}
    for row in select(db, FUNCTIONS):
        name, text = row.values()
        parts = re.sub(r"('[^']*'|NULL)::[a-z ]+", r"\1", text)
        parts = split(parts)
        out = [part[4:] for part in parts if part.startswith("OUT ")]
        both = [part[6:] for part in parts if part.startswith("INOUT ")]
        given = [
            part.removeprefix("INOUT ") for part in parts
            if not part.startswith("OUT ")
        ]
        both = [part.split(" DEFAULT")[0] for part in both]
        there[name] = (given, both + out)
    assert set(documented) == set(there)
    for name, found in documented.items():
        assert found == there[name], name


def test_settings(db):
    value(db, "SELECT count(*) FROM onboard_explain('SELECT 1')")
    documented = [
        NAME.findall(row[0])[0] for row in table_of(section("Settings"),
                                                    "setting")
    ]
    there = select(
        db, "SELECT name FROM pg_settings WHERE name LIKE 'onboard.%'"
    )
    assert sorted(documented) == sorted(row["name"] for row in there)


UNITS = {"kB": 1024, "ms": 0.001}
SIZES = {"kB": 1024, "MB": 1024 ** 2, "GB": 1024 ** 3,
         "ms": 0.001, "s": 1, "min": 60}


def number(text, unit=None):
    """A documented value, in bytes or seconds if it has a unit."""
    digits, name = re.fullmatch(
        r"(-?[\d,]+)(\D*)", text.strip().strip("`")).groups()
    return int(digits.replace(",", "")) * SIZES.get(name, UNITS.get(unit, 1))


def test_values_of_settings(db):
    """Units, defaults and ranges."""
    value(db, "SELECT count(*) FROM onboard_explain('SELECT 1')")
    there = {
        row["name"]: row for row in select(
            db, "SELECT name, unit, boot_val, min_val, max_val, vartype"
            " FROM pg_settings WHERE name LIKE 'onboard.%'")
    }
    for names, unit, default, limits, _ in table_of(section("Settings"),
                                                    "setting"):
        row = there[NAME.findall(names)[0]]
        assert unit == (row["unit"] or ""), names
        if row["vartype"] != "integer":
            assert default == f"`{row['boot_val']}`" and limits == "", names
            continue
        factor = UNITS.get(unit, 1)
        assert number(default, unit) == int(row["boot_val"]) * factor, names
        least, _, most = limits.removeprefix("from ").partition(" to ")
        assert number(least, unit) == int(row["min_val"]) * factor, names
        if most:
            assert number(most, unit) == int(row["max_val"]) * factor, names
        else:
            assert int(row["max_val"]) >= 2 ** 30, names


def hint_of(db, sql, parameters=None):
    hint = failure(select, db, sql, parameters).diag.message_hint
    return set(re.split(r"[:,.] ?", hint)[1:-1])


def test_options(db):
    """The options in the hints are those in the tables."""
    documented = tables_of_options("Options")
    wrong = '{"nonsense": 1}'
    there = hint_of(db, "SELECT onboard_table('t', 'SELECT 1', 'b', %s)",
                    (wrong,))
    there |= hint_of(db, "SELECT onboard_all(options => %s)", (wrong,))
    config = {"Tables": [{"table_name": "t", "options": {"nonsense": 1}}]}
    there |= hint_of(db, "SELECT onboard_register(%s)", (json.dumps(config),))
    assert documented == there


RELATIONS = """
    SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.deptype = 'e' AND (
        d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND c.relkind IN ('r', 'v')
        OR d.classid = 'pg_type'::regclass AND d.objid = c.reltype
        AND c.relkind = 'c')
    JOIN pg_extension e ON e.oid = d.refobjid
    WHERE e.extname = 'onboard'
"""


def tables_of_options(title):
    """The options in all tables of a section and its subsections."""
    text = re.search(
        rf"^## {title}\n(.*?)(?=^## )", REFERENCE, re.S | re.M
    ).group(1)
    return {
        name for head in re.split(r"^### ", text, flags=re.M)
        if re.search(r"^\| option \|", head, re.M)
        for name in names_of(row[0] for row in table_of(head, "option"))
    }


def test_index(db):
    """The index at the top has all features, each with a link to its section.
    """
    index = {
        title: " ".join(text.split()) for title, text in re.findall(
            r"^\*\*\[?(.*?)(?:\].*?)?:\*\*(.*?)(?=^\*\*|^All objects)",
            REFERENCE, re.S | re.M,
        )
    }
    functions = " ".join(
        text for title, text in index.items() if "unctions" in title
    )
    for text, sql, inside in (
        (functions, FUNCTIONS, set()),
        (index["Tables, views and types"], RELATIONS, {"onboard_resets"}),
    ):
        there = {next(iter(row.values())) for row in select(db, sql)}
        found = re.findall(r"\[(\w+)\]\(#(\w+)\)", text)
        assert all(name == anchor for name, anchor in found)
        assert sorted(name for name, _ in found) == sorted(there - inside)
    settings = [row[0] for row in table_of(section("Settings"), "setting")]
    assert NAME.findall(index["Settings"]) == names_of(settings)
    for title, wanted in (
        ("Options of servers", tables_of_options("Servers")),
        ("Options of user mappings", tables_of_options("User mappings")),
        ("Options of exports", tables_of_options("Options")),
    ):
        assert sorted(NAME.findall(index[title])) == sorted(wanted)


@pytest.mark.parametrize("title, statement", [
    ("Servers", "CREATE SERVER never FOREIGN DATA WRAPPER onboard"),
    ("User mappings", "CREATE USER MAPPING FOR PUBLIC SERVER s3"),
])
def test_options_of_ddl(db, title, statement):
    documented = names_of(row[0] for row in table_of(section(title), "option"))
    there = hint_of(db, statement + " OPTIONS (nonsense '1')")
    assert set(documented) == there


def bound_of(db, sql, parameters=None):
    """The greatest length that the hint names; None if it names none."""
    hint = failure(select, db, sql, parameters).diag.message_hint or ""
    found = re.search(r"It may have at most (\d+)", hint)
    return found and f"{int(found[1]):,}"


@pytest.mark.parametrize("title, statement", [
    ("Servers", "CREATE SERVER never FOREIGN DATA WRAPPER onboard"),
    ("User mappings", "CREATE USER MAPPING FOR PUBLIC SERVER s3"),
])
def test_bounds_of_ddl(db, title, statement):
    """Each length that an error names is in the option's row."""
    bounds = 0
    for row in table_of(section(title), "option"):
        for name in NAME.findall(row[0]):
            bound = bound_of(
                db, f"{statement} OPTIONS ({name} '{'x' * 20000}')")
            bounds += bound is not None
            assert bound is None or bound in " ".join(row), name
    assert bounds >= 3


def test_bounds_of_options(db):
    bounds = 0
    for title in ("COPY options", "Upload options", "Object options"):
        for row in table_of(section(title), "option"):
            for name in NAME.findall(row[0]):
                options = json.dumps({name: "x" * 20000})
                bound = bound_of(
                    db, "SELECT onboard_table('t', 'SELECT 1', 'b', %s)",
                    (options,))
                bounds += bound is not None
                assert bound is None or bound in " ".join(row), name
    assert bounds >= 3


def test_checks(db, bucket):
    found = select(db, "SELECT item FROM onboard_check(%s)", (bucket,))
    documented = names_of(
        row[0] for row in table_of(section("onboard_check"), "item")
    )
    assert [row["item"] for row in found] == documented


def test_wait_events():
    """Versions of PostgreSQL without custom wait events have none of these
    names."""
    (wait,) = (ROOT / "src/pg").rglob("wait.c")
    source = wait.read_text()
    made = re.findall(r'ob_wait_event\("(\w+)"\)', source)
    documented = names_of(
        row[0] for row in table_of(OPERATIONS, "`wait_event`")
    )
    assert documented == made == ["OnboardS3", "OnboardWorker"]


# ---- values ----


class Seen(set):
    """The values that one column of a view has shown."""

    def until(self, db, column, view, wanted):
        def all_seen():
            self.update(
                row[column]
                for row in select(db, f"SELECT {column} FROM {view}")
            )
            return set(wanted) <= self

        wait_until(all_seen, 30, lambda: f"{wanted} of {self}")


def register(db, bucket, **queries):
    select(db, "DELETE FROM onboard_tables")
    for name, query in queries.items():
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket)"
            " VALUES (%s, %s, %s)", (name, query, bucket),
        )


LOCKED = "SELECT pg_advisory_xact_lock_shared(90) IS NULL AS x"


def test_statuses(db, registry, bucket):
    """Each documented status is seen, and no other."""
    mine = Seen()
    statuses = Seen()

    def see(run_id, wanted):
        mine.until(db, "status", f"onboard_runs WHERE run_id = '{run_id}'",
                   wanted)
        statuses.until(db, "status", f"onboard_status('{run_id}')", [])

    select(db, "SET onboard.parallel_tables = 0")
    select(db, "SELECT pg_advisory_lock(90)")
    try:
        register(db, bucket, a=LOCKED, b="SELECT 1 WHERE false",
                 c="SELECT 1 / 0")
        run_id = value(db, "SELECT onboard_submit_all()")
        see(run_id, ["queued"])
        one = value(db, "SELECT onboard_submit('one', %s, %s)",
                    (LOCKED, bucket))
        pid = run_pid(db, one)
        wait_for_event(db, pid, "advisory")
        see(one, ["running"])
        select(db, "SELECT pg_terminate_backend(%s, 10000)", (pid,))
        see(one, ["lost"])
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")
    select(db, "SELECT onboard_wait(%s, '60s')", (run_id,))
    see(run_id, ["done", "empty", "failed"])
    register(db, bucket, a="SELECT 1", b="SELECT 1 / 0")
    found = land_all(db, publish="together")
    see(found[0]["run_id"], ["withheld"])
    done = land(db, "t", "SELECT 1", bucket)
    see(done["run_id"], ["done"])
    assert sorted(mine) == sorted(bullets(section("onboard_runs")))
    documented = bullets_of_status()
    assert statuses == documented, (statuses, documented)


def bullets_of_status():
    text = section("onboard_status")
    found = re.findall(r"^- (?:else )?`(\w+)`", text, re.M)
    return set(found)


def test_phases(db, pg, bucket, proxy, proxied):
    phases = Seen()
    session = pg.connect("onboard")
    select(session, "SET onboard.upload_memory = '10.5MB';"
                    " SET onboard.part_size = '5MB'")
    held = [
        proxy.rule("POST", "uploads", hold=True),
        proxy.rule("PUT", "partNumber=3", hold=True),
        proxy.rule("POST", "uploadId=", hold=True),
    ]
    statement = call("t", rows(12), bucket, server=proxied, parallel="off")
    with Running(session, *statement) as run:
        for rule, phase in zip(held, ["query", "upload", "complete"]):
            rule.wait()
            phases.until(db, "phase", "onboard_progress", [phase])
            rule.release()
        run.rows()
    session.close()
    assert sorted(phases) == sorted(bullets(section("onboard_progress")))


# ---- keys ----


def test_notifications(db, pg, bucket):
    documented = names_of(
        row[0] for row in table_of(section(MESSAGES), "key")
    )
    examples = re.search(
        r"^    (\{\"event\":\"table\".*?\}\n)    (\{\"event\":\"run\".*?\})\n",
        section(MESSAGES), re.S | re.M,
    )
    listener = pg.connect("onboard")
    select(listener, "LISTEN onboard")
    land(db, "t", "SELECT 1", bucket)
    received = []
    while len(received) < 2:
        ready, _, _ = sockets.select([listener], [], [], 30)
        assert ready, "no notification comes"
        listener.poll()
        received += [json.loads(one.payload) for one in listener.notifies]
        del listener.notifies[:]
    listener.close()
    for line, example in zip(received, examples.groups()):
        assert list(line) == list(json.loads(example))
    assert sorted(set(received[0]) | set(received[1])) == sorted(documented)


def test_manifest(db, s3, registry, bucket):
    """The example has each member, and the text explains those that need it."""
    text = section("Manifests")
    example = json.loads(
        re.search(r"^    \{\n.*?^    \}\n", text, re.S | re.M).group(0)
    )
    select(db, "CREATE TABLE landed AS SELECT 1 AS id, 1.5 AS total")
    try:
        register(db, bucket, orders="TABLE landed", wrong="SELECT 1 / 0",
                 file="SELECT 1 AS id")
        select(
            db, "UPDATE onboard_tables SET options ="
            """ '{"watermark": {"column": "id"}, "key": "{run_id}/{name}"}'"""
            " WHERE name = 'orders'; UPDATE onboard_tables SET options ="
            """ '{"format": "parquet"}' WHERE name = 'file'"""
        )
        found = land_all(db, manifest=True)
    finally:
        select(db, "DROP TABLE landed")
    key = f"_onboard/{found[0]['run_id']}/manifest.json"
    made = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert set(made) == set(example)
    tables = {one["name"]: one for one in made["tables"]}
    (wanted,) = example["tables"]
    assert set(tables["orders"]) == set(wanted)
    for member in ("format", "watermark"):
        assert set(tables["orders"][member]) == set(wanted[member])
    assert set(tables["orders"]["columns"][0]) == set(wanted["columns"][0])
    explained = set(names_of(row[0] for row in table_of(text, "member")))
    assert set(tables["wrong"]) - set(wanted) == {"sqlstate"} <= explained
    assert explained <= (
        set(made) | set(tables["orders"]) | set(tables["file"])
        | {"sqlstate", "object"}
    )
    check_parquet(tables["file"]["parquet"])


def check_parquet(made):
    """The same of a Parquet file's member."""
    text = section("Statistics in the manifest", PARQUET)
    found = re.search(r'^    "parquet": (\{\n.*?^    \}\n)', text, re.S | re.M)
    example = json.loads(found.group(1))
    explained = set(names_of(row[0] for row in table_of(text, "member")))
    assert set(made) == set(example)
    assert set(made["row_groups"]) == set(example["row_groups"])
    for column in example["columns"]:
        assert set(column) == set(made["columns"][0])
    assert explained == set(made) | set(made["columns"][0])
