-- The registry: its table, onboard_register(), and onboard_all().

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset null null

-- Constraints of the table

\set VERBOSITY terse
INSERT INTO onboard_tables (name) VALUES (NULL);
INSERT INTO onboard_tables (name) VALUES ('');
INSERT INTO onboard_tables (name, options) VALUES ('t', '[]');
INSERT INTO onboard_tables (name, options) VALUES ('t', NULL);
INSERT INTO onboard_tables (name, options) VALUES ('t', '"csv"');
INSERT INTO onboard_tables (name, enabled) VALUES ('t', NULL);
INSERT INTO onboard_tables (name) VALUES ('t'), ('t');
\set VERBOSITY default
INSERT INTO onboard_tables (name) VALUES ('t');
SELECT name, query, bucket, options, enabled FROM onboard_tables;
DELETE FROM onboard_tables;

-- Registering

SELECT onboard_register('{"Tables": [
	{"table_name": "employee", "sql_query": "select 1 as a where false"},
	{"table_name": "department", "sql_query": "select 1 as a where false;",
	 "bucket": "lake-hr", "options": {"format": "jsonl"}, "enabled": false},
	{"table_name": "plain"}]}');
SELECT name, query, bucket, options, enabled FROM onboard_tables ORDER BY name;
-- An entry replaces the values that it has, and keeps the others
SELECT onboard_register('{"Tables": [
	{"table_name": "employee", "options": {"header": false}},
	{"table_name": "department", "bucket": null, "enabled": true},
	{"table_name": "plain", "sql_query": "select 2 as b where false"}]}');
SELECT name, query, bucket, options, enabled FROM onboard_tables ORDER BY name;
SELECT onboard_register('{"Tables": [{"table_name": "plain", "sql_query": null}]}');
SELECT query FROM onboard_tables WHERE name = 'plain';
SELECT onboard_register('{"Tables": []}');
SELECT onboard_register('{"Tables": [{"table_name": "employee"}], "Version": 1}');
SELECT count(*) FROM onboard_tables;

-- Errors, after which nothing is registered

\pset format unaligned
\pset tuples_only on
CREATE FUNCTION load(VARIADIC configs text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT c || E'\n    ' ||
		outcome(format('SELECT onboard_register(%L)', c))
	FROM unnest(configs) WITH ORDINALITY AS u (c, n) ORDER BY n
$$;
SELECT load('[]', '{}', 'null', '"Tables"', '{"tables": []}',
	'{"Tables": null}', '{"Tables": {}}', '{"Tables": "employee"}',
	'{"Tables": [{"table_name": "x"}, "employee"]}', '{"Tables": [[]]}', '{"Tables": [null]}',
	'{"Tables": [{}]}',
	'{"Tables": [{"sql_query": "select 1"}]}',
	'{"Tables": [{"table_name": ""}]}',
	'{"Tables": [{"table_name": null}]}',
	'{"Tables": [{"table_name": 1}]}',
	'{"Tables": [{"name": "x"}]}',
	'{"Tables": [{"table_name": "x"}, {"table_name": "y", "query": "select 1"}]}',
	'{"Tables": [{"table_name": "x", "sql_query": 1}]}',
	'{"Tables": [{"table_name": "x", "sql_query": ["select 1"]}]}',
	'{"Tables": [{"table_name": "x", "bucket": {}}]}',
	'{"Tables": [{"table_name": "x", "enabled": "yes"}]}',
	'{"Tables": [{"table_name": "x", "enabled": null}]}',
	'{"Tables": [{"table_name": "x", "options": "csv"}]}',
	'{"Tables": [{"table_name": "x", "options": null}]}',
	'{"Tables": [{"table_name": "x", "options": []}]}',
	'{"Tables": [{"table_name": "x"}, {"table_name": "y"}, {"table_name": "x"}]}',
	'{"Tables": [{"table_name": "a\u0000b"}]}');
-- The values of entries are checked, too
SELECT load(
	'{"Tables": [{"table_name": "x", "sql_query": ""}]}',
	'{"Tables": [{"table_name": "x", "sql_query": "delete from x"}]}',
	'{"Tables": [{"table_name": "x", "sql_query": "select 1; select 2"}]}',
	'{"Tables": [{"table_name": "x", "options": {"format": "xml"}}]}',
	'{"Tables": [{"table_name": "x", "options": {"fromat": "csv"}}]}',
	'{"Tables": [{"table_name": "x", "options": {"key": "{nme}"}}]}',
	'{"Tables": [{"table_name": "x", "options": {"on_error": "raise"}}]}',
	'{"Tables": [{"table_name": "x", "options": {"format": "text", "quote": "x"}}]}',
	'{"Tables": [{"table_name": "x", "bucket": "A_b"}]}');
SELECT onboard_register('{"Tables": [{"table_name": "y"}, {"table_name": "x", "sql_query": "select 1 form x"}]}');
SELECT onboard_register('{"Tables": [{"table_name": "y"}, {"table_name": "x", "sql_query": "drop table x"}]}');
SELECT onboard_register('{"Tables": [{"table_name": "y"}, {"table_name": "x", "options": {"header": 1}}]}');
SELECT count(*) FROM onboard_tables WHERE name IN ('x', 'y');

-- onboard_table() takes omitted arguments from the registry

\pset format aligned
\pset tuples_only off
DELETE FROM onboard_tables;
SELECT onboard_register('{"Tables": [
	{"table_name": "t", "sql_query": "SELECT 1 AS a WHERE false", "bucket": "lake-t",
	 "options": {"format": "jsonl", "key": "{name}.{ext}"}}]}');
SELECT name, status, uri, files, rows, bytes FROM onboard_table('t');
-- Bucket and key of a registered row
\set VERBOSITY terse
SELECT onboard_table('t', 'SELECT 1');
SELECT onboard_table('t', 'SELECT 1', 'lake');
SELECT onboard_table('t', 'SELECT 1', options => '{"format": "text"}');
SELECT onboard_table('t', 'SELECT 1', options => '{"header": true}');
\set VERBOSITY default
-- The error names the table whose option is wrong
UPDATE onboard_tables SET options = '{"fromat": "csv"}';
SELECT onboard_table('t');
UPDATE onboard_tables SET options = '{"format": "text"}';
SELECT onboard_table('t', options => '{"quote": "x"}');
-- Only onboard_all() skips disabled rows
UPDATE onboard_tables SET enabled = false;
SELECT status FROM onboard_table('t');
SELECT count(*) FROM onboard_all();

-- onboard_all()

DELETE FROM onboard_tables;
SELECT * FROM onboard_all();
SELECT * FROM onboard_all('sales%');
SELECT onboard_register('{"Tables": [
	{"table_name": "b_empty", "sql_query": "SELECT 1 AS a WHERE false"},
	{"table_name": "a_empty", "sql_query": "SELECT 1 AS a WHERE false"},
	{"table_name": "c_other", "sql_query": "SELECT 1 AS a WHERE false", "enabled": false}]}');
SELECT name, status, uri, files, rows, bytes, elapsed >= '0' AS took, error FROM onboard_all();
SELECT count(DISTINCT run_id) FROM onboard_all();
SELECT name, status FROM onboard_all('a%');
SELECT name, status FROM onboard_all('_!_%');
SELECT name, status FROM onboard_all('c%');
SELECT name, status FROM onboard_all(pattern => '%empty', options => '{"format": "jsonl"}');
SELECT name, status FROM onboard_all(NULL, NULL);

-- A failed table does not stop the others

INSERT INTO onboard_tables (name, query, bucket, options) VALUES
	('f1', 'SELECT 1/0', NULL, '{}'),
	('f2', 'SELECT 1', NULL, '{}'),
	('f3', 'SELECT 1', 'A_b', '{}'),
	('f4', 'SELECT 1', NULL, '{"fromat": "csv"}'),
	('f5', NULL, NULL, '{}'),
	('f6', 'SELECT 1', NULL, '{"server": "nowhere"}'),
	('f7', 'SELECT 1 WHERE false', NULL, '{}'),
	('f8', 'SELECT 1 FORM x', NULL, '{}');
\set VERBOSITY terse
SELECT name, status, uri, files, rows, bytes, error FROM onboard_all('f%');
SELECT name FROM onboard_all('f%', '{"on_error": "raise"}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
SELECT name FROM onboard_all('f1', '{"on_error": "raise"}');
SELECT name FROM onboard_all('f4', '{"on_error": "raise"}');
SELECT name, status FROM onboard_all('f7', '{"on_error": "raise"}');
-- An error of the call is not a table's failure
SELECT name FROM onboard_all('f%', '{"fromat": "csv"}');
-- The session can still be used
SELECT name, status FROM onboard_all('a%');
SELECT count(*) FROM pg_foreign_server;

-- Two tables with the same key

DELETE FROM onboard_tables;
INSERT INTO onboard_tables (name, query, bucket, options) VALUES
	('a', 'SELECT 1', NULL, '{"key": "same"}'),
	('b', 'SELECT 1', NULL, '{"key": "same"}'),
	('c', 'SELECT 1', 'other', '{"key": "same"}'),
	('d', 'SELECT 1/0', NULL, '{}');
SELECT name, status FROM onboard_all();
\echo :LAST_ERROR_SQLSTATE
SELECT name, status FROM onboard_all(options => '{"key": "all.{ext}"}');
UPDATE onboard_tables SET query = 'SELECT 1 WHERE false';
SELECT name, status FROM onboard_all('b');
UPDATE onboard_tables SET options = '{"key": "{name}"}';
SELECT name, status FROM onboard_all();
-- A disabled table does not conflict
UPDATE onboard_tables SET options = '{"key": "same"}', enabled = name <> 'a';
SELECT name, status FROM onboard_all();
