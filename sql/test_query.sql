-- Queries that can be exported: one statement that only reads.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
CREATE TABLE t (id int PRIMARY KEY, name text);
CREATE TABLE "Größe, in €" (id int);
CREATE SCHEMA "s.1";
CREATE TABLE "s.1"."t.1" (id int);
CREATE VIEW v AS SELECT * FROM t;
CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
CREATE TABLE parted (id int) PARTITION BY LIST (id);
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION each(VARIADIC queries text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT coalesce(q, 'null') || E'\n    ' || export('{}', q)
	FROM unnest(queries) WITH ORDINALITY AS u (q, n) ORDER BY n
$$;

-- Queries that read

SELECT each(
	'SELECT * FROM t',
	'select * from t;',
	E'  SELECT 1 WHERE false ;\n -- done\n ; ;',
	'TABLE t',
	'(SELECT * FROM t)',
	'((TABLE t) UNION ALL TABLE t) ORDER BY id LIMIT 1',
	'WITH x AS (SELECT * FROM t) SELECT * FROM x',
	'WITH RECURSIVE x AS (SELECT 1 AS n WHERE false UNION ALL SELECT n + 1 FROM x) TABLE x',
	'SELECT * FROM (VALUES (1)) AS x (a) WHERE a > 1',
	'VALUES (1) LIMIT 0',
	'SELECT WHERE false',
	'TABLE v', 'TABLE m', 'TABLE parted',
	'SELECT ''a;b'' AS "c;d" WHERE false',
	'SELECT * FROM ONLY t TABLESAMPLE SYSTEM (10)');

-- No statement, another statement, several statements

SELECT each(
	'', ' ', ';', '-- nothing', '/* nothing */', E';\n--\n;');
SELECT each(
	'INSERT INTO t VALUES (1)', 'UPDATE t SET id = 1', 'DELETE FROM t',
	'DELETE FROM t RETURNING *', 'TRUNCATE t', 'DROP TABLE t',
	'CREATE TABLE u AS SELECT 1', 'COPY t TO STDOUT', 'COPY (SELECT 1) TO STDOUT',
	'EXPLAIN SELECT 1', 'EXPLAIN ANALYZE SELECT 1', 'SHOW work_mem',
	'SET work_mem = 1', 'BEGIN', 'COMMIT', 'CALL p()', 'DO ''BEGIN END''',
	'PREPARE p AS SELECT 1', 'EXECUTE p', 'DECLARE c CURSOR FOR SELECT 1',
	'FETCH ALL FROM c', 'VACUUM', 'LOCK t', 'NOTIFY x',
	'MERGE INTO t USING v ON false WHEN MATCHED THEN DELETE');
SELECT each(
	'SELECT 1; SELECT 2', 'SELECT 1; DROP TABLE t', 'SELECT 1;; TABLE t;',
	'DROP TABLE t; SELECT 1');

-- Queries that write or lock

SELECT each(
	'WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d',
	'WITH i AS (INSERT INTO t VALUES (1) RETURNING *) SELECT 1 WHERE false',
	'WITH a AS (SELECT 1), u AS (UPDATE t SET id = 2) TABLE a',
	'(WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d)',
	'SELECT 1 UNION ALL (WITH d AS (DELETE FROM t RETURNING id) SELECT id FROM d)',
	'SELECT * FROM (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) AS x',
	'WITH x AS (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) SELECT * FROM x',
	'SELECT 1 AS a INTO u',
	'SELECT 1 AS a INTO TEMP u',
	'SELECT 1 AS a INTO u UNION SELECT 2',
	'(SELECT 1 AS a INTO u UNION SELECT 2) UNION SELECT 3',
	'SELECT 1 UNION SELECT 2 INTO u',
	'SELECT * FROM (SELECT 1 AS a INTO u) AS x',
	'WITH x AS (SELECT 1 AS a INTO u) TABLE x',
	'SELECT * FROM t FOR UPDATE', 'SELECT * FROM t FOR NO KEY UPDATE',
	'SELECT * FROM t FOR SHARE', 'SELECT * FROM t FOR KEY SHARE',
	'TABLE t FOR UPDATE',
	'(SELECT * FROM t FOR UPDATE)',
	'SELECT * FROM (SELECT * FROM t FOR UPDATE) AS x',
	'WITH x AS (SELECT * FROM t FOR UPDATE) TABLE x',
	'SELECT id FROM t UNION ALL (SELECT id FROM t FOR SHARE)',
	'SELECT * FROM t WHERE id IN (SELECT id FROM t FOR UPDATE)');

-- Parameters and names

SELECT each(
	'SELECT $1', 'SELECT * FROM t WHERE id = $2', 'SELECT * FROM nosuch',
	'TABLE nosuch.t', 'SELECT nme FROM t',
	'SELECT 1/0', 'SELECT ''x''::int');

-- Without a query: the table of that name

CREATE FUNCTION named(VARIADIC names text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT n || E'\n    ' || export('{}', NULL, n)
	FROM unnest(names) WITH ORDINALITY AS u (n, o) ORDER BY o
$$;
SELECT named('t', 'T', 'public.t', 'pg_temp.t', '"t"', '"T"', 'v', 'm', 'parted',
	'"Größe, in €"', 'Größe, in €', '"s.1"."t.1"', 's.1.t.1',
	'regression_onboard.public.t', 'other.public.t', 'a.b.c.d', 'a b', '"', '.', 't;',
	't; DROP TABLE t', 't WHERE true', ' t ');

-- The error position is in the query; the context names the export

SELECT onboard_table('t', 'SELECT id FORM t');
SELECT onboard_table('t', 'my-lake');
SELECT onboard_table('t', 'SELECT id,
	nme FROM t');
SELECT onboard_table('t', 'SELECT ''a');
SELECT onboard_table('t', 'SELECT $1');
SELECT onboard_table('nosuch');
SELECT onboard_table('s.1.t.1');
SELECT onboard_table('t', 'SELECT 1/0');
DO $$ BEGIN PERFORM onboard_table('t', 'SELECT * FROM nosuch'); END $$;

-- Nothing was written

SELECT count(*) FROM t;
SELECT to_regclass('u');
SELECT count(*) FROM onboard_runs WHERE status <> 'empty';

-- onboard_explain(): the plan, and the processes that upload, without network.
CREATE TABLE wide AS SELECT g, 'x' || g AS t FROM generate_series(1, 100000) g;
ANALYZE wide;
SET max_parallel_workers_per_gather = 2;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SELECT regexp_replace(line, '  \(cost.*', '') AS line
FROM onboard_explain('SELECT * FROM wide') line;
SELECT regexp_replace(line, '  \(cost.*', '') AS line
FROM onboard_explain('SELECT t FROM wide WHERE g > 5',
	'{"format": "jsonl", "compression": "zstd", "parallel": 1}') line;
SELECT (array_agg(line))[1]
FROM onboard_explain('SELECT * FROM wide ORDER BY g') line;
SELECT (array_agg(line))[1]
FROM onboard_explain('SELECT * FROM wide', '{"format": "json"}') line;
SELECT (array_agg(line))[1]
FROM onboard_explain('SELECT * FROM wide', '{"parallel": "off"}') line;
SELECT * FROM onboard_explain('SELCT 1');
SELECT * FROM onboard_explain('SELECT 1', '{"parallel": -1}');
SELECT * FROM onboard_explain(NULL);
SELECT * FROM onboard_explain('DELETE FROM wide');
-- An error has no effect on the planning of the next statement
EXPLAIN (COSTS OFF) SELECT * FROM wide WHERE g > 0;
DROP TABLE wide;
