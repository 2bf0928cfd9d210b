-- The history: a row for each export that ended.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset null null

CREATE VIEW runs AS
	SELECT name, role, status, uri, files, rows, bytes, started <= ended AS in_order, error, sqlstate
	FROM onboard_runs ORDER BY started, name;

-- A failed export leaves no row, since its transaction rolls back

SELECT status FROM onboard_table('t1', 'SELECT 1 WHERE false');
SELECT onboard_table('t2', 'SELECT 1/0');
BEGIN;
SELECT status FROM onboard_table('t3', 'SELECT 1 WHERE false');
ROLLBACK;
TABLE runs;
TRUNCATE onboard_history;

-- A failure in onboard_all is one row among others

INSERT INTO onboard_tables (name, query) VALUES
	('t1', 'SELECT 1 WHERE false'), ('t2', 'SELECT 1/0'), ('t3', 'SELECT 1 FORM x');
\set VERBOSITY terse
SELECT name, status FROM onboard_all();
SELECT name, status FROM onboard_all('t2', '{"on_error": "raise"}');
\set VERBOSITY default
TABLE runs;
SELECT count(DISTINCT run_id) FROM onboard_runs;
TRUNCATE onboard_history;

-- The DETAIL of an error is kept, if it has one

INSERT INTO onboard_tables (name, query) VALUES ('t4', 'SELECT json ''{''');
\set VERBOSITY terse
SELECT name, error, detail FROM onboard_all();
\set VERBOSITY default
SELECT name, status, error, detail FROM onboard_runs ORDER BY started, name;
DELETE FROM onboard_tables WHERE name = 't4';
TRUNCATE onboard_history;

-- The row has the values that the call returned

WITH r AS MATERIALIZED (SELECT * FROM onboard_table('t', 'SELECT 1 WHERE false'))
SELECT name FROM r;
SELECT count(*) FROM onboard_runs;
DO $$
DECLARE
	r onboard_result;
BEGIN
	r := onboard_table('u', 'SELECT 1 WHERE false');
	ASSERT (SELECT (run_id, status, files, rows, bytes, ended - started)
		= (r.run_id, r.status, r.files, r.rows, r.bytes, r.elapsed)
		FROM onboard_runs WHERE name = 'u');
END
$$;
TRUNCATE onboard_history;

-- A transaction that only reads leaves no row, and says so in the log

BEGIN READ ONLY;
SELECT status FROM onboard_table('t', 'SELECT 1 WHERE false');
COMMIT;
TABLE runs;

-- In a block that catches the error, repeatedly

DO $$
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			PERFORM onboard_table('t', 'SELECT 1/0');
		EXCEPTION WHEN division_by_zero THEN
			RAISE NOTICE '%', SQLERRM;
		END;
		PERFORM onboard_table('t', 'SELECT 1 WHERE false');
	END LOOP;
END
$$;
SELECT name, status, count(*) FROM runs GROUP BY name, status;

-- An export within an export

SELECT status FROM onboard_table('outer',
	$q$SELECT status FROM onboard_table('inner', 'SELECT 1 WHERE false') WHERE status = 'x'$q$);
SELECT name, status FROM runs WHERE name IN ('inner', 'outer');

-- One row for each form of the call: (f()).* is one call

TRUNCATE onboard_history;
SELECT (onboard_table('star', 'SELECT 1 WHERE false')).*, count(*) OVER () \gset x_
SELECT :'x_name' AS name, :'x_status' AS status, :x_count AS rows;
DO $$
DECLARE
	r onboard_result;
	s text;
BEGIN
	PERFORM onboard_table('perform', 'SELECT 1 WHERE false');
	PERFORM * FROM onboard_table('perform from', 'SELECT 1 WHERE false');
	SELECT * INTO r FROM onboard_table('into', 'SELECT 1 WHERE false');
	SELECT (onboard_table('into star', 'SELECT 1 WHERE false')).* INTO r;
	r := onboard_table('assign', 'SELECT 1 WHERE false');
	s := (onboard_table('assign field', 'SELECT 1 WHERE false')).status;
	EXECUTE 'SELECT status FROM onboard_table(''execute'', ''SELECT 1 WHERE false'')' INTO s;
	IF (onboard_table('if', 'SELECT 1 WHERE false')).status <> 'empty' THEN
		RAISE 'not empty';
	END IF;
	FOR r IN SELECT (onboard_table('loop', 'SELECT 1 WHERE false')).* LOOP
		ASSERT r.name = 'loop';
	END LOOP;
END
$$;
CREATE FUNCTION wrapped(name text) RETURNS text LANGUAGE sql SECURITY DEFINER
	AS $$ SELECT status FROM public.onboard_table(name, 'SELECT 1 WHERE false') $$;
CREATE FUNCTION wrapped_row(name text) RETURNS onboard_result LANGUAGE sql
	AS $$ SELECT public.onboard_table(name, 'SELECT 1 WHERE false') $$;
SELECT wrapped('definer');
SELECT (x).status FROM wrapped_row('row') x;
SELECT t.status FROM (VALUES ('lateral 1'), ('lateral 2')) v (name), onboard_table(v.name, 'SELECT 1 WHERE false') t;
SELECT v.name, (onboard_table(v.name, 'SELECT 1 WHERE false')).status FROM (VALUES ('list 1'), ('list 2')) v (name);
BEGIN;
DECLARE c CURSOR FOR SELECT (onboard_table('cursor', 'SELECT 1 WHERE false')).*;
FETCH ALL FROM c \gset y_
FETCH ALL FROM c;
COMMIT;
SELECT name, count(*) FROM onboard_runs GROUP BY name ORDER BY name COLLATE "C";
-- Where PostgreSQL does not accept a set
SELECT CASE WHEN true THEN onboard_table('case', 'SELECT 1 WHERE false') END;
SELECT 1 WHERE (onboard_table('where', 'SELECT 1 WHERE false')).status = 'empty';

-- The export stands if the history cannot be written: a WARNING reports it

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON onboard_history FOR EACH ROW EXECUTE FUNCTION refuse();
\set SHOW_CONTEXT never
SELECT name, status FROM onboard_table('refused', 'SELECT 1 WHERE false');
INSERT INTO onboard_tables (name, query) VALUES ('one', 'SELECT 1 WHERE false') ON CONFLICT DO NOTHING;
SELECT name, status FROM onboard_all('one');
DROP TRIGGER refuse ON onboard_history;
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER leave_out BEFORE INSERT ON onboard_history FOR EACH ROW EXECUTE FUNCTION leave_out();
SELECT name, status FROM onboard_table('left out', 'SELECT 1 WHERE false');
DROP TRIGGER leave_out ON onboard_history;

-- Deferrable triggers and constraints are refused before anything is sent

CREATE CONSTRAINT TRIGGER later AFTER INSERT ON onboard_history
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT name, status FROM onboard_table('deferred', 'SELECT 1 WHERE false');
DROP TRIGGER later ON onboard_history;
\set SHOW_CONTEXT errors

-- The key of a restored row that now belongs to another role

SELECT name, status FROM onboard_table('key', 'SELECT 1 WHERE false', run_id => '00000000-0000-4000-8000-0000000000aa');
UPDATE onboard_history SET role = 'nobody_here', status = 'failed' WHERE name = 'key';
SELECT name, status FROM onboard_table('key', 'SELECT 1 WHERE false', run_id => '00000000-0000-4000-8000-0000000000aa');
SELECT role, role_id = 0 AS of_nobody, count(DISTINCT key) FROM onboard_history WHERE name = 'key' GROUP BY 1, 2 ORDER BY 1;

-- A query that changes the role

CREATE ROLE regress_onboard_other;
SELECT outcome($$SELECT onboard_table('role', 'SELECT set_config(''role'', ''regress_onboard_other'', false)')$$);
SELECT current_user = session_user AS own;
DROP ROLE regress_onboard_other;

-- Names of any length

SET client_min_messages = warning;
SELECT length(name), status FROM onboard_table(
	(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 1000) g),
	'SELECT 1 WHERE false', options => '{"key": "k"}');
SELECT length(name), status FROM onboard_runs WHERE length(name) > 1000;
RESET client_min_messages;

-- What the history says of objects: those of the roles that one is a member of

TRUNCATE onboard_history;
CREATE ROLE regress_onboard_member;
INSERT INTO onboard_history (run_id, name, role, source, status, files, rows, raw_bytes, bytes, parts, retries, started, pid, objects)
	SELECT '00000000-0000-4000-8000-0000000000bb', name, role, 'local', 'done', 1, 1, 1, 1, 1, 0, now(), 0, objects::jsonb
	FROM (VALUES ('b', 'regress_onboard_member', '[{"uri": "s3://lake/b/2", "bytes": 9000000000, "rows": 2, "etag": "x", "crc32": "AAAAAA==", "partition": "p=1"},
			{"uri": "s3://lake/b/1", "other": true}]'),
		('a', 'postgres', '[{"uri": "s3://lake/a"}]'), ('none', 'postgres', NULL), ('empty', 'postgres', '[]')) v (name, role, objects);
SELECT * FROM onboard_files('00000000-0000-4000-8000-0000000000bb');
SELECT * FROM onboard_files(NULL);
SET ROLE regress_onboard_member;
SELECT name, uri FROM onboard_files('00000000-0000-4000-8000-0000000000bb');
RESET ROLE;
TRUNCATE onboard_history;
DROP ROLE regress_onboard_member;

-- Without the table, the export fails

DROP TABLE onboard_history;
ALTER EXTENSION onboard DROP TABLE onboard_history;
ALTER EXTENSION onboard DROP VIEW onboard_runs;
ALTER EXTENSION onboard DROP FUNCTION onboard_files;
\set QUIET on
SET client_min_messages = warning;
DROP TABLE onboard_history CASCADE;
RESET client_min_messages;
SELECT onboard_table('t', 'SELECT 1 WHERE false');
\echo :LAST_ERROR_SQLSTATE
