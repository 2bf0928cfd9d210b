-- Each test gets a new database from template0, with PostgreSQL's defaults
-- instead of pg_regress's, so that it depends neither on the server's
-- template1 nor on earlier tests.

SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_onboard WITH (FORCE);
CREATE DATABASE regression_onboard
	TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_onboard SET timezone = 'UTC';
ALTER DATABASE regression_onboard SET timezone_abbreviations = 'Default';
ALTER DATABASE regression_onboard SET datestyle = 'ISO, MDY';
ALTER DATABASE regression_onboard SET intervalstyle = 'postgres';
ALTER DATABASE regression_onboard SET bytea_output = 'hex';
ALTER DATABASE regression_onboard SET lc_messages = 'C';
ALTER DATABASE regression_onboard SET lc_monetary = 'C';
ALTER DATABASE regression_onboard SET lc_numeric = 'C';
ALTER DATABASE regression_onboard SET lc_time = 'C';
-- pg_regress passes its settings in the environment, for new connections.
\setenv PGTZ
\setenv PGDATESTYLE
\setenv PGOPTIONS
\connect -reuse-previous=off regression_onboard
CREATE EXTENSION onboard;
