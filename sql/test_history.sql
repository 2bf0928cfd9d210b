-- The history: one row for each export that ended.

\set ECHO none
\i sql/setup.sql
\set ECHO all
\pset null null

CREATE VIEW runs AS
	SELECT name, role, status, uri, files, rows, bytes, started <= ended AS in_order, error, sqlstate
	FROM onboard_runs ORDER BY started, name;

-- An export that fails ends with its transaction

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

-- The row is the returned one's

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

-- In a block that catches the error, more than once

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

-- Without the table there is no export

DROP TABLE onboard_history;
ALTER EXTENSION onboard DROP TABLE onboard_history;
ALTER EXTENSION onboard DROP VIEW onboard_runs;
ALTER EXTENSION onboard DROP VIEW onboard_progress;
ALTER EXTENSION onboard DROP FUNCTION onboard_status(uuid);
ALTER EXTENSION onboard DROP FUNCTION onboard_still_open(uuid, text);
\set QUIET on
SET client_min_messages = warning;
DROP TABLE onboard_history CASCADE;
RESET client_min_messages;
SELECT onboard_table('t', 'SELECT 1 WHERE false');
\echo :LAST_ERROR_SQLSTATE
