-- Privileges, which are PostgreSQL's own.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
DROP FUNCTION export;
CREATE ROLE regress_onboard_a;
CREATE ROLE regress_onboard_b;
CREATE ROLE regress_onboard_team;
GRANT regress_onboard_team TO regress_onboard_a;
CREATE TABLE open (a int);
CREATE TABLE closed (a int);
CREATE TABLE rows_of (owner text);
INSERT INTO rows_of VALUES ('regress_onboard_a');
ALTER TABLE rows_of ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON rows_of USING (owner = current_user);
GRANT SELECT ON open, rows_of TO PUBLIC;

-- Creating servers and user mappings

SET ROLE regress_onboard_a;
CREATE SERVER mine FOREIGN DATA WRAPPER onboard OPTIONS (endpoint 'http://127.0.0.1:1');
ALTER SERVER s3 OPTIONS (SET endpoint 'http://127.0.0.1:2');
CREATE USER MAPPING FOR regress_onboard_a SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');

-- USAGE on the server

SELECT onboard_table('open');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_abort_uploads();
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s3 TO regress_onboard_team;

-- A user mapping

SET ROLE regress_onboard_a;
SELECT onboard_table('open');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_abort_uploads();
CREATE USER MAPPING FOR regress_onboard_a SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SELECT status FROM onboard_table('open');
SET ROLE regress_onboard_b;
SELECT onboard_table('open');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s3 TO PUBLIC;
CREATE USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');

-- The query reads as the caller

SET ROLE regress_onboard_b;
SELECT status FROM onboard_table('open');
SELECT onboard_table('closed');
\echo :LAST_ERROR_SQLSTATE
SELECT onboard_table('x', 'SELECT * FROM closed');
SELECT status FROM onboard_table('rows_of');
SET ROLE regress_onboard_a;
\set VERBOSITY terse
SELECT status FROM onboard_table('rows_of');
\set VERBOSITY default
SET row_security = off;
SELECT onboard_table('rows_of');
RESET row_security;

-- A SECURITY DEFINER function exports as its owner, others as the caller

RESET ROLE;
CREATE FUNCTION export_closed() RETURNS text SECURITY DEFINER LANGUAGE sql
	AS $$ SELECT status FROM onboard_table('closed') $$;
CREATE FUNCTION export_closed_as_caller() RETURNS text LANGUAGE sql
	AS $$ SELECT status FROM onboard_table('closed') $$;
SET ROLE regress_onboard_b;
\set SHOW_CONTEXT never
SELECT export_closed();
SELECT export_closed_as_caller();

-- The registry belongs to its owner

SELECT * FROM onboard_tables;
INSERT INTO onboard_tables (name) VALUES ('x');
SELECT onboard_register('{"Tables": [{"table_name": "x"}]}');
SELECT onboard_all();
RESET ROLE;
SELECT onboard_register('{"Tables": [
	{"table_name": "open"}, {"table_name": "closed"},
	{"table_name": "aliased", "sql_query": "SELECT * FROM open"}]}');
SET ROLE regress_onboard_b;
-- Without SELECT on the registry, a registered query is not found
SELECT status FROM onboard_table('open');
SELECT onboard_table('aliased');
RESET ROLE;
GRANT SELECT ON onboard_tables TO regress_onboard_b;
SET ROLE regress_onboard_b;
SELECT status FROM onboard_table('aliased');
SELECT name, status, error FROM onboard_all();
SELECT onboard_register('{"Tables": [{"table_name": "x"}]}');
\set SHOW_CONTEXT errors

-- The history: no role may write it; a role sees its own and its groups' runs

INSERT INTO onboard_history (run_id, name, role) SELECT run_id, name, role FROM onboard_runs;
UPDATE onboard_history SET rows = 0;
DELETE FROM onboard_history;
TRUNCATE onboard_history;
SELECT role, name, status, count(*) FROM onboard_runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SET ROLE regress_onboard_team;
SELECT status FROM onboard_table('open');
SELECT role, name, status, count(*) FROM onboard_runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SET ROLE regress_onboard_a;
SELECT role, name, status, count(*) FROM onboard_runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
RESET ROLE;
SELECT role, name, status, count(*) FROM onboard_runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- Rows of the history are written whatever the role may do or has set

REVOKE SELECT ON onboard_history FROM PUBLIC;
SET ROLE regress_onboard_b;
SET row_security = off;
SELECT status FROM onboard_table('open');
SELECT current_user;
RESET row_security;
RESET ROLE;
GRANT SELECT ON onboard_history TO PUBLIC;

-- EXECUTE can be revoked

REVOKE EXECUTE ON FUNCTION onboard_table FROM PUBLIC;
SET ROLE regress_onboard_b;
SELECT onboard_table('open');
RESET ROLE;

-- Only superusers can read another role's secret

SET ROLE regress_onboard_a;
SELECT usename, umoptions IS NULL AS hidden FROM pg_user_mappings ORDER BY usename COLLATE "C";
SELECT umoptions FROM pg_user_mapping;
RESET ROLE;

SET client_min_messages = warning;
DROP EXTENSION onboard CASCADE;
DROP OWNED BY regress_onboard_a, regress_onboard_b, regress_onboard_team;
DROP ROLE regress_onboard_a, regress_onboard_b, regress_onboard_team;

-- Default privileges grant nothing on the extension's objects

CREATE ROLE "regress_onboard Odd";
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "regress_onboard Odd", PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO "regress_onboard Odd", PUBLIC;
CREATE EXTENSION onboard;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM "regress_onboard Odd", PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM "regress_onboard Odd", PUBLIC;
SELECT c.relname, a.grantee, string_agg(privilege_type, ' ') AS privileges
FROM pg_class c, aclexplode(relacl) a
WHERE relname ~ '^onboard' AND relkind IN ('r', 'v') AND a.grantee <> relowner
GROUP BY 1, 2 ORDER BY relname COLLATE "C";
SELECT a.grantee, a.privilege_type FROM pg_namespace, aclexplode(nspacl) a
WHERE nspname = 'onboard_internal' AND a.grantee <> nspowner;

-- No role has USAGE on the extension's internal schema

SET ROLE "regress_onboard Odd";
SELECT onboard_internal.run_pid('00000000-0000-4000-8000-000000000001');
SELECT count(*) FROM onboard_runs;
SELECT count(*) FROM onboard_progress;
SELECT onboard_cancel('00000000-0000-4000-8000-000000000001');
RESET ROLE;

-- Default privileges that grant no EXECUTE leave only what users call to be granted

DROP EXTENSION onboard;
CREATE SCHEMA exports;
GRANT USAGE ON SCHEMA exports TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
CREATE EXTENSION onboard SCHEMA exports;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
SET ROLE "regress_onboard Odd";
SELECT count(*) FROM exports.onboard_runs;
SELECT count(*) FROM exports.onboard_progress;
SELECT exports.onboard_cancel('00000000-0000-4000-8000-000000000001');
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA exports TO "regress_onboard Odd";
SET ROLE "regress_onboard Odd";
SELECT exports.onboard_cancel('00000000-0000-4000-8000-000000000001');
RESET ROLE;
DROP OWNED BY "regress_onboard Odd";
DROP ROLE "regress_onboard Odd";
