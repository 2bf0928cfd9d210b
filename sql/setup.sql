-- Setup of the tests: a foreign server that refuses each connection at once,
-- so that only the network can fail, and functions that return how a statement
-- ended.

\ir database.sql

CREATE SERVER s3 FOREIGN DATA WRAPPER onboard OPTIONS (
	endpoint 'http://127.0.0.1:1', region 'eu-central-1', bucket 'lake');
CREATE USER MAPPING FOR CURRENT_USER SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SET onboard.retry_deadline = '100ms';

-- Export one table after another, in the order of their names.
SET onboard.parallel_tables = 0;

-- Returns the value of a SELECT, "ok" for another statement, or the SQLSTATE
-- and texts of its error.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	IF statement ~ '^SELECT' THEN
		EXECUTE statement INTO result;
	ELSE
		EXECUTE statement;
	END IF;
	RETURN coalesce(result, 'ok');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS
		state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	-- The detail has libcurl's message and the number of tries.
	IF state = '08001' THEN
		detail := NULL;
	END IF;
	RETURN concat_ws(E'\n      ', state || ' ' || message,
		'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''));
END
$$;

-- Returns the outcome of an export of no rows, which sends nothing and so
-- needs no network.
CREATE FUNCTION export(options text,
	query text DEFAULT 'SELECT 1 AS a, 2 AS b WHERE false',
	name text DEFAULT 't', bucket text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
	SELECT public.outcome(format(
		'SELECT status FROM onboard_table(%L, %L, %L, %L)',
		name, query, bucket, options))
$$;
