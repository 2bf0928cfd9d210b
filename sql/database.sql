-- A database of its own for each test, whatever the templates of the server have
-- or the test before has left, with PostgreSQL's defaults, not pg_regress's.

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
-- What pg_regress has set comes from the environment, and with the connection.
\setenv PGTZ
\setenv PGDATESTYLE
\setenv PGOPTIONS
\connect -reuse-previous=off regression_onboard
CREATE EXTENSION onboard;
