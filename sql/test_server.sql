-- The validator: the options of servers and user mappings.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION server(options text) RETURNS text LANGUAGE sql AS $$
	SELECT left(options, 70) || E'\n    ' || outcome(format(
		$s$DO %L$s$, format(
		'BEGIN CREATE SERVER x FOREIGN DATA WRAPPER onboard OPTIONS (%s); '
		'DROP SERVER x; END', options)))
$$;

-- Names

SELECT server($$regoin 'eu-central-1'$$);
SELECT server($$"REGION" 'eu-central-1'$$);
SELECT server($$access_key_id 'NOT-A-KEY'$$);
SELECT server($$secret_access_key 'not-a-secret'$$);

-- endpoint

SELECT server(format('endpoint %L', endpoint)) FROM (VALUES
	('https://s3.example.com'),
	('http://localhost:9000'),
	('http://[::1]:9000'),
	('HTTPS://gateway.example.com:8443/s3/'),
	('s3.example.com'),
	('localhost:9000'),
	('ftp://s3.example.com'),
	('://s3.example.com'),
	(''),
	('https://'),
	('https:///path'),
	('https://user:not-a-password@s3.example.com'),
	('https://user@s3.example.com'),
	('https://user:not/a?password@s3.example.com'),
	('https://s3.example.com/?region=x'),
	('https://s3.example.com#x'),
	('https://s3.example.com:0'),
	('https://s3.example.com:65536'),
	('https://s3.example.com:http'),
	('https://s3.example.com:'),
	('https://s3 example.com'),
	(' https://s3.example.com'),
	(E'https://s3.example.com\nX-Evil: 1'),
	('https://s3_example.com'),
	('https://s3,example.com'),
	('https://[::1'),
	('https://[::g]'),
	('https://s3.example.com/a b'),
	('https://s3.example.com/ä')) AS v (endpoint);
SELECT server(format('endpoint %L', 'https://' || repeat('a', 256)));
SELECT server(format('endpoint %L', 'https://s3.example.com/' || repeat('a', 256)));

-- region

SELECT server(options) FROM (VALUES
	($$region 'eu-central-1'$$),
	($$region ''$$),
	($$region 'eu central'$$),
	($$region 'eu-central-1/evil.example.com'$$),
	($$region 'EU-Central-1'$$),
	($$region 'EU-Central-1', endpoint 'http://localhost'$$),
	($$region 'eu.evil'$$)) AS v (options);
SELECT server(format('region %L', repeat('a', 63)));
SELECT server(format('region %L', repeat('a', 64)));

-- addressing, credentials, max_parts, ca_file, prefix

SELECT server(options) FROM (VALUES
	($$addressing 'auto'$$),
	($$addressing 'path'$$),
	($$addressing 'virtual'$$),
	($$addressing 'Virtual'$$),
	($$addressing ''$$),
	($$credentials 'mapping'$$),
	($$credentials 'environment'$$),
	($$credentials 'profile'$$),
	($$credentials 'web_identity'$$),
	($$credentials 'container'$$),
	($$credentials 'instance'$$),
	($$credentials 'chain'$$),
	($$credentials 'env'$$),
	($$credentials ''$$),
	($$max_parts '1'$$),
	($$max_parts '10000'$$),
	($$max_parts '0'$$),
	($$max_parts '10001'$$),
	($$max_parts '-1'$$),
	($$max_parts '1e3'$$),
	($$max_parts ''$$),
	($$ca_file '/etc/ssl/lake.pem'$$),
	($$ca_file 'lake.pem'$$),
	($$ca_file ''$$),
	($$prefix ''$$),
	($$prefix 'raw/'$$),
	($$prefix 'ünicode/'$$),
	($$prefix E'raw\n'$$)) AS v (options);
SELECT server(format('prefix %L', repeat('p', 900)));
SELECT outcome(format('CREATE SERVER x FOREIGN DATA WRAPPER onboard OPTIONS (prefix %L)', repeat('p', 901)));

-- parts, fips, dualstack

SELECT server(options) FROM (VALUES
	($$parts 'any'$$),
	($$parts 'equal'$$),
	($$parts 'Equal'$$),
	($$parts ''$$),
	($$region 'us-east-1', fips 'on'$$),
	($$region 'us-east-1', fips 'true', dualstack 'yes'$$),
	($$region 'us-east-1', dualstack 'off'$$),
	($$region 'us-east-1', fips 'sometimes'$$),
	($$region 'us-east-1', dualstack ''$$),
	($$endpoint 'https://s3.example.com', fips 'on'$$),
	($$endpoint 'https://s3.example.com', dualstack 'on'$$),
	($$endpoint 'https://s3.example.com', fips 'off'$$),
	($$region 'cn-north-1', fips 'on'$$),
	($$region 'cn-north-1', dualstack 'on'$$)) AS v (options);

-- Lengths of texts

CREATE FUNCTION sized(object text, option text, len int) RETURNS text
LANGUAGE sql AS $$
	SELECT option || ': ' || regexp_replace(outcome(format(
		CASE object WHEN 'server' THEN
			'CREATE SERVER x FOREIGN DATA WRAPPER onboard OPTIONS (%s %L)'
		ELSE
			'CREATE USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (%s %L)'
		END, option, repeat('x', len))), 'x{9,}', 'x..x')
$$;
SELECT sized('server', option, 70000) FROM unnest(string_to_array(
	'addressing bucket buckets ca_file credentials endpoint external_id '
	'max_parts prefix profile proxy region role_arn sts_endpoint', ' '))
	AS option;
SELECT sized('server', option, len) FROM (VALUES
	('buckets', 8193), ('ca_file', 1024), ('region', 400)) AS v (option, len);
SELECT sized('mapping', option, len) FROM (VALUES
	('access_key_id', 129), ('secret_access_key', 1025),
	('session_token', 16385), ('access_key_id', 128)) AS v (option, len);

-- A role to assume, and a profile

SELECT server(options) FROM (VALUES
	($$role_arn 'arn:aws:iam::111122223333:role/lake'$$),
	($$role_arn 'arn:aws:iam:::role/of/ceph'$$),
	($$role_arn 'lake'$$),
	($$role_arn ''$$),
	($$role_arn 'arn:aws:iam::111122223333:role/a b'$$),
	($$role_arn E'arn:aws:iam::111122223333:role/a\nb'$$),
	($$role_arn 'arn:aws:iam::111122223333:role/lake', external_id 'a-1=b'$$),
	($$role_arn 'arn:aws:iam::111122223333:role/lake', external_id 'x'$$),
	($$role_arn 'arn:aws:iam::111122223333:role/lake', external_id 'a b'$$),
	($$role_arn 'arn:aws:iam::111122223333:role/lake', external_id ''$$),
	($$external_id 'a-1=b'$$),
	($$credentials 'instance', role_arn 'arn:aws:iam::111122223333:role/lake'$$),
	($$credentials 'profile', profile 'lake'$$),
	($$credentials 'chain', profile 'the lake'$$),
	($$credentials 'profile', profile ''$$),
	($$credentials 'profile', profile 'a]'$$),
	($$credentials 'profile', profile E'a\nb'$$),
	($$credentials 'environment', profile 'lake'$$),
	($$profile 'lake'$$),
	($$sts_endpoint 'https://sts.example.com/x'$$),
	($$sts_endpoint 'sts.example.com'$$),
	($$sts_endpoint 'https://me:not-a-password@sts.example.com'$$)) AS v (options);
SELECT server(format('role_arn %L', 'arn:' || repeat('a', 2044)));
SELECT left(server(format('role_arn %L', 'arn:' || repeat('a', 2045))), 160);

-- proxy

SELECT server(format('proxy %L', proxy)) FROM (VALUES
	('http://proxy:3128'),
	('https://[::1]'),
	('http://proxy:3128/'),
	('http://proxy:3128/path'),
	('proxy:3128'),
	('socks5://proxy:1080'),
	(''),
	('http://me:not-a-password@proxy:3128'),
	('http://proxy:3128?x')) AS v (proxy);

-- bucket and buckets

SELECT server(options) FROM (VALUES
	($$bucket 'lake-raw'$$),
	($$bucket 'A_b'$$),
	($$bucket ''$$),
	($$bucket 's3://lake'$$),
	($$buckets 'lake'$$),
	($$buckets 'lake-*, archive, log[0-9]?'$$),
	($$buckets ''$$),
	($$buckets ' , '$$),
	($$buckets 'Lake-*'$$),
	($$buckets 's3://lake-*'$$),
	($$buckets 'lake-*;archive'$$)) AS v (options);
-- A default bucket that is not in the list
SELECT server($$bucket 'mine', buckets 'lake-*'$$);
SELECT server($$bucket 'lake-raw', buckets 'lake-*'$$);

-- ALTER checks all options together

\pset tuples_only off
\set VERBOSITY default
ALTER SERVER s3 OPTIONS (ADD sse 'aws:kms');
ALTER SERVER s3 OPTIONS (SET region 'EU');
ALTER SERVER s3 OPTIONS (DROP endpoint);
\echo :LAST_ERROR_SQLSTATE
ALTER SERVER s3 OPTIONS (ADD buckets 'archive-*');
ALTER SERVER s3 OPTIONS (SET bucket 'archive-1', ADD buckets 'archive-*');
ALTER SERVER s3 OPTIONS (SET bucket 'lake');
ALTER SERVER s3 OPTIONS (SET region 'eu-central-1', SET bucket 'lake', DROP buckets);

-- Only superusers may use the machine's credentials and files

CREATE ROLE regress_onboard_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER onboard TO regress_onboard_owner;
CREATE SERVER owned FOREIGN DATA WRAPPER onboard OPTIONS (region 'eu-central-1');
ALTER SERVER owned OWNER TO regress_onboard_owner;
SET ROLE regress_onboard_owner;
ALTER SERVER owned OPTIONS (ADD endpoint 'http://127.0.0.1:1', ADD credentials 'mapping',
	ADD role_arn 'arn:aws:iam::111122223333:role/lake', ADD proxy 'http://127.0.0.1:1');
ALTER SERVER owned OPTIONS (SET credentials 'instance');
\echo :LAST_ERROR_SQLSTATE
ALTER SERVER owned OPTIONS (SET credentials 'environment');
CREATE SERVER x FOREIGN DATA WRAPPER onboard OPTIONS (region 'eu', credentials 'chain');
ALTER SERVER owned OPTIONS (ADD ca_file '/etc/ssl/cert.pem');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT pg_read_server_files TO regress_onboard_owner;
SET ROLE regress_onboard_owner;
ALTER SERVER owned OPTIONS (ADD ca_file '/etc/ssl/cert.pem');
RESET ROLE;
ALTER SERVER owned OPTIONS (SET credentials 'instance');
SET ROLE regress_onboard_owner;
-- The owner of such a server may not change its other options
ALTER SERVER owned OPTIONS (SET endpoint 'http://127.0.0.1:2');
ALTER SERVER owned OPTIONS (SET endpoint 'http://127.0.0.1:2', DROP credentials);
RESET ROLE;
DROP SERVER owned;
REVOKE USAGE ON FOREIGN DATA WRAPPER onboard FROM regress_onboard_owner;
DROP ROLE regress_onboard_owner;

-- User mappings

CREATE ROLE regress_onboard_mapped;
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3;
\echo :LAST_ERROR_SQLSTATE
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (secret_access_key 'not-a-secret');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_access_key '');
\echo :LAST_ERROR_SQLSTATE
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT A KEY', secret_access_key 'not-a-secret');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_access_key E'not-a-secret\n');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret', session_token 'nö-token');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_acess_key 'not-a-secret');
\echo :LAST_ERROR_SQLSTATE
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret', region 'eu');
CREATE USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret', session_token 'not-a-token');
ALTER USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (DROP session_token);
ALTER USER MAPPING FOR regress_onboard_mapped SERVER s3 OPTIONS (DROP secret_access_key);
DROP USER MAPPING FOR regress_onboard_mapped SERVER s3;
DROP ROLE regress_onboard_mapped;

-- Foreign tables and options of the wrapper are refused

ALTER FOREIGN DATA WRAPPER onboard OPTIONS (ADD region 'eu-central-1');
\echo :LAST_ERROR_SQLSTATE
CREATE FOREIGN TABLE t (a int) SERVER s3;
\echo :LAST_ERROR_SQLSTATE
IMPORT FOREIGN SCHEMA public FROM SERVER s3 INTO public;

-- Errors when the server is used

\pset tuples_only on
ALTER SERVER s3 OPTIONS (DROP region);
SELECT export('{}');
ALTER SERVER s3 OPTIONS (ADD region 'eu-central-1');
SELECT export('{"server": "s4"}');
SELECT export('{"server": "My Lake"}');
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER other FOREIGN DATA WRAPPER other;
SELECT export('{"server": "other"}');
ALTER SERVER s3 OPTIONS (ADD credentials 'environment');
SELECT export('{}');
ALTER SERVER s3 OPTIONS (SET credentials 'mapping');
DROP USER MAPPING FOR CURRENT_USER SERVER s3;
SELECT export('{}');
CREATE USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (
	access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
SELECT export('{}');

-- Options that were stored without the validator are refused on use

ALTER FOREIGN DATA WRAPPER onboard NO VALIDATOR;
CREATE FUNCTION altered(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('CREATE SERVER x FOREIGN DATA WRAPPER onboard OPTIONS (%s)', options);
	CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (
		access_key_id 'NOT-A-KEY', secret_access_key 'not-a-secret');
	result := options || E'\n    ' || export('{"server": "x"}', bucket => 'lake');
	DROP SERVER x CASCADE;
	RETURN result;
END
$$;
SET client_min_messages = warning;
SELECT altered(options) FROM (VALUES
	($$region 'eu', endpoint 'evil'$$),
	($$region 'e u', endpoint 'http://127.0.0.1:1'$$),
	($$region 'EU'$$),
	($$region 'eu', addressing 'x'$$),
	($$region 'eu', parts 'x'$$),
	($$region 'eu', fips 'x'$$),
	($$region 'eu', dualstack 'x'$$),
	($$region 'cn-north-1', fips 'on'$$),
	($$region 'eu', max_parts 'x'$$),
	($$region 'eu', credentials 'env'$$),
	($$region 'eu', credentials 'profile', profile 'a]'$$),
	($$region 'eu', proxy 'proxy'$$),
	($$region 'eu', proxy 'http://proxy/path'$$),
	($$region 'eu', sts_endpoint 'sts'$$),
	($$region 'eu', role_arn 'arn:x', external_id 'x'$$),
	($$region 'eu', ca_file 'x'$$),
	($$region 'eu', role_arn 'x'$$),
	($$region 'eu', buckets ''$$),
	($$region 'eu', bucket 'A_b'$$),
	($$region 'eu', prefix E'a\nb'$$)) AS v (options);
ALTER USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (SET secret_access_key E'not-a-secret\n');
SELECT export('{}');
ALTER USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (DROP secret_access_key);
SELECT export('{}');
ALTER USER MAPPING FOR PUBLIC SERVER s3 OPTIONS (DROP access_key_id);
SELECT export('{}');
