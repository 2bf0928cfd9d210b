-- onboard: lands tables and query results in S3.
-- The living install script; the build copies it to onboard--VERSION.sql.
--
-- It runs as a superuser, and so may each view and function that it makes,
-- while somebody else may own the schema and have made operators, functions
-- and types there before.  PostgreSQL looks into pg_catalog first, but takes a
-- function or an operator from elsewhere if that fits the arguments better.
-- Therefore functions and types are named with their schema, nothing here uses
-- an operator (nor IN, LIKE, BETWEEN, CASE x WHEN, NULLIF, IS DISTINCT FROM,
-- which are operators) but by OPERATOR(pg_catalog...), and what needs many is
-- in C.  What is kept as text and read later (bodies in quotes, conditions of
-- dumps) must not say @extschema@: schemas can be renamed, and another one
-- given the name.  sql/test_capture.sql tests it.
--
-- Nothing says OR REPLACE or IF NOT EXISTS, and COMMENT names functions without
-- their arguments: so CREATE EXTENSION fails where an object of such a name,
-- or another function of it, is there already.

\echo Use "CREATE EXTENSION onboard" to load this file. \quit

-- Functions that the wrapper, tables, views and functions below are made of,
-- and that users do not call.  The schema is new, so it holds no other
-- role's objects.  No role is granted USAGE on it: tables and views refer to
-- its functions by OID, and need no such right.  For the same reason the schema
-- can be renamed later.

CREATE SCHEMA onboard_internal;

COMMENT ON SCHEMA onboard_internal IS
	'functions that the extension onboard is made of, not to be called';

-- Destinations are servers of this wrapper.  USAGE on a server lets a role
-- export there; whoever may create servers may name endpoints, so USAGE on the
-- wrapper is granted to nobody.

CREATE FUNCTION onboard_internal.fdw_validator(
	pg_catalog.text[], pg_catalog.oid
) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'onboard_fdw_validator' LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER onboard
	NO HANDLER
	VALIDATOR onboard_internal.fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER onboard IS 'S3 destinations of onboard_table()';

-- What rows of the tables below belong by, and its name today.

CREATE FUNCTION onboard_internal.role_id(role pg_catalog.text)
	RETURNS pg_catalog.oid
	AS 'MODULE_PATHNAME', 'onboard_role_id'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION onboard_internal.role_id IS 'see onboard_history';

CREATE FUNCTION onboard_internal.role_name(
	role_id pg_catalog.oid, role pg_catalog.text
) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'onboard_role_name'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION onboard_internal.role_name IS 'see onboard_runs';

-- What onboard_all() exports.  Whoever may write it chooses SQL that others
-- run, so its owner grants it with care.

CREATE TABLE onboard_tables (
	name pg_catalog.text PRIMARY KEY CHECK (name OPERATOR(pg_catalog.<>) ''),
	query pg_catalog.text,
	bucket pg_catalog.text,
	options pg_catalog.jsonb NOT NULL DEFAULT '{}'
		CHECK (pg_catalog.jsonb_typeof(options)
			OPERATOR(pg_catalog.=) 'object'),
	enabled boolean NOT NULL DEFAULT true,
	id pg_catalog.uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid()
);

COMMENT ON TABLE onboard_tables IS 'tables that onboard_all() exports';
COMMENT ON COLUMN onboard_tables.name IS
	'name of the export; without a query, the table that it exports';
COMMENT ON COLUMN onboard_tables.query IS 'query to export; null: TABLE name';
COMMENT ON COLUMN onboard_tables.bucket IS 'bucket; null: the server''s own';
COMMENT ON COLUMN onboard_tables.options IS
	'options of the export, as in the argument "options" of onboard_table()';
COMMENT ON COLUMN onboard_tables.enabled IS 'whether onboard_all() exports it';
COMMENT ON COLUMN onboard_tables.id IS
	'identifies the row: one of the same name that is made later has another id';

-- What is and was exported.  Rows are written under the owner's id and by
-- nobody else; a role sees the runs of the roles that it is a member of.
--
-- Roles are told by their OIDs, since names change hands.  Another cluster has
-- other OIDs, so pg_dump writes the name alone (it leaves generated columns
-- out), and who that is is looked up when the row is restored; 0 is nobody.
-- The key stands for role, run and name of any length; it is not made of
-- columns, so that what is restored does not collide.

CREATE TABLE onboard_history (
	key pg_catalog.uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
	run_id pg_catalog.uuid NOT NULL,
	name pg_catalog.text NOT NULL,
	role pg_catalog.text NOT NULL,
	role_id pg_catalog.oid NOT NULL
		GENERATED ALWAYS AS (onboard_internal.role_id(role)) STORED,
	source pg_catalog.text NOT NULL,
	query pg_catalog.text,
	status pg_catalog.text NOT NULL,
	uri pg_catalog.text,
	files bigint NOT NULL,
	rows bigint NOT NULL,
	raw_bytes bigint NOT NULL,
	bytes bigint NOT NULL,
	parts bigint NOT NULL,
	retries bigint NOT NULL,
	started pg_catalog.timestamptz NOT NULL,
	ended pg_catalog.timestamptz,
	lsn pg_catalog.pg_lsn,
	pid bigint NOT NULL,
	error pg_catalog.text,
	detail pg_catalog.text,
	sqlstate pg_catalog.text,
	increment boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE onboard_history IS 'see onboard_runs';
COMMENT ON COLUMN onboard_history.key IS 'made of role, run and name';
COMMENT ON COLUMN onboard_history.run_id IS 'run that the export belongs to';
COMMENT ON COLUMN onboard_history.name IS
	'name of the export; empty: the run itself';
COMMENT ON COLUMN onboard_history.role IS
	'name of the role that exported, when the row was written';
COMMENT ON COLUMN onboard_history.role_id IS
	'OID of that role; 0 if there is none';
COMMENT ON COLUMN onboard_history.source IS
	'address of the client, or "local", and its application_name';
COMMENT ON COLUMN onboard_history.query IS 'query that was exported';
COMMENT ON COLUMN onboard_history.status IS
	'as it was written; onboard_runs says whether it still holds';
COMMENT ON COLUMN onboard_history.uri IS 's3://bucket/key of the object';
COMMENT ON COLUMN onboard_history.files IS 'number of objects: 1 or 0';
COMMENT ON COLUMN onboard_history.rows IS 'number of rows';
COMMENT ON COLUMN onboard_history.raw_bytes IS 'size before compression';
COMMENT ON COLUMN onboard_history.bytes IS 'size of the object';
COMMENT ON COLUMN onboard_history.parts IS 'number of parts of the upload';
COMMENT ON COLUMN onboard_history.retries IS
	'number of requests that were sent again';
COMMENT ON COLUMN onboard_history.started IS 'when the export began';
COMMENT ON COLUMN onboard_history.ended IS
	'when the export ended; null while it runs';
COMMENT ON COLUMN onboard_history.lsn IS
	'end of the write-ahead log when the run began: later writes are not in the object';
COMMENT ON COLUMN onboard_history.pid IS 'process that has written the row';
COMMENT ON COLUMN onboard_history.error IS
	'message of the error, if it failed';
COMMENT ON COLUMN onboard_history.detail IS
	'DETAIL of the error, if it has one';
COMMENT ON COLUMN onboard_history.sqlstate IS
	'SQLSTATE of the error, if it failed';
COMMENT ON COLUMN onboard_history.increment IS
	'whether an increment has landed; see option "watermark"';

-- A run may have thousands of tables, and each is looked up several times; a
-- name may be too long for an index.
CREATE INDEX onboard_history_run_id ON onboard_history
	(run_id, pg_catalog.hashtext(name));
CREATE INDEX onboard_history_started ON onboard_history (started);

ALTER TABLE onboard_history ENABLE ROW LEVEL SECURITY;

CREATE POLICY onboard_history_of_own_roles ON onboard_history FOR SELECT
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

-- for roles that the owner grants DELETE to
CREATE POLICY onboard_history_prune ON onboard_history FOR DELETE
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

-- Which process works on a run: it holds an advisory lock, which goes when the
-- process does, however it ends.

CREATE FUNCTION onboard_internal.run_pid(run_id pg_catalog.uuid)
	RETURNS integer
	AS 'MODULE_PATHNAME', 'onboard_run_pid'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_internal.run_pid IS
	'the process that works on that run, or null; see onboard_cancel()';

CREATE FUNCTION onboard_internal.run_status(
	run_id pg_catalog.uuid,
	role_id pg_catalog.oid,
	name pg_catalog.text,
	status pg_catalog.text
) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'onboard_run_status'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_internal.run_status IS 'see onboard_runs';

CREATE VIEW onboard_runs WITH (security_invoker = true) AS
	SELECT h.run_id, h.name,
		onboard_internal.role_name(h.role_id, h.role) AS role,
		h.source, h.query,
		onboard_internal.run_status(h.run_id, h.role_id, h.name, h.status)
			AS status,
		h.uri, h.files, h.rows, h.raw_bytes, h.bytes, h.parts, h.retries,
		h.started, h.ended, h.lsn, h.pid, h.error,
		h.detail, h.sqlstate
	FROM @extschema@.onboard_history h;

COMMENT ON VIEW onboard_runs IS 'exports, those that run and those that ended';
COMMENT ON COLUMN onboard_runs.run_id IS 'run that the export belongs to';
COMMENT ON COLUMN onboard_runs.name IS
	'name of the export; empty: the run itself';
COMMENT ON COLUMN onboard_runs.role IS
	'role that exported, by the name that it has now';
COMMENT ON COLUMN onboard_runs.source IS
	'address of the client, or "local", and its application_name';
COMMENT ON COLUMN onboard_runs.query IS 'query that was exported';
COMMENT ON COLUMN onboard_runs.status IS
	'queued, running, lost, done, empty, failed or withheld';
COMMENT ON COLUMN onboard_runs.uri IS 's3://bucket/key of the object';
COMMENT ON COLUMN onboard_runs.files IS 'number of objects: 1 or 0';
COMMENT ON COLUMN onboard_runs.rows IS 'number of rows';
COMMENT ON COLUMN onboard_runs.raw_bytes IS 'size before compression';
COMMENT ON COLUMN onboard_runs.bytes IS 'size of the object';
COMMENT ON COLUMN onboard_runs.parts IS 'number of parts of the upload';
COMMENT ON COLUMN onboard_runs.retries IS
	'number of requests that were sent again';
COMMENT ON COLUMN onboard_runs.started IS 'when the export began';
COMMENT ON COLUMN onboard_runs.ended IS
	'when the export ended; null while it runs';
COMMENT ON COLUMN onboard_runs.lsn IS
	'end of the write-ahead log when the run began: later writes are not in the object';
COMMENT ON COLUMN onboard_runs.pid IS 'process that has written the row';
COMMENT ON COLUMN onboard_runs.error IS 'message of the error, if it failed';
COMMENT ON COLUMN onboard_runs.detail IS 'DETAIL of the error, if it has one';
COMMENT ON COLUMN onboard_runs.sqlstate IS
	'SQLSTATE of the error, if it failed';

-- With the caller's rights; rows of a run that somebody works on stay.

CREATE FUNCTION onboard_prune(older_than interval) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_prune IS
	'deletes what ended long ago from the history; returns how many rows';

-- Exports under way, out of the server's shared memory.

CREATE FUNCTION onboard_internal.progress(
	OUT pid integer,
	OUT run_id pg_catalog.uuid,
	OUT name pg_catalog.text,
	OUT phase pg_catalog.text,
	OUT rows bigint,
	OUT raw_bytes bigint,
	OUT bytes bigint,
	OUT parts integer,
	OUT in_flight integer,
	OUT retries integer,
	OUT bytes_per_second bigint,
	OUT estimated_bytes bigint,
	OUT started pg_catalog.timestamptz
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'onboard_progress_rows'
	LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION onboard_internal.progress IS 'see onboard_progress';

CREATE VIEW onboard_progress WITH (security_invoker = true) AS
	SELECT p.pid, p.run_id, p.name, p.phase, p.rows, p.raw_bytes, p.bytes,
		p.parts, p.in_flight, p.retries, p.bytes_per_second,
		p.estimated_bytes, p.started
	FROM onboard_internal.progress() p;

COMMENT ON VIEW onboard_progress IS 'exports under way';
COMMENT ON COLUMN onboard_progress.pid IS
	'process that exports, or that leads those that do';
COMMENT ON COLUMN onboard_progress.run_id IS 'run that the export belongs to';
COMMENT ON COLUMN onboard_progress.name IS 'name of the export';
COMMENT ON COLUMN onboard_progress.phase IS 'query, upload or complete';
COMMENT ON COLUMN onboard_progress.rows IS 'rows so far';
COMMENT ON COLUMN onboard_progress.raw_bytes IS
	'bytes so far, before compression';
COMMENT ON COLUMN onboard_progress.bytes IS
	'bytes of the object that S3 has acknowledged';
COMMENT ON COLUMN onboard_progress.parts IS 'parts that S3 has acknowledged';
COMMENT ON COLUMN onboard_progress.in_flight IS 'parts that are being sent';
COMMENT ON COLUMN onboard_progress.retries IS 'requests that were sent again';
COMMENT ON COLUMN onboard_progress.bytes_per_second IS
	'raw_bytes by the time since the export began';
COMMENT ON COLUMN onboard_progress.estimated_bytes IS
	'what the planner expects of raw_bytes';
COMMENT ON COLUMN onboard_progress.started IS 'when the export began';

-- Where the increments of registered tables have ended, for each role that has
-- landed some.  Written and read like the history.  From table_id on, each
-- column says what the value was made from; null: whatever it is now.

CREATE TABLE onboard_watermarks (
	key pg_catalog.uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
	name pg_catalog.text NOT NULL REFERENCES @extschema@.onboard_tables
		ON UPDATE CASCADE ON DELETE CASCADE,
	role pg_catalog.text NOT NULL,
	role_id pg_catalog.oid NOT NULL
		GENERATED ALWAYS AS (onboard_internal.role_id(role)) STORED,
	column_name pg_catalog.text NOT NULL,
	type pg_catalog.text NOT NULL,
	value pg_catalog.text NOT NULL,
	uri pg_catalog.text NOT NULL,
	run_id pg_catalog.uuid NOT NULL,
	landed pg_catalog.timestamptz NOT NULL,
	table_id pg_catalog.uuid,
	query pg_catalog.text,
	relations pg_catalog.text,
	destination pg_catalog.text,
	row_security pg_catalog.text,
	system_identifier pg_catalog.text,
	ordering pg_catalog.text
);

COMMENT ON TABLE onboard_watermarks IS
	'where the increments of registered tables have ended';
COMMENT ON COLUMN onboard_watermarks.key IS 'random';
COMMENT ON COLUMN onboard_watermarks.name IS 'registered table';
COMMENT ON COLUMN onboard_watermarks.role IS
	'name of the role that has landed the increments, when the row was written';
COMMENT ON COLUMN onboard_watermarks.role_id IS
	'OID of that role; 0 if there is none';
COMMENT ON COLUMN onboard_watermarks.column_name IS
	'column of option "watermark"';
COMMENT ON COLUMN onboard_watermarks.type IS 'type of that column';
COMMENT ON COLUMN onboard_watermarks.value IS
	'greatest value that has landed, as text in ISO format and UTC';
COMMENT ON COLUMN onboard_watermarks.uri IS 'object of the last increment';
COMMENT ON COLUMN onboard_watermarks.run_id IS 'run of the last increment';
COMMENT ON COLUMN onboard_watermarks.landed IS 'when the row was written';
COMMENT ON COLUMN onboard_watermarks.table_id IS
	'id of the row of onboard_tables that the watermark was made from';
COMMENT ON COLUMN onboard_watermarks.query IS
	'registered query that it was made from';
COMMENT ON COLUMN onboard_watermarks.relations IS
	'tables and views that the query read, a line each';
COMMENT ON COLUMN onboard_watermarks.destination IS 'store and bucket';
COMMENT ON COLUMN onboard_watermarks.row_security IS
	'policies that applied to the role, a line each';
COMMENT ON COLUMN onboard_watermarks.ordering IS
	'how values of that column compare';
COMMENT ON COLUMN onboard_watermarks.system_identifier IS
	'cluster that has given the transaction ids, for a column of type xid8';

-- A dump may have the rows of several roles that are missing where it is
-- restored; nobody has them then.
CREATE UNIQUE INDEX onboard_watermarks_of_role
	ON onboard_watermarks (name, role_id)
	WHERE role_id OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid;

ALTER TABLE onboard_watermarks ENABLE ROW LEVEL SECURITY;

-- A first increment that is under way has no row yet that onboard_reset_watermark() could
-- delete.  What it leaves here instead, for each role that has called it, is
-- compared when that increment ends.  No dump needs it: nothing is under way
-- where it is restored.  It refers to nothing, since a foreign key would lock
-- the registered row, and anybody may call the function.

CREATE TABLE onboard_resets (
	name pg_catalog.text NOT NULL,
	role_id pg_catalog.oid NOT NULL,
	reset_id pg_catalog.uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	PRIMARY KEY (name, role_id)
);

COMMENT ON TABLE onboard_resets IS 'see onboard_reset_watermark()';
COMMENT ON COLUMN onboard_resets.name IS 'registered table';
COMMENT ON COLUMN onboard_resets.role_id IS
	'OID of the role that has called onboard_reset_watermark()';
COMMENT ON COLUMN onboard_resets.reset_id IS
	'random: another one for each call';

CREATE POLICY onboard_watermarks_of_own_roles ON onboard_watermarks FOR SELECT
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

SELECT pg_catalog.pg_extension_config_dump('onboard_tables', '');
SELECT pg_catalog.pg_extension_config_dump('onboard_history', '');
-- The name must still mean the role: it is all that a dump tells of it.  This
-- text is read by each dump, so it must not call role_id(): by then, another
-- schema may have the name of ours.
SELECT pg_catalog.pg_extension_config_dump('onboard_watermarks',
	'WHERE role_id OPERATOR(pg_catalog.=) COALESCE((SELECT r.oid
		FROM pg_catalog.pg_roles r
		WHERE r.rolname OPERATOR(pg_catalog.=) role), ''0''::pg_catalog.oid)');

-- Exports.  SECURITY INVOKER all: the caller's privileges and row security
-- decide what is read.

CREATE TYPE onboard_result AS (
	run_id pg_catalog.uuid,
	name pg_catalog.text,
	status pg_catalog.text,
	uri pg_catalog.text,
	files integer,
	rows bigint,
	bytes bigint,
	elapsed interval,
	increment boolean
);

COMMENT ON TYPE onboard_result IS 'how an export has ended';
COMMENT ON COLUMN onboard_result.run_id IS 'run that the export belongs to';
COMMENT ON COLUMN onboard_result.name IS 'name of the export';
COMMENT ON COLUMN onboard_result.status IS 'done or empty';
COMMENT ON COLUMN onboard_result.uri IS
	's3://bucket/key of the object; null if it is empty';
COMMENT ON COLUMN onboard_result.files IS 'number of objects: 1 or 0';
COMMENT ON COLUMN onboard_result.rows IS 'number of rows';
COMMENT ON COLUMN onboard_result.bytes IS 'size of the object';
COMMENT ON COLUMN onboard_result.elapsed IS 'how long the export took';
COMMENT ON COLUMN onboard_result.increment IS
	'whether it has only the rows above a watermark';

CREATE FUNCTION onboard_table(
	name pg_catalog.text,
	query pg_catalog.text DEFAULT NULL,
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	run_id pg_catalog.uuid DEFAULT NULL
) RETURNS SETOF @extschema@.onboard_result
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION onboard_table IS 'lands one query''s result in S3';

CREATE FUNCTION onboard_all(
	pattern pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	INOUT run_id pg_catalog.uuid DEFAULT NULL,
	OUT name pg_catalog.text,
	OUT status pg_catalog.text,
	OUT uri pg_catalog.text,
	OUT files integer,
	OUT rows bigint,
	OUT bytes bigint,
	OUT elapsed interval,
	OUT increment boolean,
	OUT error pg_catalog.text,
	OUT detail pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_all IS 'lands every registered table in S3';

CREATE FUNCTION onboard_register(config pg_catalog.json) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_register IS
	'registers tables from {"Tables": [{"table_name": ..., "sql_query": ...}]}';

CREATE FUNCTION onboard_reset_watermark(
	name pg_catalog.text,
	keep boolean DEFAULT false
) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_reset_watermark IS
	'forgets where the increments of a registered table have ended';

CREATE FUNCTION onboard_abort_uploads(
	bucket pg_catalog.text DEFAULT NULL,
	prefix pg_catalog.text DEFAULT NULL,
	older_than interval DEFAULT '1 day',
	server pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	OUT key pg_catalog.text,
	OUT upload_id pg_catalog.text,
	OUT initiated pg_catalog.timestamptz
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_abort_uploads IS
	'aborts multipart uploads that were never finished';

CREATE FUNCTION onboard_check(
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	OUT item pg_catalog.text,
	OUT ok boolean,
	OUT detail pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_check IS
	'whether an export would work: a row for each thing that it needs';

CREATE FUNCTION onboard_explain(
	query pg_catalog.text,
	options pg_catalog.jsonb DEFAULT '{}'
) RETURNS SETOF pg_catalog.text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_explain IS
	'the plan that an export would run, and where its sink sits';

-- Jobs: the same work in a background worker, which outlives the session.

CREATE FUNCTION onboard_submit(
	name pg_catalog.text,
	query pg_catalog.text DEFAULT NULL,
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	run_id pg_catalog.uuid DEFAULT NULL
) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit IS 'onboard_table() in the background';

CREATE FUNCTION onboard_submit_all(
	pattern pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	run_id pg_catalog.uuid DEFAULT NULL
) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit_all IS 'onboard_all() in the background';

CREATE FUNCTION onboard_status(
	run_id pg_catalog.uuid,
	OUT status pg_catalog.text,
	OUT tables bigint,
	OUT done bigint,
	OUT empty bigint,
	OUT failed bigint,
	OUT rows bigint,
	OUT bytes bigint,
	OUT started pg_catalog.timestamptz,
	OUT ended pg_catalog.timestamptz
) RETURNS pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_status IS 'how far a run is';

CREATE FUNCTION onboard_wait(
	run_id pg_catalog.uuid,
	timeout interval DEFAULT NULL,
	OUT status pg_catalog.text,
	OUT tables bigint,
	OUT done bigint,
	OUT empty bigint,
	OUT failed bigint,
	OUT rows bigint,
	OUT bytes bigint,
	OUT started pg_catalog.timestamptz,
	OUT ended pg_catalog.timestamptz
) RETURNS pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_wait IS
	'waits for a run to end, and tells how it did';

CREATE FUNCTION onboard_cancel(run_id pg_catalog.uuid) RETURNS boolean
	LANGUAGE sql VOLATILE
	BEGIN ATOMIC
		SELECT COALESCE(
			pg_catalog.pg_cancel_backend(
				onboard_internal.run_pid(run_id)),
			false);
	END;

COMMENT ON FUNCTION onboard_cancel IS
	'cancels a run; false if no process works on it';

-- What default privileges have granted on tables, views and the schema is taken
-- back: TRIGGER on the history, say, is the right to act as its owner.

SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

DO $$
DECLARE
	one record;
BEGIN
	FOR one IN
		SELECT DISTINCT c.oid::regclass AS name,
			CASE a.grantee WHEN 0 THEN 'PUBLIC'
				ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
		FROM pg_extension e
		JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = e.oid AND d.deptype = 'e'
			AND d.classid = 'pg_class'::regclass
		JOIN pg_class c ON c.oid = d.objid, aclexplode(c.relacl) a
		WHERE e.extname = 'onboard' AND a.grantee <> c.relowner
	LOOP
		EXECUTE format('REVOKE ALL ON %s FROM %s', one.name, one.grantee);
	END LOOP;
	FOR one IN
		SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
			ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
		FROM pg_namespace n, aclexplode(n.nspacl) a
		WHERE n.nspname = 'onboard_internal' AND a.grantee <> n.nspowner
	LOOP
		EXECUTE format('REVOKE ALL ON SCHEMA onboard_internal FROM %s',
			one.grantee);
	END LOOP;
END
$$;

-- And what they have not granted is.  GRANT ... ON ALL FUNCTIONS IN SCHEMA, for
-- the schema that users know, does not reach what its views call.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA onboard_internal TO PUBLIC;

GRANT SELECT ON @extschema@.onboard_history TO PUBLIC;
GRANT SELECT ON @extschema@.onboard_runs TO PUBLIC;
GRANT SELECT ON @extschema@.onboard_progress TO PUBLIC;
GRANT SELECT ON @extschema@.onboard_watermarks TO PUBLIC;
