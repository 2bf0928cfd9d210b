-- onboard_prune(): the rows that it deletes, and the privileges that it needs.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset null null

CREATE FUNCTION remember(name text, role text, status text, age interval, run_id uuid DEFAULT gen_random_uuid())
RETURNS void LANGUAGE sql AS $$
	INSERT INTO onboard_history (run_id, name, role, source, status, files, rows, raw_bytes, bytes, parts, retries, started, ended, pid)
	VALUES (run_id, name, role, 'local', status, 0, 0, 0, 0, 0, 0, now() - age - interval '1 hour',
		CASE WHEN status IN ('queued', 'running') THEN NULL ELSE now() - age END, 0)
$$;
CREATE VIEW left_over AS
	SELECT name, status FROM onboard_runs ORDER BY name COLLATE "C";

-- Rows that ended before, and lost ones, but not those of a run in progress

SELECT remember('done', 'x', 'done', '3 days'), remember('empty', 'x', 'empty', '3 days'),
	remember('failed', 'x', 'failed', '3 days'), remember('new', 'x', 'done', '1 day'),
	remember('lost', 'x', 'running', '3 days'), remember('lost, new', 'x', 'queued', '1 day');
BEGIN;
SELECT count(*) FROM onboard_all('nothing', run_id => '00000000-0000-4000-8000-000000000001');
SELECT remember('runs', 'postgres', 'running', '3 days', '00000000-0000-4000-8000-000000000001'),
	remember('waits', 'postgres', 'queued', '3 days', '00000000-0000-4000-8000-000000000001'),
	-- the run of another role with the same id, on which no process works
	remember('not that run', 'x', 'running', '3 days', '00000000-0000-4000-8000-000000000001');
TABLE left_over;
SELECT onboard_prune('30 days');
SELECT onboard_prune('2 days');
TABLE left_over;
COMMIT;
-- No process works on that run any more
SELECT onboard_prune('2 days');
TABLE left_over;
SELECT onboard_prune('0');
TABLE left_over;

-- Arguments

SELECT outcome('SELECT onboard_prune(NULL)');
SELECT outcome($$SELECT onboard_prune('-1 day')$$);

-- A role with DELETE deletes the rows that it sees

CREATE ROLE prune_other;
CREATE ROLE prune_exporter;
CREATE ROLE prune_deleter IN ROLE prune_exporter;
GRANT DELETE ON onboard_history TO prune_deleter;
SELECT remember('a', 'prune_exporter', 'done', '3 days'), remember('b', 'prune_deleter', 'done', '3 days'),
	remember('c', 'prune_other', 'done', '3 days');
SET ROLE prune_exporter;
SELECT outcome($$SELECT onboard_prune('1 day')$$);
SET ROLE prune_deleter;
SELECT outcome($$SELECT onboard_prune('1 day')$$);
RESET ROLE;
TABLE left_over;
-- The same for a DELETE without a condition
SELECT remember('d', 'prune_deleter', 'done', '3 days');
SET ROLE prune_deleter;
DELETE FROM onboard_history;
RESET ROLE;
TABLE left_over;
REVOKE DELETE ON onboard_history FROM prune_deleter;
DROP ROLE prune_deleter, prune_exporter, prune_other;
