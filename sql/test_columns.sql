-- Columns of the result: duplicate names, pseudo-types.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION in_formats(query text) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT format || ': ' ||
		export(jsonb_build_object('format', format)::text, query)
	FROM unnest(ARRAY['csv', 'text', 'binary', 'jsonl', 'json'])
	WITH ORDINALITY AS u (format, n) ORDER BY n
$$;

-- Names

SELECT in_formats('SELECT 1 AS a, 2 AS a WHERE false');
SELECT export('{"format": "json"}',
	'SELECT 1 AS b, 2 AS a, 3 AS a, 4 AS a, 5 AS b, 6 AS c, 7 AS "A" WHERE false');
SELECT export('{"format": "jsonl"}', 'SELECT 1, 2 WHERE false');
SELECT export('{"format": "jsonl"}', 'SELECT 1 AS a, 2 AS "A", 3 AS "a " WHERE false');
SELECT export('{"format": "jsonl"}', 'SELECT * FROM (VALUES (1)) AS x (a) JOIN (VALUES (1)) AS y (a) USING (a) WHERE false');
SELECT export('{"format": "jsonl"}', 'SELECT * FROM (VALUES (1)) AS x (a) JOIN (VALUES (1)) AS y (a) ON x.a = y.a WHERE false');
SELECT export('{"force_quote": ["a"]}', 'SELECT 1 AS a, 2 AS a WHERE false');
SELECT in_formats('SELECT WHERE false');

-- Pseudo-types

SELECT in_formats($$SELECT pg_notify('x', 'y') WHERE false$$);
SELECT in_formats($$SELECT 1 AS a, 'x'::cstring AS c WHERE false$$);
SELECT in_formats($$SELECT 'x' AS unknown, NULL AS nothing WHERE false$$);
SELECT in_formats($$SELECT ROW (1, 'x') AS r, ARRAY[ROW (1)] AS rs WHERE false$$);
SELECT in_formats($$SELECT most_common_vals FROM pg_stats WHERE false$$);
SELECT in_formats($$SELECT event_object_table FROM information_schema.triggers WHERE false$$);

-- Types without binary output, as for COPY

SELECT in_formats($$SELECT '=r/postgres'::aclitem AS acl WHERE false$$);

-- The complete error, before the first row is read

SELECT onboard_table('t', 'SELECT 1/(x - x) AS a, x AS a FROM generate_series(1, 3) AS x',
	options => '{"format": "json"}');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('t', $$SELECT pg_notify('x', 'y')$$);
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('t', 'SELECT 1 AS a', options => '{"force_quote": ["A"]}');
\echo :LAST_ERROR_SQLSTATE

-- Each kind of type, without rows

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE kinds (
	a boolean, b smallint, c int, d bigint, e real, f float8, g numeric, h money,
	i char(3), j varchar, k text, l "char", m name, n bytea, o date, p time,
	q timetz, r timestamp, s timestamptz, t interval, u uuid, v json, w jsonb,
	x xml, y int[], z text[][], aa int4range, ab nummultirange, ac mood,
	ad positive, ae pair, af pair[], ag inet, ah cidr, ai macaddr, aj bit(3),
	ak varbit, al point, am polygon, an tsvector, ao tsquery, ap oid, aq regclass,
	ar pg_lsn, ars positive[], dropped int);
ALTER TABLE kinds DROP COLUMN dropped, DROP COLUMN b;
SELECT in_formats('TABLE kinds');
