-- Keys and their templates.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION each(VARIADIC keys text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT left(regexp_replace(k, '[[:cntrl:]]', '?', 'g'), 70) || E'\n    ' ||
		export(jsonb_build_object('key', k)::text)
	FROM unnest(keys) WITH ORDINALITY AS u (k, n) ORDER BY n
$$;

-- The URI of an export, from the error that sending it raises

CREATE FUNCTION target(options text, name text DEFAULT 't') RETURNS text
LANGUAGE sql AS $$
	SELECT substring(export(options, 'SELECT 1', name) FROM 's3://[^"]*')
$$;

SELECT target('{}');
SELECT target('{"format": "text"}');
SELECT target('{"format": "binary"}');
SELECT target('{"format": "jsonl"}');
SELECT target('{"format": "json"}');
SELECT target('{"compression": "gzip"}');
SELECT target('{"compression": "zstd", "format": "jsonl"}');
SELECT target('{"compression": "lz4"}');
SELECT target('{"key": "{database}/{name}.{part}.{ext}"}');
SELECT target('{"key": "{prefix}|{name}"}');
SELECT target('{"key": "{{{name}}}"}');
SELECT target('{"key": "/a//b/./../c/"}');
SELECT target('{"key": "größe/100 €?a=b&c#d%20+"}');
SELECT target('{"key": "{date}/{time}.x"}') ~ '^s3://lake/\d{4}-\d\d-\d\d/\d{6}\.x$';
SELECT split_part(target('{"key": "{run_id}"}'), '/', 4)::uuid IS NOT NULL;

-- Fields of date and time: in UTC, or in the given time zone

SELECT target('{"key": "{year}/{month}/{day}/{hour}"}') ~ '^s3://lake/\d{4}/\d\d/\d\d/\d\d$';
SELECT target('{"key": "{year}/{month}/{day}/{hour}|{date}T{time}", "as_of": "2026-01-05 06:07:08"}');
SELECT target('{"key": "year={year}/month={month}/day={day}", "as_of": "2026-01-05", "timezone": "Europe/Berlin"}');
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German, DMY';
SELECT target('{"key": "{date}T{time}", "as_of": "2026-01-05"}');
SELECT target('{"key": "{date}T{time}", "as_of": "2026-01-05T23:30:00+00:00"}');
SELECT target('{"key": "{date}T{time}", "as_of": "2026-01-05T23:30:00Z", "timezone": "Europe/Berlin"}');
RESET TimeZone;
RESET DateStyle;

-- A name is a single segment of the key

SELECT target('{}', 'public.t');
SELECT target('{}', 'a/b');
SELECT target('{}', '../x');
SELECT target('{}', 'größe in €');
SELECT target('{}', E'a\nb');
SELECT target('{}', '{name}');

-- The server's prefix

ALTER SERVER s3 OPTIONS (ADD prefix 'raw/größe/');
SELECT target('{}');
SELECT target('{"key": "{name}"}');
SELECT target('{"key": "{prefix}"}');
ALTER SERVER s3 OPTIONS (DROP prefix);

-- Templates

SELECT each('{name}', '{nme}', '{}', '{ name }', '{Name}', '{name', 'name}',
	'{{name}', '{name}}', '{{', '}}', '{', '}', 'a{b{c}', '{name:x}', '{Year}', '{minute}', '');

-- Keys

SELECT each('{prefix}', '{prefix}{part}', E'a\nb', E'a\u007fb', E'\u0001',
	E'\ufffe', E'\uffff', E'\ufffd',
	repeat('k', 1024), repeat('k', 1025), repeat('ä', 512), repeat('ä', 513));
SELECT each('s3://lake/t.csv', 'S3://lake/{name}', '{prefix}s3://lake', 's3:/lake', 'raw/s3://lake',
	'/s3://lake', '/', '/raw/t.csv');
SELECT left(export('{"key": "{name}"}', name => repeat('€', 113)), 80);
SELECT left(export('{"key": "{name}"}', name => repeat('€', 114)), 80);
SELECT left(export('{}', name => repeat('n', 501)), 80);
SELECT left(export('{}', name => repeat('n', 502)), 80);

-- The key is checked with the other options, before the query

SELECT onboard_table('t', 'SELECT 1/0', 'lake', '{"key": "{nme}"}');
\echo :LAST_ERROR_SQLSTATE
