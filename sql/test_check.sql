-- onboard_check(): results without a network, and errors.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- Remove libcurl's messages
CREATE FUNCTION checked(bucket text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s: %s', item, coalesce(ok::text, '-'),
		regexp_replace(detail, '(could not reach "[^"]*"[.]).*(Check the)', '\1 ... \2'))
	FROM onboard_check(bucket, options)
$$;

-- All items; only the network is missing

SELECT checked();
-- The same result for null as for omitted arguments
SELECT count(*) FROM checked(NULL, NULL);
SELECT checked(options => '{"key": "raw/{name}.{ext}", "format": "jsonl", "compression": "gzip"}') LIMIT 3;

-- Each item that can fail here, and the items that then cannot be checked

SELECT checked(options => '{"server": "nowhere"}');
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER other FOREIGN DATA WRAPPER other;
SELECT checked(options => '{"server": "other"}') LIMIT 2;
ALTER SERVER s3 OPTIONS (DROP bucket);
SELECT checked();
ALTER SERVER s3 OPTIONS (ADD buckets 'archive-*');
SELECT checked('lake') LIMIT 4;
SELECT checked('archive-1') LIMIT 2;
ALTER SERVER s3 OPTIONS (ADD credentials 'environment');
SELECT checked('archive-1') OFFSET 4 LIMIT 1;
ALTER SERVER s3 OPTIONS (SET credentials 'mapping');
DROP USER MAPPING FOR CURRENT_USER SERVER s3;
SELECT checked('archive-1') OFFSET 4 LIMIT 2;
ALTER SERVER s3 OPTIONS (ADD prefix 'x');
DO $$
BEGIN
	EXECUTE format('ALTER SERVER s3 OPTIONS (SET prefix %L)', repeat('p', 900));
END
$$;
SELECT checked('archive-1', jsonb_build_object('key', '{prefix}' || repeat('k', 125))) OFFSET 2 LIMIT 2;

-- Privileges

CREATE ROLE regress_onboard_checks;
SET ROLE regress_onboard_checks;
SELECT item, ok, detail FROM onboard_check('archive-1') LIMIT 2;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s3 TO regress_onboard_checks;
SET ROLE regress_onboard_checks;
SELECT item, ok, detail FROM onboard_check('archive-1') LIMIT 1;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER s3 FROM regress_onboard_checks;
DROP ROLE regress_onboard_checks;

-- Wrong arguments are errors

\set VERBOSITY default
SELECT onboard_check('No_Bucket');
SELECT onboard_check('');
SELECT onboard_check('s3://archive-1');
SELECT onboard_check('archive-1', '[]');
SELECT onboard_check('archive-1', '{"fromat": "csv"}');
SELECT onboard_check('archive-1', '{"format": "jsonl", "header": true}');
SELECT onboard_check('archive-1', '{"sse": "AES256", "kms_key_id": "k"}');

-- It leaves nothing behind

SELECT count(*) FROM onboard_runs;
BEGIN READ ONLY;
SELECT count(*) FROM onboard_check('archive-1');
COMMIT;
