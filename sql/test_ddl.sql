-- onboard_ddl(): statements of each dialect, and what they cannot read.
-- ClickHouse's and DuckDB's are run by test/system/test_ddl.py.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE TYPE pair AS (number int, note text);
CREATE TABLE orders (
	id bigint, total numeric(10,2), ordered date, at timestamp, ok boolean);
CREATE TABLE types (
	i2 smallint, i4 int, f4 real, f8 double precision, n numeric(38,9),
	t text, v varchar(10), tz timestamptz, by bytea, j jsonb,
	texts text[], p pair, ok boolean, d date, at timestamp);

CREATE FUNCTION ddl(dialect text, options text,
	query text DEFAULT 'SELECT * FROM public.types', name text DEFAULT 'types',
	bucket text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
	SELECT public.outcome(format('SELECT public.onboard_ddl(%L, %L, %L, %L, %L)',
		name, query, bucket, options, dialect))
$$;
CREATE FUNCTION dialects() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT unnest('{athena,bigquery,clickhouse,duckdb,glue,redshift,
		redshift_spectrum,snowflake,spark}'::text[])
$$;

-- Parquet

SELECT ddl(dialect, '{"format": "parquet"}') FROM dialects() AS dialect;

-- csv without quotes, and with them

SELECT ddl(dialect, '{"compression": "gzip", "delimiter": ";"}',
	'SELECT * FROM public.orders') FROM dialects() AS dialect;
SELECT ddl(dialect, '{"null": "NULL", "force_quote": "*", "escape": "\\"}')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"null": "\\N"}') FROM dialects() AS dialect;
SELECT ddl(dialect, '{}') FROM dialects() AS dialect;

-- JSON

SELECT ddl(dialect, '{"format": "jsonl", "compression": "gzip"}',
	'SELECT i2, i4, f4, f8, t, v, tz, by, j, texts, p, ok, d, at FROM public.types')
FROM dialects() AS dialect;

-- The registry, defaults and NULLs

INSERT INTO onboard_tables (name, query, bucket, options)
VALUES ('types', 'SELECT 1 AS registered', 'registered', '{"format": "parquet"}');
SELECT onboard_ddl('types', dialect => 'spark');
SELECT onboard_ddl('types', 'SELECT 2 AS given', 'given', NULL, 'spark');
DELETE FROM onboard_tables;
SELECT onboard_ddl('orders', options => '{"format": "parquet"}', dialect => 'spark');
SELECT onboard_ddl(NULL, dialect => 'spark');
SELECT onboard_ddl('', dialect => 'spark');
SELECT onboard_ddl('orders');
SELECT ddl('Spark', '{}');
SELECT ddl(repeat('x', 100000), '{}');
SELECT ddl('spark', '{"format": "parquet"}', name => 'missing');
SELECT ddl('spark', '{"fromat": "parquet"}');
SELECT ddl('spark', '{}', 'DELETE FROM public.orders');
SELECT ddl('spark', '{}', bucket => 'not/a/bucket');

-- Formats, compressions and options

SELECT ddl(dialect, format('{"format": "%s"}', f))
FROM dialects() AS dialect, unnest(ARRAY['binary', 'json']) AS f WHERE dialect < 'c';
SELECT ddl(dialect, '{"format": "text"}', 'SELECT 1 AS a, 2 AS b') FROM dialects() AS dialect;
SELECT ddl('clickhouse', '{"format": "text", "delimiter": ","}', 'SELECT 1 AS a, 2 AS b');
SELECT dialect, f, c, onboard_ddl('t', 'SELECT 1 AS a, 2 AS b', NULL,
	jsonb_build_object('format', f, 'compression', c), dialect) IS NOT NULL
FROM dialects() AS dialect, unnest(ARRAY['csv', 'parquet']) AS f,
	unnest(ARRAY['none', 'gzip', 'zstd', 'lz4', 'snappy']) AS c
WHERE ddl(dialect, format('{"format": "%s", "compression": "%s"}', f, c),
	'SELECT 1 AS a, 2 AS b') !~ '^0A000|^22023'
ORDER BY 1, 2, 3;
SELECT ddl('athena', '{"compression": "lz4"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('athena', '{"format": "parquet", "compression": "lz4"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('athena', '{"compression": "gzip", "key": "{name}/a"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('athena', '{"compression": "gzip", "key": "{name}/a.{ext}.x"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('duckdb', '{"encoding": "LATIN1"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl(dialect, '{"format": "parquet", "encodings": "delta"}', 'SELECT 1 AS a, 2 AS b')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"quote": "|"}', 'SELECT 1 AS a, 2 AS b') FROM dialects() AS dialect;
SELECT ddl('clickhouse', '{"force_quote": ["a"]}', 'SELECT 1 AS a, true AS b');
SELECT ddl('clickhouse', '{"delimiter": "\t"}', 'SELECT 1 AS a, 2 AS b');
SET DateStyle = german;
SELECT ddl('duckdb', '{}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('duckdb', '{}', 'SELECT 1 AS b, current_date AS a');
SELECT ddl('duckdb', '{"format": "jsonl"}', 'SELECT 1 AS b, current_date AS a');
RESET DateStyle;

SELECT ddl(dialect, format('{"null": "%s"}', n), 'SELECT 1 AS a')
FROM dialects() AS dialect, unnest('{"",N}'::text[]) AS n;

-- Types

SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT gen_random_uuid() AS u')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT localtime AS t')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT 1::numeric(38,38) AS n')
FROM dialects() AS dialect;
SELECT ddl('duckdb', '{"format": "parquet"}', 'SELECT 1::numeric AS n');
SELECT ddl(dialect, '{"format": "jsonl"}', 'SELECT 1::numeric AS n')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"format": "jsonl"}', 'SELECT ARRAY[1::numeric(16,2)] AS n')
FROM dialects() AS dialect;

CREATE TYPE upper AS ("B" int);
SELECT ddl(dialect, '{"format": "jsonl"}', q)
FROM dialects() AS dialect, unnest(ARRAY[
	'SELECT 1 AS "A", current_date AS d', 'SELECT ''{}''::json AS "A"',
	'SELECT ''{}''::json AS a', 'SELECT ''{}''::json AS a, NULL::public.upper AS b']) AS q
WHERE dialect IN ('athena', 'redshift_spectrum');

-- Names

SELECT ddl('duckdb', format('{"format": "%s"}', f), 'SELECT')
FROM unnest('{csv,jsonl,parquet}'::text[]) AS f;
SELECT ddl('duckdb', '{}', 'SELECT 1, 2');
SELECT ddl('duckdb', '{}', 'SELECT 1 AS a, 2 AS a');
SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT 1 AS a, 2 AS "A"')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT 1 AS "a b"')
FROM dialects() AS dialect;
CREATE TYPE cases AS (a int, "A" int);
SELECT ddl(dialect, '{"format": "jsonl"}', 'SELECT ARRAY[NULL::public.cases] AS c')
FROM dialects() AS dialect;
SELECT ddl(dialect, '{"format": "parquet"}', 'SELECT 1 AS "1a"')
FROM dialects() AS dialect WHERE dialect IN ('athena', 'bigquery');
SELECT ddl('bigquery', '{"format": "parquet"}', 'SELECT 1 AS _partition_key');
SELECT ddl('bigquery', '{"format": "parquet"}', 'SELECT 1 AS "a-b"');
SELECT ddl(dialect, '{"null": "x", "force_quote": ["b"]}',
	E'SELECT 1 AS "a\nb", 2 AS b') FROM dialects() AS dialect;
SELECT ddl('redshift', '{}', E'SELECT 1 AS "a\nb", 2 AS b');
SELECT ddl('athena', '{"format": "parquet"}', 'SELECT 1 AS a, 2 AS b', E'Ord`er\nItems; --é');
SELECT ddl('spark', '{"format": "parquet"}', 'SELECT 1 AS "`"', E'Ord`er\nItems; --é');
SELECT ddl('redshift', '{"format": "parquet"}', 'SELECT 1 AS """"', E'";\nDROP TABLE x --');
SELECT ddl('snowflake', '{"format": "parquet"}', 'SELECT 1 AS """"', E'";\nDROP TABLE x --');
SELECT ddl('glue', '{"format": "parquet"}', 'SELECT 1 AS "A"', '","x":"');

-- Places: the directory of the key

SELECT ddl('athena', '{"format": "parquet", "key": "raw/{run_id}/{name}.{ext}"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('duckdb', '{"key": "raw/{name}/{part}/x"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('duckdb', '{"key": "{name}/{date}/{time}-{part}.{ext}", "as_of": "2026-01-31 01:02:03"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('athena', '{"format": "parquet", "key": "it''s/{name}/x.{ext}"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl(dialect, '{"format": "parquet", "key": "x/{name}_{run_id}y.{ext}"}',
	'SELECT 1 AS a, 2 AS b')
FROM dialects() AS dialect WHERE dialect IN ('redshift', 'snowflake', 'bigquery');
SELECT ddl(dialect, '{"format": "parquet", "key": "x/{run_id}", "schema": true}',
	'SELECT 1 AS a, 2 AS b')
FROM dialects() AS dialect WHERE dialect IN ('redshift', 'bigquery');
SELECT ddl('bigquery', '{"format": "parquet", "key": "*/{name}"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('clickhouse', '{"format": "parquet", "key": "*/{name}"}', 'SELECT 1 AS a, 2 AS b');

-- Objects that an engine would not find, or would take for something else

CREATE FUNCTION place(key text, name text DEFAULT 't')
RETURNS TABLE (dialect text, outcome text) LANGUAGE sql AS $$
	SELECT dialect, public.ddl(dialect,
		jsonb_build_object('format', 'parquet', 'key', key)::text, 'SELECT 1 AS a, 2 AS b', name)
	FROM public.dialects() AS dialect
	WHERE dialect NOT IN ('bigquery', 'clickhouse', 'glue', 'redshift', 'snowflake')
$$;
SELECT * FROM place('x/{name}/{name}.{ext}', '_t');
SELECT * FROM place('x/{name}/.{ext}');
SELECT * FROM place('x/{name}/#.{ext}');
SELECT * FROM place('x/{name}/{ext}~');
SELECT * FROM place('x/{name}/');
SELECT * FROM place('x//{name}/{name}.{ext}');
SELECT * FROM place('../{name}/{name}.{ext}');
SELECT * FROM place('[a]/{name}/{name}.{ext}');
SELECT * FROM place('a\b/{name}/{name}.{ext}');
SELECT * FROM place('a?s3_endpoint=b/{name}/{name}.{ext}');
SELECT * FROM place('$''{{env:HOME}}/{name}/{name}.{ext}');
CREATE SERVER gcs FOREIGN DATA WRAPPER onboard OPTIONS (
	endpoint 'https://storage.googleapis.com', bucket 'lake');
CREATE USER MAPPING FOR CURRENT_USER SERVER gcs OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SELECT ddl('bigquery', '{"server": "gcs"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('clickhouse', '{"server": "gcs"}', 'SELECT 1 AS a, 2 AS b');

-- A directory that other exports may use

SET client_min_messages = notice;
SELECT ddl('athena', '{"format": "parquet", "key": "x/{name}.{ext}"}', 'SELECT 1 AS a, 2 AS b');
SELECT ddl('duckdb', '{"format": "parquet", "key": "x/{name}.{ext}"}', 'SELECT 1 AS a, 2 AS b');
