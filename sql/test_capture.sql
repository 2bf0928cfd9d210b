-- A role that may create objects in the extension's schema creates operators,
-- functions and casts that match better, in advance: none of them is used.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset null null
SET client_min_messages = warning;
DROP EXTENSION onboard CASCADE;
RESET client_min_messages;
CREATE SCHEMA trap;

-- An operator for each pair of types that has none, under the name of each
-- existing operator; the same for functions of one and two arguments

\set ECHO none
CREATE DOMAIN trap.d AS int;
CREATE FUNCTION trap.sprung() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'captured';
END
$$;
DO $$
DECLARE
	types regtype[] := '{text,name,uuid,bit,varbit,bigint,integer,numeric,
		float8,interval,timestamptz,oid,xid,regclass,jsonb,boolean,pg_lsn,
		text[]}';
	-- operators that return a boolean, and others
	operators text[] := '{=,<>,<,>,<=,>=,~~,@>,+,-,*,/,||,#,&}';
	functions text[] := '{coalesce,greatest,least,extract,count,min,max,sum,
		now,left,right,replace,starts_with,octet_length,clock_timestamp,
		current_database,pg_has_role,has_table_privilege,jsonb_typeof,
		gen_random_uuid,pg_backend_pid,pg_cancel_backend,pg_try_advisory_lock,
		int8,text,uuid,interval,timestamptz,quote_ident,date_part}';
	one regtype;
	two regtype;
	what text;
BEGIN
	FOREACH one IN ARRAY types LOOP
		EXECUTE format('CREATE FUNCTION trap.one(%s) RETURNS %1$s LANGUAGE sql
			AS $f$ SELECT trap.sprung(); SELECT $1 $f$', one);
		FOREACH what IN ARRAY functions LOOP
			IF what <> ALL ('{coalesce,greatest,least,extract}') THEN
				EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %2$s LANGUAGE sql
					AS $f$ SELECT trap.sprung(); SELECT $1 $f$', what, one);
			END IF;
		END LOOP;
		FOREACH two IN ARRAY types LOOP
			EXECUTE format('CREATE FUNCTION trap.two(%s, %s) RETURNS boolean
				LANGUAGE sql AS $f$ SELECT trap.sprung(); SELECT true $f$', one, two);
			EXECUTE format('CREATE FUNCTION trap.other(%s, %s) RETURNS %1$s
				LANGUAGE sql AS $f$ SELECT trap.sprung(); SELECT $1 $f$', one, two);
			FOREACH what IN ARRAY operators LOOP
				CONTINUE WHEN EXISTS (SELECT FROM pg_operator WHERE oprname = what
					AND oprleft = one AND oprright = two
					AND oprnamespace = 'pg_catalog'::regnamespace);
				EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s,
					RIGHTARG = %s, FUNCTION = trap.%s)', what, one, two,
					CASE WHEN what ~ '[=<>~]' THEN 'two' ELSE 'other' END);
			END LOOP;
		END LOOP;
	END LOOP;
END
$$;
-- Types with names of pg_catalog that the script uses
CREATE DOMAIN trap.uuid AS pg_catalog.uuid CHECK (trap.sprung() IS NULL);
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.sprung() IS NULL);
CREATE DOMAIN trap."interval" AS pg_catalog.interval CHECK (trap.sprung() IS NULL);
CREATE DOMAIN trap."oid" AS pg_catalog.oid CHECK (trap.sprung() IS NULL);
CREATE DOMAIN trap.jsonb AS pg_catalog.jsonb CHECK (trap.sprung() IS NULL);
CREATE DOMAIN trap.timestamptz AS pg_catalog.timestamptz CHECK (trap.sprung() IS NULL);
\set ECHO all
SELECT count(*) > 2000 AS many FROM pg_operator WHERE oprnamespace = 'trap'::regnamespace;
CREATE EXTENSION onboard SCHEMA trap;

-- Each view is read and each function called, schema-qualified

CREATE SERVER s3 FOREIGN DATA WRAPPER onboard OPTIONS (
	endpoint 'http://127.0.0.1:1', region 'eu-central-1', bucket 'lake');
CREATE USER MAPPING FOR CURRENT_USER SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SET search_path = pg_catalog, trap;
SET onboard.retry_deadline = '100ms';
\set VERBOSITY terse
SELECT trap.onboard_register('{"Tables": [{"table_name": "t", "sql_query": "SELECT WHERE false"}]}');
INSERT INTO trap.onboard_tables (name, options) VALUES ('', '{}');
INSERT INTO trap.onboard_tables (name, options) VALUES ('x', '[]');
SELECT name, status FROM trap.onboard_table('t', run_id => '00000000-0000-4000-8000-000000000001');
SELECT name, status FROM trap.onboard_all();
SELECT trap.onboard_submit('t', run_id => '00000000-0000-4000-8000-000000000002');
SELECT status, tables FROM trap.onboard_wait('00000000-0000-4000-8000-000000000002');
SELECT trap.onboard_submit_all(run_id => '00000000-0000-4000-8000-000000000003');
SELECT status FROM trap.onboard_wait('00000000-0000-4000-8000-000000000003', '1 minute');
SELECT status, tables FROM trap.onboard_status('00000000-0000-4000-8000-000000000003');
SELECT trap.onboard_cancel('00000000-0000-4000-8000-000000000003');
SELECT onboard_internal.run_pid('00000000-0000-4000-8000-000000000003');
SELECT trap.onboard_reset_watermark('t');
SELECT trap.onboard_explain('SELECT 1') IS NOT NULL AS explained;
SELECT count(*) FROM trap.onboard_check();
SELECT trap.onboard_abort_uploads();
-- Rows with the status "running", which is checked when they are read
INSERT INTO trap.onboard_history (run_id, name, role, source, status, files, rows, raw_bytes, bytes, parts, retries, started, pid)
	VALUES ('00000000-0000-4000-8000-000000000004', 'gone', current_user, 'local', 'running', 0, 0, 0, 0, 0, 0, now(), 0);
SELECT name, status, role = current_user AS own FROM trap.onboard_runs ORDER BY name, started;
SELECT status, tables FROM trap.onboard_status('00000000-0000-4000-8000-000000000004');
SELECT count(*) FROM trap.onboard_progress;
SELECT count(*) FROM trap.onboard_watermarks;
CREATE ROLE regress_onboard_reader;
GRANT USAGE ON SCHEMA trap TO regress_onboard_reader;
SET ROLE regress_onboard_reader;
SELECT count(*) FROM trap.onboard_runs;
SELECT count(*) FROM trap.onboard_watermarks;
RESET ROLE;
DROP OWNED BY regress_onboard_reader;
DROP ROLE regress_onboard_reader;
SELECT count(*) FROM trap.onboard_files('00000000-0000-4000-8000-000000000004');
SELECT trap.onboard_prune('0');
RESET search_path;
\set VERBOSITY default

-- Stored expressions refer only to objects of pg_catalog and of the extension.
-- Dependencies show the others, since built-in objects have none

CREATE TEMP TABLE own AS
	WITH RECURSIVE own AS (
		SELECT classid, objid FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'onboard')
		UNION
		SELECT d.classid, d.objid FROM pg_depend d
		JOIN own ON d.refclassid = own.classid AND d.refobjid = own.objid
		WHERE d.deptype IN ('a', 'i')
	)
	SELECT * FROM own;
SELECT count(*) > 40 AS many FROM own;
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS what,
	pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS refers_to
FROM pg_depend d JOIN own USING (classid, objid)
WHERE NOT EXISTS (SELECT FROM own o
	WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
AND pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) NOT IN
	('extension onboard', 'schema trap', 'language plpgsql')
ORDER BY 1, 2;

-- The operators and functions in stored expressions

CREATE TEMP TABLE stored (what text, tree text);
INSERT INTO stored
	SELECT 'rule', ev_action::text FROM pg_rewrite JOIN own ON classid = 'pg_rewrite'::regclass AND objid = oid
	UNION ALL SELECT 'body', prosqlbody::text FROM pg_proc JOIN own ON classid = 'pg_proc'::regclass AND objid = oid
	UNION ALL SELECT 'argument', proargdefaults::text FROM pg_proc JOIN own ON classid = 'pg_proc'::regclass AND objid = oid
	UNION ALL SELECT 'policy', polqual::text FROM pg_policy JOIN own ON classid = 'pg_policy'::regclass AND objid = oid
	UNION ALL SELECT 'policy', polwithcheck::text FROM pg_policy JOIN own ON classid = 'pg_policy'::regclass AND objid = oid
	UNION ALL SELECT 'constraint', conbin::text FROM pg_constraint JOIN own ON classid = 'pg_constraint'::regclass AND objid = oid
	UNION ALL SELECT 'default', adbin::text FROM pg_attrdef JOIN own ON classid = 'pg_attrdef'::regclass AND objid = oid
	UNION ALL SELECT 'index', coalesce(indexprs::text, '') || coalesce(indpred::text, '') FROM pg_index
		JOIN own ON classid = 'pg_class'::regclass AND objid = indexrelid;
SELECT what, count(tree) > 0 AS some FROM stored GROUP BY what ORDER BY what COLLATE "C";
SELECT DISTINCT what, m[2]::oid::regoperator AS operator
FROM stored, regexp_matches(tree, ':(opno|eqop) (\d+)', 'g') m
WHERE m[2] <> '0' AND (SELECT oprnamespace FROM pg_operator o WHERE o.oid = m[2]::oid) <> 'pg_catalog'::regnamespace;
SELECT DISTINCT what, m[2]::oid::regprocedure AS function
FROM stored, regexp_matches(tree, ':(funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') m
WHERE m[2] <> '0' AND (SELECT pronamespace FROM pg_proc p WHERE p.oid = m[2]::oid) <> 'pg_catalog'::regnamespace
AND NOT EXISTS (SELECT FROM own WHERE classid = 'pg_proc'::regclass AND objid = m[2]::oid);
SELECT DISTINCT what, m[2]::oid::regtype AS type
FROM stored, regexp_matches(tree, ':(vartype|consttype|resulttype|funcresulttype|opresulttype|paramtype) (\d+)', 'g') m
WHERE m[2] <> '0' AND (SELECT typnamespace FROM pg_type t WHERE t.oid = m[2]::oid) <> 'pg_catalog'::regnamespace
AND NOT EXISTS (SELECT FROM own WHERE classid = 'pg_type'::regclass AND objid = m[2]::oid);
SELECT attrelid::regclass, attname, atttypid::regtype FROM pg_attribute
JOIN own ON classid = 'pg_class'::regclass AND objid = attrelid
JOIN pg_type t ON t.oid = atttypid WHERE typnamespace <> 'pg_catalog'::regnamespace;

-- Bodies and conditions of dumps, which are stored as text and parsed later,
-- do not name the schema, which may have been renamed by then

SELECT p.oid::regprocedure, lanname, prosrc FROM pg_proc p
JOIN own ON classid = 'pg_proc'::regclass AND objid = p.oid
JOIN pg_language l ON l.oid = prolang
WHERE (lanname <> 'c' AND prosqlbody IS NULL) OR prosrc ~ 'trap' OR probin ~ 'trap';
SELECT condition FROM pg_extension, unnest(extcondition) AS condition
WHERE extname = 'onboard' AND condition <> '';
SELECT count(*) FROM pg_extension, unnest(extcondition) AS condition
WHERE extname = 'onboard' AND condition ~ 'trap';

-- Other schemas take the old names, with the same objects

ALTER SCHEMA trap RENAME TO moved;
ALTER SCHEMA onboard_internal RENAME TO moved_internal;
CREATE SCHEMA trap;
CREATE SCHEMA onboard_internal;
\set ECHO none
CREATE FUNCTION trap.sprung() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'captured';
END
$$;
DO $$
DECLARE
	what text;
	relation regclass;
BEGIN
	FOR what IN SELECT format('CREATE FUNCTION %s.%I(%s) RETURNS %s LANGUAGE plpgsql
		AS $f$ BEGIN PERFORM trap.sprung(); END $f$',
		CASE pronamespace WHEN 'moved'::regnamespace THEN 'trap' ELSE 'onboard_internal' END, proname,
		(SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(proargtypes) WITH ORDINALITY AS a (t, n)),
		format_type(prorettype, NULL))
		FROM pg_proc JOIN own ON classid = 'pg_proc'::regclass AND objid = oid
		WHERE prorettype <> 'record'::regtype AND NOT proretset
	LOOP
		EXECUTE what;
	END LOOP;
	FOR relation IN SELECT oid FROM pg_class JOIN own ON classid = 'pg_class'::regclass AND objid = oid
		WHERE relkind IN ('r', 'v')
	LOOP
		EXECUTE (SELECT format('CREATE VIEW trap.%I AS SELECT %s FROM (SELECT trap.sprung()) AS s',
			split_part(relation::text, '.', 2), string_agg(format('NULL::%s AS %I', format_type(atttypid, NULL), attname), ', '))
			FROM pg_attribute WHERE attrelid = relation AND attnum > 0);
	END LOOP;
END
$$;
\set ECHO all
SELECT count(*) > 5 AS many FROM pg_proc WHERE pronamespace = 'trap'::regnamespace;
SELECT proname FROM pg_proc WHERE pronamespace = 'onboard_internal'::regnamespace ORDER BY proname COLLATE "C";
SELECT relname FROM pg_class WHERE relnamespace = 'trap'::regnamespace ORDER BY relname COLLATE "C";
SET search_path = pg_catalog, moved;
\set VERBOSITY terse
SELECT moved.onboard_register('{"Tables": [{"table_name": "t", "sql_query": "SELECT WHERE false"}]}');
SELECT name, status FROM moved.onboard_table('t', run_id => '00000000-0000-4000-8000-000000000011');
SELECT name, status FROM moved.onboard_all();
SELECT moved.onboard_submit('t', run_id => '00000000-0000-4000-8000-000000000012');
SELECT status, tables FROM moved.onboard_wait('00000000-0000-4000-8000-000000000012');
SELECT moved.onboard_submit_all(run_id => '00000000-0000-4000-8000-000000000013');
SELECT status FROM moved.onboard_wait('00000000-0000-4000-8000-000000000013', '1 minute');
SELECT status, tables FROM moved.onboard_status('00000000-0000-4000-8000-000000000013');
SELECT moved.onboard_cancel('00000000-0000-4000-8000-000000000013');
SELECT moved.onboard_reset_watermark('t');
INSERT INTO moved.onboard_history (run_id, name, role, source, status, files, rows, raw_bytes, bytes, parts, retries, started, pid)
	VALUES ('00000000-0000-4000-8000-000000000014', 'gone', current_user, 'local', 'running', 0, 0, 0, 0, 0, 0, now(), 0);
SELECT name, status FROM moved.onboard_runs ORDER BY name, started;
SELECT count(*) FROM moved.onboard_progress;
SELECT count(*) FROM moved.onboard_watermarks;
SELECT count(*) FROM moved.onboard_files('00000000-0000-4000-8000-000000000014');
SELECT moved.onboard_prune('0');
RESET search_path;
\set VERBOSITY default
\set ECHO none
SET client_min_messages = warning;
DROP SCHEMA trap, onboard_internal CASCADE;
RESET client_min_messages;
\set ECHO all
ALTER SCHEMA moved RENAME TO trap;
ALTER SCHEMA moved_internal RENAME TO onboard_internal;

-- CREATE EXTENSION fails if a function, type or schema of the same name exists

SET client_min_messages = warning;
DROP EXTENSION onboard CASCADE;
RESET client_min_messages;
CREATE FUNCTION trap.onboard_status(text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$;
CREATE EXTENSION onboard SCHEMA trap;
DROP FUNCTION trap.onboard_status(text);
CREATE TYPE trap.onboard_result AS (a int);
CREATE EXTENSION onboard SCHEMA trap;
DROP TYPE trap.onboard_result;
CREATE SCHEMA onboard_internal;
CREATE EXTENSION onboard SCHEMA trap;
