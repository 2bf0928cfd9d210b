-- onboard: lands tables and query results in S3.
-- The living install script; the build copies it to onboard--VERSION.sql.

\echo Use "CREATE EXTENSION onboard" to load this file. \quit

-- Destinations are servers of this wrapper.  USAGE on a server lets a role
-- export there; whoever may create servers may name endpoints, so USAGE on the
-- wrapper is granted to nobody.

CREATE FUNCTION onboard_fdw_validator(text[], oid) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER onboard
	NO HANDLER
	VALIDATOR @extschema@.onboard_fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER onboard IS 'S3 destinations of onboard_table()';

-- What onboard_all() exports.  Whoever may write it chooses SQL that others
-- run, so its owner grants it with care.

CREATE TABLE onboard_tables (
	name text PRIMARY KEY CHECK (name <> ''),
	query text,
	bucket text,
	options jsonb NOT NULL DEFAULT '{}'
		CHECK (pg_catalog.jsonb_typeof(options) = 'object'),
	enabled boolean NOT NULL DEFAULT true
);

COMMENT ON TABLE onboard_tables IS 'tables that onboard_all() exports';

-- What is and was exported.  Rows are written under the owner's id and by
-- nobody else; a role sees the runs of the roles that it is a member of.

CREATE TABLE onboard_history (
	run_id uuid NOT NULL,
	name text NOT NULL,
	role text NOT NULL,
	source text NOT NULL,
	query text,
	status text NOT NULL,
	uri text,
	files bigint NOT NULL,
	rows bigint NOT NULL,
	raw_bytes bigint NOT NULL,
	bytes bigint NOT NULL,
	parts bigint NOT NULL,
	retries bigint NOT NULL,
	started timestamptz NOT NULL,
	ended timestamptz,
	lsn pg_lsn,
	pid bigint NOT NULL,
	error text,
	sqlstate text,
	PRIMARY KEY (run_id, name)
);

COMMENT ON TABLE onboard_history IS 'see onboard_runs';

CREATE INDEX onboard_history_started ON onboard_history (started);

ALTER TABLE onboard_history ENABLE ROW LEVEL SECURITY;

CREATE POLICY onboard_history_of_own_roles ON onboard_history FOR SELECT
	USING (EXISTS (
		SELECT FROM pg_catalog.pg_roles r
		WHERE r.rolname = role
		AND pg_catalog.pg_has_role(r.oid, 'MEMBER')));

-- (for whom the owner grants DELETE to)
CREATE POLICY onboard_history_prune ON onboard_history FOR DELETE
	USING (EXISTS (
		SELECT FROM pg_catalog.pg_roles r
		WHERE r.rolname = role
		AND pg_catalog.pg_has_role(r.oid, 'MEMBER')));

GRANT SELECT ON onboard_history TO PUBLIC;

-- Whoever runs it holds an advisory lock with one half of the run's id by XOR
-- with the other: the lock goes when the process does, however it ends.

CREATE FUNCTION onboard_pid(run_id uuid) RETURNS integer
	LANGUAGE sql STABLE PARALLEL SAFE
	BEGIN ATOMIC
		SELECT l.pid FROM pg_catalog.pg_locks l
		WHERE l.locktype = 'advisory' AND l.granted
		AND l.objsubid = 3 AND l.mode = 'ExclusiveLock'
		AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
			WHERE d.datname = pg_catalog.current_database())
		AND l.classid::bigint::bit(32) || l.objid::bigint::bit(32)
			= ('x' || pg_catalog.left(
				pg_catalog.replace(run_id::text, '-', ''), 16))::bit(64)
			# ('x' || pg_catalog.right(
				pg_catalog.replace(run_id::text, '-', ''), 16))::bit(64);
	END;

COMMENT ON FUNCTION onboard_pid(uuid) IS
	'the process that works on that run, or null';

-- For the view: what a statement sees may have ended since, and its process be
-- gone therefore.  So this looks again, with a snapshot of its own.

CREATE FUNCTION onboard_still_open(run_id uuid, name text) RETURNS boolean
	LANGUAGE sql VOLATILE
	BEGIN ATOMIC
		SELECT EXISTS (SELECT FROM onboard_history h
			WHERE h.run_id = onboard_still_open.run_id
			AND h.name = onboard_still_open.name
			AND h.ended IS NULL);
	END;

COMMENT ON FUNCTION onboard_still_open(uuid, text) IS 'see onboard_runs';

-- (CASE keeps the order: first the process, then the row)
CREATE VIEW onboard_runs WITH (security_invoker = true) AS
	SELECT run_id, name, role, source, query,
		CASE WHEN status NOT IN ('queued', 'running') THEN status
			WHEN @extschema@.onboard_pid(run_id) IS NOT NULL THEN status
			WHEN @extschema@.onboard_still_open(run_id, name) THEN 'lost'
			ELSE status END AS status,
		uri, files, rows, raw_bytes, bytes, parts, retries, started, ended,
		lsn, pid, error, sqlstate
	FROM onboard_history;

COMMENT ON VIEW onboard_runs IS 'exports, those that run and those that ended';

GRANT SELECT ON onboard_runs TO PUBLIC;

-- With the caller's rights; rows of a run that somebody works on stay.

CREATE FUNCTION onboard_prune(older_than interval) RETURNS bigint
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pruned bigint;
BEGIN
	IF older_than IS NULL THEN
		RAISE EXCEPTION 'older_than must not be null' USING
			ERRCODE = 'null_value_not_allowed',
			HINT = 'Give the least age of rows to delete, such as ''90 days''.';
	ELSIF older_than < interval '0' THEN
		RAISE EXCEPTION 'older_than must not be negative' USING
			ERRCODE = 'invalid_parameter_value',
			HINT = 'Give the least age of rows to delete, such as ''90 days''.';
	END IF;
	DELETE FROM @extschema@.onboard_history h
	WHERE h.ended < now() - older_than
		OR h.ended IS NULL AND h.started < now() - older_than
			AND @extschema@.onboard_pid(h.run_id) IS NULL;
	GET DIAGNOSTICS pruned = ROW_COUNT;
	RETURN pruned;
END
$$;

COMMENT ON FUNCTION onboard_prune(interval) IS
	'deletes what ended long ago from the history; returns how many rows';

-- Exports under way, out of the server's shared memory.  It has room for the
-- beginning of a name; the rest is in the history, where a worker works.

CREATE FUNCTION onboard_progress_rows(
	OUT pid integer,
	OUT run_id uuid,
	OUT name text,
	OUT name_length integer,
	OUT phase text,
	OUT rows bigint,
	OUT raw_bytes bigint,
	OUT bytes bigint,
	OUT parts integer,
	OUT in_flight integer,
	OUT retries integer,
	OUT estimated_bytes bigint,
	OUT started timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION onboard_progress_rows() IS 'see onboard_progress';

CREATE VIEW onboard_progress WITH (security_invoker = true) AS
	SELECT p.pid, p.run_id,
		coalesce(
			CASE WHEN pg_catalog.octet_length(p.name) < p.name_length THEN (
				SELECT min(h.name) FROM onboard_history h
				WHERE h.run_id = p.run_id AND h.pid = p.pid
				AND h.ended IS NULL AND pg_catalog.starts_with(h.name, p.name)
				AND least(pg_catalog.octet_length(h.name), 65535)
					= p.name_length
				HAVING count(*) = 1)
			END, p.name) AS name,
		p.phase, p.rows, p.raw_bytes, p.bytes, p.parts, p.in_flight, p.retries,
		(p.raw_bytes / greatest(0.001, extract(
			epoch FROM pg_catalog.clock_timestamp() - p.started)))::bigint
			AS bytes_per_second,
		p.estimated_bytes, p.started
	FROM @extschema@.onboard_progress_rows() p;

COMMENT ON VIEW onboard_progress IS 'exports under way';

GRANT SELECT ON onboard_progress TO PUBLIC;

-- Where the increments of registered tables have ended, for each role that has
-- landed some.  Written and read like the history.

CREATE TABLE onboard_watermarks (
	name text REFERENCES onboard_tables ON UPDATE CASCADE ON DELETE CASCADE,
	role text,
	column_name text NOT NULL,
	type text NOT NULL,
	value text NOT NULL,
	uri text NOT NULL,
	run_id uuid NOT NULL,
	landed timestamptz NOT NULL,
	PRIMARY KEY (name, role)
);

COMMENT ON TABLE onboard_watermarks IS
	'where the increments of registered tables have ended';

ALTER TABLE onboard_watermarks ENABLE ROW LEVEL SECURITY;

CREATE POLICY onboard_watermarks_of_own_roles ON onboard_watermarks FOR SELECT
	USING (EXISTS (
		SELECT FROM pg_catalog.pg_roles r
		WHERE r.rolname = role
		AND pg_catalog.pg_has_role(r.oid, 'MEMBER')));

GRANT SELECT ON onboard_watermarks TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('onboard_tables', '');
SELECT pg_catalog.pg_extension_config_dump('onboard_history', '');
SELECT pg_catalog.pg_extension_config_dump('onboard_watermarks', '');

-- Exports.  SECURITY INVOKER all: the caller's privileges and row security
-- decide what is read.

CREATE TYPE onboard_result AS (
	run_id uuid,
	name text,
	status text,
	uri text,
	files integer,
	rows bigint,
	bytes bigint,
	elapsed interval
);

COMMENT ON TYPE onboard_result IS 'how an export has ended';

CREATE FUNCTION onboard_table(
	name text,
	query text DEFAULT NULL,
	bucket text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	run_id uuid DEFAULT NULL
) RETURNS onboard_result
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_table(text, text, text, jsonb, uuid) IS
	'lands one query''s result in S3';

CREATE FUNCTION onboard_all(
	pattern text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	INOUT run_id uuid DEFAULT NULL,
	OUT name text,
	OUT status text,
	OUT uri text,
	OUT files integer,
	OUT rows bigint,
	OUT bytes bigint,
	OUT elapsed interval,
	OUT error text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_all(text, jsonb, uuid) IS
	'lands every registered table in S3';

CREATE FUNCTION onboard_load(config json) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_load(json) IS
	'registers tables from {"Tables": [{"table_name": ..., "sql_query": ...}]}';

CREATE FUNCTION onboard_reset(name text) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_reset(text) IS
	'forgets where the increments of a registered table have ended';

CREATE FUNCTION onboard_abort_uploads(
	bucket text DEFAULT NULL,
	prefix text DEFAULT NULL,
	older_than interval DEFAULT '1 day',
	server text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	OUT key text,
	OUT upload_id text,
	OUT initiated timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_abort_uploads(text, text, interval, text, jsonb) IS
	'aborts multipart uploads that were never finished';

CREATE FUNCTION onboard_check(
	bucket text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	OUT item text,
	OUT ok boolean,
	OUT detail text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_check(text, jsonb) IS
	'whether an export would work: a row for each thing that it needs';

CREATE FUNCTION onboard_explain(query text, options jsonb DEFAULT '{}')
	RETURNS SETOF text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_explain(text, jsonb) IS
	'the plan that an export would run, and where its sink sits';

-- Jobs: the same work in a background worker, which outlives the session.

CREATE FUNCTION onboard_submit(
	name text,
	query text DEFAULT NULL,
	bucket text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	run_id uuid DEFAULT NULL
) RETURNS uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit(text, text, text, jsonb, uuid) IS
	'onboard_table() in the background';

CREATE FUNCTION onboard_submit_all(
	pattern text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	run_id uuid DEFAULT NULL
) RETURNS uuid
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_submit_all(text, jsonb, uuid) IS
	'onboard_all() in the background';

CREATE FUNCTION onboard_status(
	run_id uuid,
	OUT status text,
	OUT tables bigint,
	OUT done bigint,
	OUT empty bigint,
	OUT failed bigint,
	OUT rows bigint,
	OUT bytes bigint,
	OUT started timestamptz,
	OUT ended timestamptz
) RETURNS record
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT CASE
				WHEN count(*) FILTER (
						WHERE r.status IN ('queued', 'running')) > 0
					OR onboard_pid(onboard_status.run_id)
						<> pg_catalog.pg_backend_pid() THEN 'running'
				WHEN count(*) = 0 THEN NULL
				WHEN count(*) FILTER (WHERE r.status = 'lost') > 0 THEN 'lost'
				WHEN count(*) FILTER (
					WHERE r.status NOT IN ('done', 'empty')) > 0 THEN 'failed'
				ELSE 'done' END,
			-- the run's own row is not a table's
			count(*) FILTER (WHERE r.name <> ''),
			count(*) FILTER (WHERE r.name <> '' AND r.status = 'done'),
			count(*) FILTER (WHERE r.name <> '' AND r.status = 'empty'),
			count(*) FILTER (WHERE r.name <> '' AND r.status NOT IN
				('queued', 'running', 'done', 'empty')),
			coalesce(sum(r.rows), 0)::bigint,
			coalesce(sum(r.bytes), 0)::bigint,
			min(r.started),
			CASE WHEN bool_and(r.ended IS NOT NULL) THEN max(r.ended) END
		FROM onboard_runs r WHERE r.run_id = onboard_status.run_id;
	END;

COMMENT ON FUNCTION onboard_status(uuid) IS 'how far a run is';

CREATE FUNCTION onboard_await(run_id uuid, timeout interval)
	RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_await(uuid, interval) IS
	'waits until no process works on the run; see onboard_wait()';

CREATE FUNCTION onboard_wait(
	run_id uuid,
	timeout interval DEFAULT NULL,
	OUT status text,
	OUT tables bigint,
	OUT done bigint,
	OUT empty bigint,
	OUT failed bigint,
	OUT rows bigint,
	OUT bytes bigint,
	OUT started timestamptz,
	OUT ended timestamptz
) RETURNS record
	LANGUAGE plpgsql VOLATILE
	SET search_path = @extschema@, pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM onboard_await(run_id, timeout);
	-- a statement of its own, which sees what was committed meanwhile
	SELECT s.* INTO status, tables, done, empty, failed, rows, bytes, started,
		ended FROM onboard_status(run_id) s;
END
$$;

COMMENT ON FUNCTION onboard_wait(uuid, interval) IS
	'waits for a run to end, and tells how it did';

CREATE FUNCTION onboard_cancel(run_id uuid) RETURNS boolean
	LANGUAGE sql VOLATILE
	BEGIN ATOMIC
		SELECT coalesce(
			pg_catalog.pg_cancel_backend(onboard_pid(run_id)), false);
	END;

COMMENT ON FUNCTION onboard_cancel(uuid) IS
	'cancels a run; false if no process works on it';
