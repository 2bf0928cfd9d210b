-- A server that cannot be reached: only the network fails.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT export('{}', 'SELECT 1');
SELECT export('{"empty": "write"}');
SELECT export('{"format": "json", "empty": "write", "compression": "zstd"}');
SELECT export('{"format": "binary", "compression": "gzip", "tags": {"a": "b"}, "metadata": {"c": "d"}, "acl": "private", "storage_class": "STANDARD"}', 'SELECT 1;');
ALTER SERVER s3 OPTIONS (ADD addressing 'path');
SELECT export('{}', 'SELECT 1');

-- More than one part

SELECT export('{"part_size": "5MB"}', 'SELECT repeat(''x'', 1000) FROM generate_series(1, 20000)');

-- The session can still be used

SELECT export('{}', 'SELECT 1');
SELECT export('{}');
SELECT count(*) FROM onboard_runs WHERE status <> 'empty';

-- onboard_abort_uploads

SELECT outcome('SELECT key FROM onboard_abort_uploads()');
SELECT outcome('SELECT key FROM onboard_abort_uploads(''lake'', ''raw/'', ''0'', ''s3'')');
SELECT outcome('SELECT key FROM onboard_abort_uploads(''A_b'')');
SELECT outcome('SELECT key FROM onboard_abort_uploads(older_than => ''-1 second'')');
SELECT outcome('SELECT key FROM onboard_abort_uploads(older_than => ''1000000 years'')');
SELECT outcome('SELECT key FROM onboard_abort_uploads(server => ''nowhere'')');
ALTER SERVER s3 OPTIONS (DROP bucket);
SELECT outcome('SELECT key FROM onboard_abort_uploads()');
ALTER SERVER s3 OPTIONS (ADD buckets 'lake-*');
SELECT outcome('SELECT key FROM onboard_abort_uploads(''mine'')');
