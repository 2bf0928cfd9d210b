-- The objects of the extension.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set database :abs_srcdir '/sql/database.sql'
\i :database
\set ECHO all

SELECT extversion, extrelocatable, extnamespace::regnamespace,
	extconfig::regclass[], extcondition
FROM pg_extension WHERE extname = 'onboard';

SELECT pg_describe_object(classid, objid, objsubid) COLLATE "C" AS member
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
AND classid <> 'pg_type'::regclass -- types of tables differ between versions
AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'onboard')
ORDER BY member;

-- Functions that users call, then internal ones

\pset format unaligned
\pset tuples_only on
SELECT format(E'%s(%s)\n    returns %s%s%s%s',
	proname, pg_get_function_arguments(oid), pg_get_function_result(oid),
	CASE provolatile WHEN 'v' THEN ', volatile' ELSE ', not volatile' END,
	CASE proparallel WHEN 'u' THEN ', parallel unsafe' ELSE ', parallel' END,
	CASE WHEN prosecdef THEN ', security definer' ELSE ', security invoker' END)
FROM pg_proc WHERE proname LIKE 'onboard%'
ORDER BY proname COLLATE "C";
SELECT format(E'%s(%s)\n    returns %s%s',
	oid::regproc, pg_get_function_arguments(oid), pg_get_function_result(oid),
	CASE WHEN prosecdef THEN ', security definer' ELSE ', security invoker' END)
FROM pg_proc WHERE pronamespace = 'onboard_internal'::regnamespace
ORDER BY proname COLLATE "C";
\pset tuples_only off
\pset format aligned

SELECT proname, proacl, obj_description(oid, 'pg_proc') AS comment
FROM pg_proc WHERE proname LIKE 'onboard%'
ORDER BY proname COLLATE "C";

SELECT nspacl, nspowner = extowner AS same_owner, obj_description(n.oid, 'pg_namespace') AS comment
FROM pg_namespace n, pg_extension WHERE nspname = 'onboard_internal' AND extname = 'onboard';

SELECT fdwhandler::regproc, fdwvalidator::regproc, fdwoptions,
	fdwacl, obj_description(oid, 'pg_foreign_data_wrapper') AS comment
FROM pg_foreign_data_wrapper WHERE fdwname = 'onboard';

-- Tables

SELECT attrelid::regclass AS of, attname, format_type(atttypid, atttypmod) AS type,
	attnotnull AS not_null,
	(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
	 WHERE adrelid = attrelid AND adnum = attnum) AS initial
FROM pg_attribute
WHERE attrelid IN ('onboard_tables'::regclass, 'onboard_history'::regclass, 'onboard_result'::regclass)
AND attnum > 0
ORDER BY attrelid::regclass::text COLLATE "C", attnum;

SELECT conrelid::regclass AS of, pg_get_constraintdef(oid) AS constraint
FROM pg_constraint
WHERE conrelid IN ('onboard_tables'::regclass, 'onboard_history'::regclass)
AND contype <> 'n'
ORDER BY conrelid::regclass::text COLLATE "C", conname COLLATE "C";

SELECT relname, relkind, relrowsecurity, relforcerowsecurity,
	regexp_replace(array_to_string(relacl, ' '), '=[a-zA-Z]+/', '=.../') AS acl,
	obj_description(oid, 'pg_class') AS comment
FROM pg_class WHERE relname ~ '^onboard' AND relkind IN ('r', 'c')
ORDER BY relname COLLATE "C";

-- Each column of tables, views and types has a comment

SELECT attrelid::regclass AS of, attname FROM pg_attribute a
JOIN pg_class c ON c.oid = attrelid
WHERE relname ~ '^onboard' AND relkind IN ('r', 'v', 'c') AND attnum > 0
AND col_description(attrelid, attnum) IS NULL;

SELECT polname, polcmd, polpermissive, polroles::text FROM pg_policy;

SELECT indexname, indexdef FROM pg_indexes WHERE tablename ~ '^onboard'
ORDER BY indexname COLLATE "C";

-- Another schema, also one whose name needs quotes; search_path has no effect

SELECT count(*) FROM onboard_all();
DROP EXTENSION onboard;
CREATE SCHEMA "My lake";
CREATE EXTENSION onboard SCHEMA "My lake";
CREATE SERVER s3 FOREIGN DATA WRAPPER onboard OPTIONS (
	endpoint 'http://127.0.0.1:1', region 'eu-central-1', bucket 'lake');
CREATE USER MAPPING FOR CURRENT_USER SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SET search_path = '';
SELECT "My lake".onboard_register(
	'{"Tables": [{"table_name": "empty", "sql_query": "SELECT WHERE false"}]}');
SELECT name, status FROM "My lake".onboard_all();
SELECT name, status, uri, files, rows, bytes FROM "My lake".onboard_table('empty');
SELECT name, status, uri, files, rows, bytes FROM "My lake".onboard_runs;
RESET search_path;
ALTER EXTENSION onboard SET SCHEMA public;

-- A server prevents DROP EXTENSION

DROP EXTENSION onboard;

-- DROP EXTENSION leaves nothing behind

DROP EXTENSION onboard CASCADE;
SELECT
	(SELECT count(*) FROM pg_class WHERE relname ~ 'onboard') AS relations,
	(SELECT count(*) FROM pg_proc WHERE proname ~ 'onboard') AS functions,
	(SELECT count(*) FROM pg_type WHERE typname ~ 'onboard') AS types,
	(SELECT count(*) FROM pg_namespace WHERE nspname ~ 'onboard') AS schemas,
	(SELECT count(*) FROM pg_foreign_data_wrapper) AS wrappers,
	(SELECT count(*) FROM pg_foreign_server) AS servers,
	(SELECT count(*) FROM pg_user_mapping) AS mappings,
	(SELECT count(*) FROM pg_policy) AS policies,
	(SELECT count(*) FROM pg_description WHERE description ~ 'S3|onboard') AS comments;

-- Only superusers may create the extension

CREATE ROLE regress_onboard_maker;
GRANT ALL ON DATABASE regression_onboard TO regress_onboard_maker;
SET ROLE regress_onboard_maker;
CREATE EXTENSION onboard SCHEMA "My lake";
RESET ROLE;
REVOKE ALL ON DATABASE regression_onboard FROM regress_onboard_maker;
DROP ROLE regress_onboard_maker;
CREATE EXTENSION onboard;
SELECT count(*) FROM onboard_tables;
