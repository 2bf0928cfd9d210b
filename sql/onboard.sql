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

-- What was exported.  Rows are written under the owner's id and by nobody
-- else; a role sees the runs of the roles that it is a member of.

CREATE TABLE onboard_runs (
	run_id uuid NOT NULL,
	name text NOT NULL,
	role text NOT NULL,
	status text NOT NULL,
	uri text,
	files integer NOT NULL,
	rows bigint NOT NULL,
	bytes bigint NOT NULL,
	started timestamptz NOT NULL,
	ended timestamptz NOT NULL,
	error text,
	sqlstate text,
	PRIMARY KEY (run_id, name)
);

COMMENT ON TABLE onboard_runs IS 'exports that have ended';

CREATE INDEX onboard_runs_started ON onboard_runs (started);

ALTER TABLE onboard_runs ENABLE ROW LEVEL SECURITY;

CREATE POLICY onboard_runs_of_own_roles ON onboard_runs FOR SELECT
	USING (EXISTS (
		SELECT FROM pg_catalog.pg_roles r
		WHERE r.rolname = role
		AND pg_catalog.pg_has_role(r.oid, 'MEMBER')));

GRANT SELECT ON onboard_runs TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('onboard_tables', '');
SELECT pg_catalog.pg_extension_config_dump('onboard_runs', '');

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
	options jsonb DEFAULT '{}'
) RETURNS onboard_result
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_table(text, text, text, jsonb) IS
	'lands one query''s result in S3';

CREATE FUNCTION onboard_all(
	pattern text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	OUT run_id uuid,
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

COMMENT ON FUNCTION onboard_all(text, jsonb) IS
	'lands every registered table in S3';

CREATE FUNCTION onboard_load(config json) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION onboard_load(json) IS
	'registers tables from {"Tables": [{"table_name": ..., "sql_query": ...}]}';

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
