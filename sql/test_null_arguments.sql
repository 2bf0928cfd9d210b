-- Arguments that are null or empty.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
CREATE TABLE t (a int);
\pset null null

SELECT onboard_table(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table(NULL, 'SELECT 1', 'lake', '{}');
SELECT onboard_register(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_abort_uploads(older_than => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_verify(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_verify_manifest(NULL);
\echo :LAST_ERROR_SQLSTATE

-- For other arguments, null means the same as leaving them out

SELECT name, status, uri, files, rows, bytes, elapsed >= '0' AS took
FROM onboard_table('t', NULL, NULL, NULL);
SELECT * FROM onboard_all(NULL, NULL);
SELECT onboard_all(NULL, '{"fromat": 1}');

-- Empty is not null

SELECT onboard_table('t', '');
SELECT onboard_table('t', bucket => '');
SELECT * FROM onboard_all('');
SELECT onboard_abort_uploads('');
SELECT onboard_abort_uploads(server => '');
SET onboard.server = '';
SELECT onboard_table('t');
