"""The parts of the storm: a schema, queries, options and statements.

Everything is drawn from a seed.  SCHEMA has data that never changes, functions
that do typical work in a database, and types that call these functions at each
stage of a query: when a literal is read (type input, a domain's CHECK), when an
immutable function is folded, for each row, in a parallel worker, and when a
value is written.  The settings storm.on_..., drawn for each statement, choose
the function.  If they are not set, no function is called, and the same rows
come: so COPY can run the same query in another session.
"""

import dataclasses
import json
import os
import random
import re

from landing import literal

ROWS = 3000

SCHEMA = f"""
CREATE SCHEMA storm;
GRANT USAGE, CREATE ON SCHEMA storm TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA storm GRANT SELECT, INSERT ON TABLES
    TO PUBLIC;

CREATE FUNCTION storm.act_v(text) RETURNS int AS :'library', 'storm_act'
    LANGUAGE C VOLATILE PARALLEL SAFE;
CREATE FUNCTION storm.act_s(text) RETURNS int AS :'library', 'storm_act'
    LANGUAGE C STABLE PARALLEL SAFE;
CREATE FUNCTION storm.act_i(text) RETURNS int AS :'library', 'storm_act'
    LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE TYPE storm.probe;
CREATE FUNCTION storm.probe_in(cstring) RETURNS storm.probe
    AS :'library', 'storm_in' LANGUAGE C STRICT STABLE PARALLEL SAFE;
CREATE FUNCTION storm.probe_out(storm.probe) RETURNS cstring
    AS :'library', 'storm_out' LANGUAGE C STRICT STABLE PARALLEL SAFE;
CREATE TYPE storm.probe (
    INPUT = storm.probe_in, OUTPUT = storm.probe_out, LIKE = text);
CREATE DOMAIN storm.d AS int CHECK (storm.act_v('check') = 1);
CREATE TYPE storm.c AS (a storm.d, b text);
CREATE TYPE storm.r AS RANGE (SUBTYPE = storm.d);
CREATE TYPE storm.j AS (a int);
CREATE FUNCTION storm.to_json(storm.j) RETURNS json LANGUAGE plpgsql STABLE
    AS $$ BEGIN PERFORM storm.act_v('output');
    RETURN to_json(($1).a); END $$;
CREATE CAST (storm.j AS json) WITH FUNCTION storm.to_json(storm.j);

CREATE TABLE storm.medium AS
    SELECT g AS id, g % 10 AS grp, 'name ' || g % 7 AS name,
        g * 1.25 AS val, timestamp '2024-01-01' + g * interval '1 min' AS ts,
        repeat(md5(g::text), g % 9) AS txt,
        jsonb_build_object('a', g, 'b', g % 3) AS j,
        ARRAY[g, g + 1] AS arr, nullif(g % 4, 0) AS nul,
        g::float8 / 3 AS f, decode(md5(g::text), 'hex') AS b,
        md5(g::text)::uuid AS u, date '2024-01-01' + g AS d, g % 2 = 0 AS bo
    FROM generate_series(1, {ROWS}) g;
CREATE TABLE storm.small AS SELECT * FROM storm.medium WHERE id <= 10;
CREATE TABLE storm.empty AS SELECT * FROM storm.medium WHERE false;
CREATE TABLE storm.toasted AS
    SELECT id, grp, (SELECT string_agg(md5(g::text), '')
        FROM generate_series(id * 700, id * 1400) g) AS txt
    FROM storm.small;
CREATE TABLE storm.parts (LIKE storm.medium) PARTITION BY RANGE (id);
CREATE TABLE storm.parts_1 PARTITION OF storm.parts
    FOR VALUES FROM (0) TO (700);
CREATE TABLE storm.parts_2 PARTITION OF storm.parts
    FOR VALUES FROM (700) TO (100000);
INSERT INTO storm.parts TABLE storm.medium;
CREATE VIEW storm.seen WITH (security_barrier) AS
    SELECT * FROM storm.medium WHERE grp <> 3;
CREATE INDEX ON storm.medium (id);

CREATE TABLE storm.nested (
    n int, query text, options jsonb, PRIMARY KEY (n));

CREATE FUNCTION storm.key(name text) RETURNS text LANGUAGE sql AS
    $$ SELECT 'n' || current_setting('storm.session') || '/' || name
        || '/{{run_id}}.{{ext}}' $$;
CREATE FUNCTION storm.do_scan() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n bigint; s bigint;
BEGIN
    SELECT count(*), sum(id) INTO n, s FROM storm.medium;
    IF n <> {ROWS} OR s <> {ROWS * (ROWS + 1) // 2} THEN
        RAISE EXCEPTION 'a nested query has % rows, sum %', n, s
            USING ERRCODE = 'ZZ001';
    END IF;
END $$;
CREATE FUNCTION storm.do_names() RETURNS void LANGUAGE plpgsql AS $$
BEGIN PERFORM name FROM storm.medium; END $$;
CREATE FUNCTION storm.do_dynamic() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE 'SELECT count(txt) FROM storm.medium' INTO n;
    IF n <> {ROWS} THEN
        RAISE EXCEPTION 'a nested query counts %', n USING ERRCODE = 'ZZ001';
    END IF;
END $$;
CREATE FUNCTION storm.do_loop() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int := 0; r record;
BEGIN
    FOR r IN SELECT id, txt FROM storm.medium ORDER BY id LIMIT 100 LOOP
        n := n + 1;
        IF r.id <> n THEN
            RAISE EXCEPTION 'row % has id %', n, r.id USING ERRCODE = 'ZZ001';
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION storm.do_export() RETURNS void LANGUAGE plpgsql AS $$
DECLARE w record;
BEGIN
    SELECT * INTO w FROM storm.nested ORDER BY random() LIMIT 1;
    PERFORM onboard_table('nested_' || w.n, w.query,
        current_setting('storm.bucket'), w.options
        || jsonb_build_object('key', storm.key('nested_' || w.n)));
END $$;
CREATE FUNCTION storm.do_export_caught() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.do_export();
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
CREATE FUNCTION storm.do_export_undone() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.do_export();
    RAISE EXCEPTION division_by_zero;
EXCEPTION WHEN division_by_zero THEN NULL;
END $$;
CREATE FUNCTION storm.do_explain() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM onboard_explain(query, options) FROM storm.nested;
END $$;
-- Jobs and workers have the settings, too: they must not make more of them.
CREATE FUNCTION storm.is_client() RETURNS bool LANGUAGE sql AS $$
SELECT backend_type = 'client backend' FROM pg_stat_activity
    WHERE pid = pg_backend_pid() $$;
CREATE FUNCTION storm.do_all() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF storm.is_client() THEN
        PERFORM * FROM onboard_all('all_1%');
    END IF;
END $$;
CREATE FUNCTION storm.do_submit() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF storm.is_client() THEN
        PERFORM onboard_wait(onboard_submit_all('all_2%'), '1 s');
    END IF;
END $$;
CREATE FUNCTION storm.do_look() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM * FROM onboard_progress;
    PERFORM * FROM onboard_runs LIMIT 10;
    PERFORM * FROM onboard_check(current_setting('storm.bucket'));
END $$;
CREATE FUNCTION storm.do_backup() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_backup_start('storm', true);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    PERFORM pg_backup_stop(false);
END $$;
CREATE FUNCTION storm.do_temp() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS one AS SELECT 1 AS x;
    PERFORM * FROM one;
END $$;
CREATE FUNCTION storm.do_caught() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 / 0;
EXCEPTION WHEN division_by_zero THEN NULL;
END $$;
CREATE FUNCTION storm.do_raise(code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = code; END $$;
CREATE FUNCTION storm.do_notify() RETURNS void LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('storm', 'from within'); END $$;

CREATE FUNCTION storm.export(name text, query text, options jsonb)
    RETURNS SETOF onboard_result LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT * FROM onboard_table(name, query,
        current_setting('storm.bucket'), options);
END $$;
CREATE TABLE storm.wanted (name text, query text, options jsonb);
CREATE FUNCTION storm.exports_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM storm.export(NEW.name, NEW.query, NEW.options);
    RETURN NEW;
END $$;
CREATE TRIGGER exports_it BEFORE INSERT ON storm.wanted
    FOR EACH ROW EXECUTE FUNCTION storm.exports_it();
CREATE CONSTRAINT TRIGGER exports_late AFTER INSERT ON storm.wanted
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (length(NEW.name) % 5 = 0)
    EXECUTE FUNCTION storm.exports_it();
"""

# Values of the settings storm.on_....
ACTIONS = [
    "SELECT storm.do_scan()",
    "SELECT name, txt FROM storm.medium",
    "call storm.do_scan",
    "call storm.do_names",
    "call storm.do_dynamic",
    "call storm.do_dynamic",
    "call storm.do_loop",
    "call storm.do_export",
    "SELECT storm.do_export()",
    "SELECT storm.do_export_caught()",
    "SELECT storm.do_export_undone()",
    "SELECT storm.do_explain()",
    "SELECT storm.do_all()",
    "SELECT storm.do_submit()",
    "SELECT storm.do_look()",
    "SELECT storm.do_backup()",
    "SELECT storm.do_temp()",
    "SELECT storm.do_caught()",
    "SELECT storm.do_notify()",
    "SELECT storm.do_raise('22012')",
    "SELECT storm.do_raise('57014')",
    "SELECT storm.do_raise('57P01')",
    "SELECT storm.do_raise('40001')",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_sleep(0.05)",
    "SELECT set_config('role', 'storm_user', true)",
    "SELECT set_config('statement_timeout', '100ms', true)",
    "SELECT set_config('min_parallel_table_scan_size', '0', false)",
    "SELECT count(*) FROM storm.parts p JOIN storm.medium m USING (id)",
    "DECLARE inner_one CURSOR FOR SELECT * FROM storm.medium",
    "LISTEN storm",
]
STAGES = ("check", "fold", "row", "input", "output")

COLUMNS = (
    "id", "grp", "name", "val", "ts", "txt", "j", "arr", "nul", "f", "b", "u",
    "d", "bo",
)
# Expressions over a row of storm.medium; the second list has those that run
# SQL.
PLAIN = [
    *COLUMNS, "NULL::int", "'literal'", "id * 2", "upper(name)", "ARRAY[txt]",
    "(SELECT count(*) FROM storm.small)", "row(id, name)", "val::text",
    "CASE WHEN bo THEN txt END", "repeat('x', id % 50)", "5", "NULL::text",
    "(SELECT max(s.id) FROM storm.small s WHERE s.grp = q.grp)",
]
ACTING = [
    "'{1,2}'::storm.d[]", "'(1,x)'::storm.c", "'[1,5)'::storm.r",
    "id::storm.d", "row(id, name)::storm.c", "'7'::storm.d",
    "'x'::storm.probe", "name::storm.probe", "row(id)::storm.j",
    "storm.act_i('fold')", "storm.act_s('fold')", "storm.act_v('row')",
    "storm.act_s('row') + id", "ARRAY['y'::storm.probe]",
    "(SELECT storm.act_v('row') + s.id FROM storm.small s WHERE s.id = 1)",
]
FAILING = [
    "1 / (id - 5)", "name::int", "storm.do_raise('22012')::text",
    "storm.do_raise('57014')::text", "id::storm.missing", "missing",
    "onboard_table('x')", "'z'::storm.d",
]
SOURCES = [
    "storm.medium", "storm.medium", "storm.small", "storm.empty",
    "storm.parts", "storm.seen",
    "(SELECT * FROM storm.small UNION ALL SELECT * FROM storm.medium)",
    "(SELECT m.* FROM storm.medium m JOIN storm.small s ON m.grp = s.grp)",
    "(SELECT m.* FROM storm.parts m LEFT JOIN storm.small s USING (id))",
    "(SELECT m.* FROM storm.small s, LATERAL (SELECT * FROM storm.medium x"
    " WHERE x.grp = s.grp) m)",
]
WHERE = [
    "", "", "", " WHERE id % 3 = 1", " WHERE id < 40", " WHERE nul IS NULL",
    " WHERE id = ANY ('{3,4}'::storm.d[])", " WHERE storm.act_i('fold') = 1",
    " WHERE id > (SELECT count(*) FROM storm.small)", " WHERE false",
]
OTHERS = [
    "TABLE storm.medium", "TABLE storm.empty", "TABLE storm.toasted",
    "SELECT * FROM storm.toasted ORDER BY id DESC",
    "SELECT grp, count(*), sum(val), min(txt) FROM storm.medium GROUP BY grp",
    "SELECT DISTINCT name, grp FROM storm.parts",
    "VALUES (1, 'a'), (2, '\u00e4\u20ac'), (NULL, '')",
    "SELECT g, repeat('z', g % 100) FROM generate_series(1, 20000) g",
    "WITH x AS MATERIALIZED (SELECT id, txt FROM storm.medium)"
    " SELECT a.* FROM x a JOIN x b USING (id)",
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x"
    " WHERE n < 500) SELECT n FROM x",
    "SELECT * FROM storm.medium ORDER BY id LIMIT 500 OFFSET 10",
    "SELECT id, rank() OVER (PARTITION BY grp ORDER BY id) FROM storm.medium",
    "SELECT 5 AS a, '{1}'::storm.d[] AS b",
    "SELECT id FROM storm.medium UNION SELECT grp FROM storm.parts",
]
# Errors of a call, before and during its upload.
BAD_OPTIONS = [
    {"nonsense": 1}, {"format": "orc"}, {"server": "nowhere"},
    {"key": "x" * 1100}, {"compression_level": 3}, {"part_size": "1kB"},
    {"key": ""}, {"expected_bucket_owner": "1"}, {"storage_class": "NONE"},
    {"acl": "nobody"}, {"sse": "aws:kms", "kms_key_id": "none"},
]
SETTINGS = [
    ("min_parallel_table_scan_size", ("0", "8MB")),
    ("min_parallel_table_scan_size", ("0",)),
    ("parallel_setup_cost", ("0", "1000")),
    ("parallel_setup_cost", ("0",)),
    ("parallel_tuple_cost", ("0", "0.1")),
    ("max_parallel_workers_per_gather", ("0", "1", "2", "3")),
    ("parallel_leader_participation", ("on", "off")),
    ("force_parallel_mode", ("off", "on", "regress")),
    ("enable_hashjoin", ("on", "off")),
    ("enable_material", ("on", "off")),
    ("work_mem", ("64kB", "4MB")),
    ("plan_cache_mode", ("auto", "force_generic_plan", "force_custom_plan")),
    ("jit_above_cost", ("-1", "0")),
    ("statement_timeout", ("5s", "1s", "100ms", "20ms")),
    ("lock_timeout", ("0", "50ms")),
    ("default_transaction_isolation", ("read committed", "serializable")),
    ("default_transaction_read_only", ("off", "on")),
    ("cursor_tuple_fraction", ("0.1", "1")),
    ("onboard.connections", ("1", "3", "8")),
    ("onboard.upload_memory", ("10MB", "128MB")),
    ("onboard.part_size", ("5MB",)),
    ("onboard.parallel_tables", ("0", "2", "4")),
    ("storm.every", ("1", "7", "301")),
]
PLAIN_STATEMENTS = [
    "SELECT storm.do_scan()", "SELECT storm.do_loop()",
    "SELECT storm.do_export()", "SELECT storm.do_export_undone()",
    "SELECT storm.do_backup()", "SELECT storm.do_temp()",
    "SELECT count(*) FROM storm.medium a JOIN storm.parts b USING (id)",
    "EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM storm.medium",
    "SELECT * FROM onboard_progress", "SELECT * FROM onboard_watermarks",
    "SELECT name, status FROM onboard_runs ORDER BY started DESC LIMIT 5",
    "SELECT onboard_reset_watermark('all_3')", "SELECT onboard_prune('1 day')",
    "SELECT * FROM onboard_check()", "LISTEN onboard", "UNLISTEN *",
    "NOTIFY storm, 'x'", "DISCARD TEMP", "DISCARD PLANS", "DISCARD ALL",
    "SELECT onboard_cancel(run_id) FROM onboard_runs"
    " WHERE status IN ('queued', 'running') LIMIT 1",
    "SELECT * FROM onboard_status((SELECT run_id FROM onboard_runs"
    " ORDER BY started DESC LIMIT 1))",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "DROP TABLE IF EXISTS one", "ANALYZE storm.medium",
]


@dataclasses.dataclass
class Export:
    """A planned export; its name identifies the object and the expected
    content."""

    name: str
    query: str
    options: dict

    @property
    def ordered(self):
        """Whether its rows have only one possible order."""
        return self.query.endswith(" ORDER BY id")


class Draw:
    """The statements of one episode of a session."""

    def __init__(self, seed, session, episode):
        self.random = random.Random(f"{seed}/{session}/{episode}")
        self.without = os.environ.get("ONBOARD_STORM_WITHOUT")
        self.prefix = f"e{session}_{episode}"
        self.session = session
        self.exports = []
        self.open = []  # open cursors
        self.prepared = []
        self.savepoints = 0

    def choice(self, texts):
        """A random text that ONBOARD_STORM_WITHOUT does not exclude."""
        text = self.random.choice(texts)
        left_out = self.without and re.search(self.without, text)
        return "" if left_out else text

    # Queries

    def query(self):
        kind = self.random.random()
        if kind < 0.03:
            return self.wide()
        if kind < 0.25:
            return self.random.choice(OTHERS)
        items = self.random.choices(PLAIN, k=self.random.randint(1, 6))
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            items.insert(
                self.random.randint(0, len(items)), self.random.choice(ACTING)
            )
        if self.random.random() < 0.07:
            items.append(self.random.choice(FAILING))
        names = [f"{item} AS c{i}" for i, item in enumerate(items)]
        source = self.random.choice(SOURCES)
        where = self.random.choice(WHERE)
        # This column is unique in the tables, but not in other relations.
        order = self.random.choice(("", "", " ORDER BY id"))
        if order and source[0] == "(":
            order += ", txt"
        return f"SELECT {', '.join(names)} FROM {source} q{where}{order}"

    def wide(self):
        """Rows of up to 1,600 columns, in most cases as stored tuples."""
        shapes = ((1600, 120, 400), (1200, 120, 500), (1600, 30, 600))
        columns, length, rows = self.random.choice((
            *shapes,
            (self.random.randint(100, 1600), self.random.choice((0, 1, 20)),
             self.random.choice((1, 20, 200))),
        ))
        value = self.random.choice((
            *(f"repeat('x', {length})",) * 3,
            f"repeat('x', (g + 7) % {length + 1})", "g", "NULL::int",
        ))
        items = ", ".join(f"{value} AS c{i}" for i in range(columns))
        query = f"SELECT {items} FROM generate_series(1, {rows}) g"
        if self.random.random() < 0.8:
            query = f"WITH x AS MATERIALIZED ({query}) SELECT * FROM x"
        return query

    def options(self, bad=True):
        draw = self.random
        found = {
            "format": draw.choice(
                ("csv", "csv", "csv", "text", "text", "binary", "jsonl",
                 "jsonl", "json", "parquet", "parquet")
            )
        }
        if found["format"] == "parquet":
            found.update(self.parquet_options())
        compression = draw.choice(("none", "none", "none", "gzip", "zstd",
                                   "lz4"))
        if compression != "none":
            found["compression"] = compression
            if draw.random() < 0.3:
                found["compression_level"] = draw.randint(1, 9)
        if found["format"] in ("csv", "text"):
            if draw.random() < 0.3:
                found["header"] = draw.random() < 0.5
            if draw.random() < 0.2:
                found["null"] = draw.choice(("", "NULL", "n/a"))
            if draw.random() < 0.2:
                found["delimiter"] = draw.choice(("|", ";", "~"))
        if found["format"] == "csv" and draw.random() < 0.1:
            found["force_quote"] = True
        for name, values, odds in (
            ("parallel", ("off", "auto", 1, 2, 4), 0.5),
            ("part_size", ("5MB", "6MB"), 0.5),
            ("connections", (1, 2, 8), 0.3),
            ("empty", ("write", "skip"), 0.3),
            ("checksum", ("sha256", "crc32", "none"), 0.2),
            ("overwrite", ("error",), 0.1),
            ("manifest", (True,), 0.1),
        ):
            if draw.random() < odds:
                found[name] = draw.choice(values)
        if bad and draw.random() < 0.06:
            found.update(draw.choice(BAD_OPTIONS))
        return found

    def parquet_options(self):
        """Row groups and pages of every size, and random encodings of values.
        """
        draw = self.random
        found = {"numeric": "text", "unrepresentable": "null"}
        for name, values, odds in (
            ("encodings", ("compatible", "delta"), 0.5),
            ("dictionary", (True, False), 0.4),
            ("row_group_rows", (1, 7, 100, 1000, 5000), 0.4),
            ("row_group_size", ("1MB", "2MB"), 0.3),
            ("page_size", ("4kB", "64kB"), 0.4),
            ("uuid", ("text", "uuid"), 0.2),
            ("numeric", ("double", "decimal(38,9)", "error"), 0.1),
            ("unrepresentable", ("error",), 0.1),
        ):
            if draw.random() < odds:
                found[name] = draw.choice(values)
        return found

    def export(self, folder="e"):
        """Draws another export and records it."""
        name = f"{self.prefix}_{len(self.exports)}"
        options = {
            "key": f"{folder}{self.session}/{{name}}.{{ext}}",
            **self.options(),
        }
        self.exports.append(Export(name, self.query(), options))
        return self.exports[-1]

    # Statements

    def beginning(self):
        """Settings with which the planner uses workers for small tables."""
        if self.random.random() < 0.4:
            return "SELECT"
        return (
            "SET min_parallel_table_scan_size = 0;"
            " SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0"
        )

    def statement(self):
        kinds = {
            self.lands: 30, self.settings: 20, self.stages: 16,
            self.transaction: 14, self.cursor: 10, self.plain: 12,
            self.role: 4, self.many: 5, self.job: 5, self.explains: 4,
            self.prepared_ones: 5,
        }
        (kind,) = self.random.choices(list(kinds), kinds.values())
        return kind()

    def recovery(self):
        """A statement for a session in a failed transaction."""
        if self.savepoints and self.random.random() < 0.6:
            return f"ROLLBACK TO s{self.random.randint(1, self.savepoints)}"
        return self.random.choice(("ROLLBACK", "ROLLBACK", "COMMIT"))

    def call(self, function="onboard_table", folder="e"):
        export = self.export(folder)
        return (
            f"{function}({literal(export.name)}, {literal(export.query)},"
            f" current_setting('storm.bucket'),"
            f" {literal(json.dumps(export.options))})"
        )

    def lands(self):
        call = self.call()
        arguments = call[len("onboard_table"):]
        # (name, query, bucket, options) without the bucket
        three = arguments.replace(" current_setting('storm.bucket'),", "")
        return self.random.choice((
            *(f"SELECT * FROM {call}",) * 6,
            f"SELECT ({call}).*",
            f"SELECT (SELECT status FROM {call}) FROM generate_series(1, 2)",
            f"WITH x AS MATERIALIZED (SELECT * FROM {call})"
            " SELECT * FROM x, storm.small",
            f"EXPLAIN (ANALYZE) SELECT * FROM {call}",
            f"SELECT * FROM storm.export{three}",
            f"INSERT INTO storm.wanted VALUES {three}",
            f"DO $do$ BEGIN PERFORM {call}; PERFORM storm.do_scan(); END $do$",
            f"DO $do$ BEGIN PERFORM {call}; EXCEPTION WHEN OTHERS THEN"
            " PERFORM storm.do_scan(); END $do$",
            f"CREATE TEMP TABLE IF NOT EXISTS one AS SELECT * FROM {call}",
        ))

    def many(self):
        options = {}
        for name, values in (
            ("publish", ("each", "together", "together")),
            ("on_error", ("continue", "raise")), ("manifest", (True,)),
            ("compression", ("gzip",)),
        ):
            if self.random.random() < 0.3:
                options[name] = self.random.choice(values)
        pattern = self.random.choice(("all%", "all_1%", "all_2%", "all_3"))
        call = f"onboard_all('{pattern}', {literal(json.dumps(options))})"
        return self.random.choice((
            f"SELECT * FROM {call}", f"SELECT ({call}).*",
            f"SELECT ({call}).* LIMIT 1", f"SELECT {call}",
            f"SELECT * FROM {call} LIMIT 1",
            self._declare(f"SELECT ({call}).*"),
            f"DO $do$ DECLARE r record; BEGIN FOR r IN SELECT ({call}).* LOOP"
            " PERFORM storm.do_scan(); END LOOP; END $do$",
            f"DO $do$ DECLARE r record; BEGIN SELECT ({call}).* INTO r;"
            " END $do$",
        ))

    def job(self):
        submit = self.random.choice((
            self.call("onboard_submit", "j"), self.call("onboard_submit", "j"),
            "onboard_submit_all('all_2%')",
            "onboard_submit_all('all%', '{\"publish\": \"together\"}')",
        ))
        return self.random.choice((
            f"SELECT {submit}",
            f"SELECT * FROM onboard_wait({submit}, '2 s')",
            f"SELECT onboard_cancel({submit})",
            f"SELECT * FROM onboard_status({submit})",
        ))

    def settings(self):
        return "; ".join(
            f"SET {self.random.choice(('', '', 'LOCAL '))}{name} ="
            f" '{self.random.choice(values)}'"
            for name, values in self.random.choices(SETTINGS, k=3)
        )

    def stages(self):
        text = []
        for stage in self.random.sample(STAGES, self.random.randint(1, 3)):
            action = self.choice([*ACTIONS, ""])
            text.append(f"SET storm.on_{stage} = {literal(action)}")
        return "; ".join(text)

    def role(self):
        return self.random.choice((
            "SET ROLE storm_user", "SET ROLE storm_user", "SET ROLE storm_none",
            "RESET ROLE", "RESET ROLE", "SET LOCAL ROLE storm_user",
        ))

    def transaction(self):
        kind = self.random.random()
        if kind < 0.4:
            return "BEGIN" + self.random.choice((
                "", "", " ISOLATION LEVEL REPEATABLE READ",
                " ISOLATION LEVEL SERIALIZABLE",
                # The transaction takes its snapshot at once: PostgreSQL fails
                # an assertion if a wait for the snapshot is cancelled below a
                # savepoint.
                " ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT 1",
                " READ ONLY",
            ))
        if kind < 0.6:
            self.savepoints = self.savepoints % 4 + 1
            return f"SAVEPOINT s{self.savepoints}"
        if kind < 0.75 and self.savepoints:
            verb = self.random.choice(("ROLLBACK TO", "RELEASE"))
            return f"{verb} s{self.random.randint(1, self.savepoints)}"
        if kind < 0.78:
            return f"PREPARE TRANSACTION '{self.prefix}'"
        return self.random.choice(("COMMIT", "COMMIT", "ROLLBACK",
                                   "COMMIT AND CHAIN; SELECT 1"))

    def _declare(self, query):
        name = f"c{len(self.open) % 4}"
        self.open.append(name)
        scroll = self.random.choice(("", "", "SCROLL ", "NO SCROLL "))
        # PostgreSQL's own assertion fails if a function catches an error while
        # COMMIT runs a WITH HOLD cursor
        # (RollbackAndReleaseCurrentSubTransaction in xact.c), so such cursors
        # are only declared for queries without functions.
        hold = " WITHOUT HOLD"
        if "(" not in query:
            hold = self.random.choice((hold, " WITH HOLD"))
        return f"DECLARE {name} {scroll}CURSOR{hold} FOR {query}"

    def cursor(self):
        if not self.open or self.random.random() < 0.3:
            return self._declare(self.random.choice((
                f"SELECT * FROM {self.call()}", "SELECT * FROM storm.medium",
                f"SELECT ({self.call()}).*",
                "SELECT m.id, storm.act_v('row') FROM storm.medium m",
            )))
        verb = self.random.choice((
            "FETCH 1 FROM", "FETCH 10 FROM", "FETCH ALL FROM", "CLOSE",
            "FETCH BACKWARD 1 FROM", "MOVE 100 FROM", "FETCH FIRST FROM",
        ))
        return f"{verb} {self.random.choice(self.open)}"

    def prepared_ones(self):
        if not self.prepared or self.random.random() < 0.4:
            name = f"p{len(self.prepared) % 4}"
            self.prepared.append(name)
            what = self.random.choice((
                "SELECT count(*), sum(id) FROM storm.medium WHERE id > $1",
                f"SELECT $1, * FROM {self.call()}",
                "SELECT storm.do_scan(), $1",
                f"SELECT {self.query_item()}, $1 FROM storm.medium q",
            ))
            return f"DEALLOCATE ALL; PREPARE {name} (int) AS {what}"
        return f"EXECUTE {self.random.choice(self.prepared)} (0)"

    def query_item(self):
        return self.random.choice(ACTING)

    def explains(self):
        export = Export("", self.query(), self.options())
        return (
            f"SELECT * FROM onboard_explain({literal(export.query)},"
            f" {literal(json.dumps(export.options))})"
        )

    def plain(self):
        return self.choice(PLAIN_STATEMENTS) or "SELECT"


def registered(seed):
    """Registered tables for onboard_all(), and exports that functions make by
    themselves."""
    draw = Draw(seed, "all", 0)
    tables = [
        Export("all_11", "SELECT id, txt FROM storm.medium", {}),
        Export("all_12", "SELECT 5 AS a, '{1}'::storm.d[] AS b", {}),
        Export("all_13", "SELECT 1 / (id - 5) AS x FROM storm.small", {}),
        Export("all_3", "SELECT id, name FROM storm.medium",
               {"watermark": {"column": "id"}}),
    ]
    tables += [
        Export(f"all_2{n}", draw.query(), draw.options(bad=False))
        for n in range(3)
    ]
    nested = [
        Export("nested_0", "SELECT id, name FROM storm.medium", {}),
        Export("nested_1", "SELECT 7 AS a, '{2}'::storm.d[] AS b", {}),
        Export("nested_2", "SELECT storm.act_v('row'), txt FROM storm.parts",
               {"compression": "gzip"}),
        Export("nested_3", "SELECT 1 / (id - 7) AS x FROM storm.small", {}),
    ]
    nested += [
        Export(f"nested_{n}", draw.query(), draw.options(bad=False))
        for n in range(4, 8)
    ]
    for export in [*tables, *nested]:
        export.options.pop("manifest", None)
        export.options.setdefault("format", "csv")
    for export in tables:
        export.options["key"] = "a/{name}/{run_id}.{ext}"
    return tables, nested
