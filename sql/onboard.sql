-- onboard: exports tables and query results to S3. The current install script;
-- the build copies it to onboard--VERSION.sql.
--
-- This script runs as a superuser, and a superuser may also use the views and
-- functions that it creates, while the schema may belong to another role,
-- which may have created operators, functions and types there in advance.
-- PostgreSQL searches pg_catalog first, but prefers a function or an operator
-- of another schema if that matches the argument types better.  Therefore
-- functions and types are schema-qualified, and operators are written only as
-- OPERATOR(pg_catalog...), which rules out IN, LIKE, BETWEEN, CASE x WHEN,
-- NULLIF and IS DISTINCT FROM.  Functions that need many operators are written
-- in C.  Text that is stored and parsed later (quoted bodies, conditions of
-- dumps) must not contain @extschema@, because a schema can be renamed and its
-- name given to another one.  sql/test_capture.sql tests these rules.
--
-- The script uses neither OR REPLACE nor IF NOT EXISTS, and COMMENT names
-- functions without their arguments.  So CREATE EXTENSION fails if an object
-- of the same name, or an overloaded function, exists already.

\echo Use "CREATE EXTENSION onboard" to load this file. \quit

-- This schema holds the functions that the wrapper, tables, views and
-- functions below use, and that users do not call.  It is new, so it contains
-- no objects of other roles.  No role is granted USAGE on it: tables and views
-- refer to its functions by OID and do not need that privilege.  For the same
-- reason the schema can be renamed later.

CREATE SCHEMA onboard_internal;

COMMENT ON SCHEMA onboard_internal IS
	'internal functions of the extension onboard';

-- Destinations are servers of this wrapper.  USAGE on a server lets a role
-- export to it.  A role that may create servers chooses the endpoints that the
-- database server connects to, so USAGE on the wrapper is granted to no role.

CREATE FUNCTION onboard_internal.fdw_validator(
	pg_catalog.text[], pg_catalog.oid
) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'onboard_fdw_validator' LANGUAGE C STRICT;

COMMENT ON FUNCTION onboard_internal.fdw_validator IS
	'checks the options of servers and user mappings';

CREATE FOREIGN DATA WRAPPER onboard
	NO HANDLER
	VALIDATOR onboard_internal.fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER onboard IS 'S3 destinations of onboard_table()';

-- The rows of the tables below belong to a role by its OID.  These functions
-- look up the OID of a role and the current name of an OID.

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

-- The tables that onboard_all() exports.  A role that may write to this table
-- chooses SQL that other roles run, so its owner must grant privileges with
-- care.

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
	'random id of the row; a later row of the same name has another one';

-- The history of exports, including those in progress.  The extension writes
-- the rows as the table's owner; no other role can write them.  A role sees
-- the runs of the roles that it is a member of.
--
-- Roles are identified by their OIDs, since a name can be given to another
-- role. OIDs differ between clusters, so pg_dump dumps only the name (it omits
-- generated columns), and the OID is looked up when the row is restored; it is
-- 0 if there is no such role.  The key is a hash of role, run and name, which
-- may have any length.  It is not a generated column, so that restored rows do
-- not collide.

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
	increment boolean NOT NULL DEFAULT false,
	objects pg_catalog.jsonb
);

COMMENT ON TABLE onboard_history IS 'see onboard_runs';
COMMENT ON COLUMN onboard_history.key IS 'hash of role, run and name';
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
	'status when the row was written; onboard_runs shows the current one';
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
	'whether it was exported as an increment; see option "watermark"';
COMMENT ON COLUMN onboard_history.objects IS
	'what is known of its objects; see onboard_files()';

-- A run may have thousands of tables, and each is looked up several times; a
-- name may be too long for an index.
CREATE INDEX onboard_history_run_id ON onboard_history
	(run_id, pg_catalog.hashtext(name));
CREATE INDEX onboard_history_started ON onboard_history (started);

ALTER TABLE onboard_history ENABLE ROW LEVEL SECURITY;

CREATE POLICY onboard_history_of_own_roles ON onboard_history FOR SELECT
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

-- This policy is for roles to which the owner grants DELETE.
CREATE POLICY onboard_history_prune ON onboard_history FOR DELETE
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

-- The process that works on a run holds an advisory lock on it, which
-- PostgreSQL releases when the process ends, for whatever reason.

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

COMMENT ON VIEW onboard_runs IS 'exports, in progress and ended';
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

-- The members of the column "objects" are written by src/pg/export/objects.c.

CREATE FUNCTION onboard_files(
	run_id pg_catalog.uuid,
	OUT name pg_catalog.text,
	OUT uri pg_catalog.text,
	OUT bytes bigint,
	OUT rows bigint,
	OUT etag pg_catalog.text,
	OUT checksum pg_catalog.text,
	OUT partition pg_catalog.text
) RETURNS SETOF pg_catalog.record
	LANGUAGE sql STABLE PARALLEL SAFE
	BEGIN ATOMIC
		SELECT h.name, o.uri, o.bytes, o.rows, o.etag, o.crc32, o.partition
		FROM @extschema@.onboard_history h,
			ROWS FROM (pg_catalog.jsonb_to_recordset(h.objects) AS (
				uri pg_catalog.text,
				bytes bigint,
				rows bigint,
				etag pg_catalog.text,
				crc32 pg_catalog.text,
				partition pg_catalog.text
			)) WITH ORDINALITY AS o (
				uri, bytes, rows, etag, crc32, partition, number)
		WHERE h.run_id OPERATOR(pg_catalog.=) onboard_files.run_id
		ORDER BY h.name, h.key, o.number;
	END;

COMMENT ON FUNCTION onboard_files IS 'returns the objects of a run';

-- onboard_prune() runs with the caller's privileges.  It keeps the rows of a
-- run on which a process works.

CREATE FUNCTION onboard_prune(older_than interval) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_prune IS
	'deletes old rows from the history; returns their number';

-- Exports in progress are read from the server's shared memory.

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

COMMENT ON VIEW onboard_progress IS 'exports in progress';
COMMENT ON COLUMN onboard_progress.pid IS
	'process that exports, or the leader of its parallel workers';
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
	'raw_bytes divided by the seconds since the export began';
COMMENT ON COLUMN onboard_progress.estimated_bytes IS
	'raw_bytes as the planner estimates it';
COMMENT ON COLUMN onboard_progress.started IS 'when the export began';

-- The end of the last increment of each registered table, for each role that
-- has exported one.  Access is the same as to the history.  The columns from
-- table_id on record what the value was derived from; null matches anything.

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
COMMENT ON COLUMN onboard_watermarks.key IS 'random id of the row';
COMMENT ON COLUMN onboard_watermarks.name IS 'registered table';
COMMENT ON COLUMN onboard_watermarks.role IS
	'name of the role that exported the increments, when the row was written';
COMMENT ON COLUMN onboard_watermarks.role_id IS
	'OID of that role; 0 if there is none';
COMMENT ON COLUMN onboard_watermarks.column_name IS
	'column of option "watermark"';
COMMENT ON COLUMN onboard_watermarks.type IS 'type of that column';
COMMENT ON COLUMN onboard_watermarks.value IS
	'greatest value that was exported, as text in ISO format and UTC';
COMMENT ON COLUMN onboard_watermarks.uri IS 'object of the last increment';
COMMENT ON COLUMN onboard_watermarks.run_id IS 'run of the last increment';
COMMENT ON COLUMN onboard_watermarks.landed IS 'when the row was written';
COMMENT ON COLUMN onboard_watermarks.table_id IS
	'id of the row of onboard_tables that the watermark belongs to';
COMMENT ON COLUMN onboard_watermarks.query IS
	'registered query of the last increment';
COMMENT ON COLUMN onboard_watermarks.relations IS
	'tables and views that the query read, one on each line';
COMMENT ON COLUMN onboard_watermarks.destination IS 'store and bucket';
COMMENT ON COLUMN onboard_watermarks.row_security IS
	'policies that applied to the role, one on each line';
COMMENT ON COLUMN onboard_watermarks.ordering IS
	'how values of that column compare';
COMMENT ON COLUMN onboard_watermarks.system_identifier IS
	'cluster that assigned the transaction ids, for a column of type xid8';

-- A dump may contain rows of several roles that do not exist where it is
-- restored.  Those rows all have the OID 0 and belong to no role.
CREATE UNIQUE INDEX onboard_watermarks_of_role
	ON onboard_watermarks (name, role_id)
	WHERE role_id OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid;

ALTER TABLE onboard_watermarks ENABLE ROW LEVEL SECURITY;

-- A first increment that is in progress has no row yet that
-- onboard_reset_watermark() could delete.  Therefore the function writes a row
-- here, one for each role that has called it, and the increment compares it
-- when it ends.  The table is not dumped, since no increment is in progress
-- where the dump is restored.  It has no foreign key, which would lock the
-- registered row, because any role may call the function.

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
	'random; changes with each call';

CREATE POLICY onboard_watermarks_of_own_roles ON onboard_watermarks FOR SELECT
	USING (pg_catalog.pg_has_role(role_id, 'MEMBER'));

SELECT pg_catalog.pg_extension_config_dump('onboard_tables', '');
SELECT pg_catalog.pg_extension_config_dump('onboard_history', '');
-- The role's name must still belong to that role, since the dump contains
-- nothing else that identifies it.  Each dump parses this text, so it must not
-- call role_id(): another schema may have the name of ours by then.
SELECT pg_catalog.pg_extension_config_dump('onboard_watermarks',
	'WHERE role_id OPERATOR(pg_catalog.=) COALESCE((SELECT r.oid
		FROM pg_catalog.pg_roles r
		WHERE r.rolname OPERATOR(pg_catalog.=) role), ''0''::pg_catalog.oid)');

-- Export functions.  All are SECURITY INVOKER: the caller's privileges and row
-- security decide which rows are read.

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

COMMENT ON TYPE onboard_result IS 'result of an export';
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

COMMENT ON FUNCTION onboard_table IS 'exports the result of a query to S3';

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

COMMENT ON FUNCTION onboard_all IS 'exports all registered tables to S3';

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
	'forgets the watermarks of a registered table';

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
	'aborts unfinished multipart uploads';

CREATE FUNCTION onboard_check(
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	OUT item pg_catalog.text,
	OUT ok boolean,
	OUT detail pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_check IS
	'checks whether an export would work; returns a row for each requirement';

CREATE FUNCTION onboard_verify(
	run_id pg_catalog.uuid,
	deep boolean DEFAULT false,
	options pg_catalog.jsonb DEFAULT '{}',
	OUT name pg_catalog.text,
	OUT uri pg_catalog.text,
	OUT ok boolean,
	OUT detail pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_verify IS
	'looks at the objects of a run again; returns a row for each';

CREATE FUNCTION onboard_verify_manifest(
	manifest pg_catalog.text,
	deep boolean DEFAULT false,
	options pg_catalog.jsonb DEFAULT '{}',
	OUT name pg_catalog.text,
	OUT uri pg_catalog.text,
	OUT ok boolean,
	OUT detail pg_catalog.text
) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_verify_manifest IS
	'looks at the objects of a manifest again; returns a row for each';

CREATE FUNCTION onboard_explain(
	query pg_catalog.text,
	options pg_catalog.jsonb DEFAULT '{}'
) RETURNS SETOF pg_catalog.text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_explain IS
	'shows the plan of an export, and which processes would upload';

CREATE FUNCTION onboard_ddl(
	name pg_catalog.text,
	query pg_catalog.text DEFAULT NULL,
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	dialect pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_ddl IS
	'writes the statement by which another engine reads an export';

-- Jobs do the same work in a background worker, which outlives the session.

CREATE FUNCTION onboard_submit(
	name pg_catalog.text,
	query pg_catalog.text DEFAULT NULL,
	bucket pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	run_id pg_catalog.uuid DEFAULT NULL
) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit IS
	'runs onboard_table() in a background worker';

CREATE FUNCTION onboard_submit_all(
	pattern pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT '{}',
	run_id pg_catalog.uuid DEFAULT NULL
) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit_all IS
	'runs onboard_all() in a background worker';

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

COMMENT ON FUNCTION onboard_status IS 'returns the state of a run';

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
	'waits for a run to end, and returns its state';

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

-- Revoke the privileges on tables, views and the schema that default
-- privileges have granted.  TRIGGER on the history, for example, would allow a
-- role to act as its owner.

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
