-- Names of buckets, and the buckets that a server allows.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION each(VARIADIC buckets text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT left(b, 70) || E'\n    ' || export('{}', bucket => b)
	FROM unnest(buckets) WITH ORDINALITY AS u (b, n) ORDER BY n
$$;

-- Names

SELECT each('lake', 'abc', '123', 'a.b-c', 'a--b', repeat('b', 63));
SELECT each('A_b', 'Lake', 'a_b', '..', 'a..b', '.abc', 'abc.', '-abc', 'abc-',
	'ab', '', ' lake', 'lake/raw', 'lake?x', 'läke', E'lake\nX-Evil: 1',
	'127.0.0.1', 's3://lake', 's3://lake/raw', 'S3://lake',
	'arn:aws:s3:::lake',
	'arn:aws:s3:eu-central-1:111122223333:accesspoint/lake',
	'lake--euc1-az1--x-s3',
	'mfzwi23gnjvgw.mrap',
	'https://lake.s3.amazonaws.com', repeat('b', 64));

-- The server's default

SELECT export('{}', bucket => NULL);
ALTER SERVER s3 OPTIONS (DROP bucket);
SELECT export('{}', bucket => NULL);
SELECT export('{}', bucket => 'lake');

-- The server's list of buckets

ALTER SERVER s3 OPTIONS (ADD buckets 'lake-*, archive,log[0-9]?,*.eu');
SELECT each('lake-raw', 'lake-', 'archive', 'log12', 'x.eu', 'lake-a.b',
	'lake', 'lak', 'archives', 'my-archive', 'log1', 'loga1', 'x.eu.x', 'mine');
ALTER SERVER s3 OPTIONS (SET buckets '*');
SELECT each('lake-raw', 'mine', 'A_b');

-- The complete errors

ALTER SERVER s3 OPTIONS (SET buckets 'lake-*');
SELECT onboard_table('t', 'SELECT 1', 'mine');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('t', 'SELECT 1', 'A_b');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('t', 'SELECT 1', '{"format": "csv"}');
