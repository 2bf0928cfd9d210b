-- Settings: names, units, ranges and privileges.

LOAD 'onboard';
SELECT name, setting, unit, vartype, context, min_val, max_val
FROM pg_settings WHERE name LIKE 'onboard.%' ORDER BY name;
SELECT name, short_desc, extra_desc
FROM pg_settings WHERE name LIKE 'onboard.%' ORDER BY name;

SHOW onboard.part_size;
SHOW onboard.upload_memory;
SHOW onboard.retry_deadline;

-- The prefix is reserved, so a misspelled name is an error

SET onboard.retry_dealine = '1s';

-- Limits; PostgreSQL's messages differ between versions

\set VERBOSITY sqlstate
SET onboard.part_size = '4MB';
SET onboard.part_size = '6GB';
SET onboard.part_size = '5MB';
SET onboard.part_size = '5GB';
SET onboard.upload_memory = '1MB';
SET onboard.upload_memory = '10MB';
SET onboard.upload_memory = '1TB';
SET onboard.connections = 0;
SET onboard.connections = 65;
SET onboard.connections = 64;
SET onboard.connect_timeout = 0;
SET onboard.stall_timeout = '1ms';
SET onboard.retry_deadline = -1;
SET onboard.retry_deadline = 'soon';
\set VERBOSITY default

-- The checks use the settings

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on
RESET ALL;
SELECT export('{}');
SET onboard.server = 'nowhere';
SELECT export('{}');
SELECT export('{"server": "s3"}');
RESET onboard.server;
SET onboard.part_size = '64MB';
SELECT export('{}');
SET onboard.part_size = '65MB';
SELECT export('{}');
SELECT export('{"part_size": "64MB"}');
SET onboard.upload_memory = '130MB';
SELECT export('{}');
SET onboard.upload_memory = '10MB';
SELECT export('{"part_size": "5MB"}');
SELECT export('{"part_size": 5242881}');
