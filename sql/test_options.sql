-- Options of a call: names, types, values and conflicts.

\set ECHO none
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/setup.sql'
\i :setup
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION each(VARIADIC options text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT left(o, 70) || E'\n    ' || regexp_replace(export(o), '[\x01-\x09]', '?', 'g')
	FROM unnest(options) WITH ORDINALITY AS u (o, n) ORDER BY n
$$;

-- The value of the argument "options"

SELECT each('{}', '[]', '[{"format": "csv"}]', '"csv"', 'null', '1');
SELECT export(NULL);

-- Names

SELECT each(
	'{"fromat": "csv"}',
	'{"FORMAT": "csv"}',
	'{"": 1}',
	'{"format": "csv", "region": "eu-central-1"}',
	'{"on_error": "raise"}');

-- Types; null is not a value

SELECT each('{"format": null}', '{"header": null}', '{"tags": null}');
SELECT each(
	'{"acl": 1}', '{"compression": true}', '{"compression_level": "1"}',
	'{"connections": "8"}', '{"content_type": 1}', '{"delimiter": 1}',
	'{"empty": false}', '{"encoding": 8}', '{"escape": []}',
	'{"force_quote": 1}', '{"force_quote": "a"}', '{"force_quote": false}',
	'{"force_quote": {"a": true}}', '{"format": {}}', '{"header": "yes"}',
	'{"header": 1}', '{"key": ["a"]}', '{"metadata": []}', '{"metadata": "a=b"}',
	'{"null": 0}', '{"overwrite": true}', '{"parallel": true}',
	'{"part_size": true}', '{"part_size": [1]}', '{"quote": false}',
	'{"server": 1}', '{"storage_class": {}}', '{"tags": ["a"]}');

-- COPY's options

SELECT each(
	'{"format": "csv"}', '{"format": "text"}', '{"format": "binary"}',
	'{"format": "jsonl"}', '{"format": "json"}',
	'{"format": "xml"}', '{"format": "CSV"}', '{"format": ""}',
	'{"format": "orc"}');
SELECT each(
	'{"header": true}', '{"header": false}',
	'{"format": "text", "header": true}');
SELECT each(
	'{"delimiter": ";"}', '{"delimiter": "\t"}', '{"delimiter": ""}',
	'{"delimiter": ";;"}', '{"delimiter": "€"}', '{"delimiter": "\n"}',
	'{"delimiter": "\r"}', '{"delimiter": "\""}', '{"delimiter": "a"}',
	'{"format": "text", "delimiter": "|"}',
	'{"format": "text", "delimiter": "a"}',
	'{"format": "text", "delimiter": "\\"}',
	'{"format": "text", "delimiter": "."}',
	'{"format": "text", "delimiter": "9"}',
	'{"format": "text", "delimiter": "A"}');
SELECT each(
	'{"null": ""}', '{"null": "NULL"}', '{"null": "€"}', '{"null": "a\nb"}',
	'{"null": "a,b"}', '{"null": "\"\""}',
	'{"null": "a|b", "delimiter": "|"}', '{"null": "''", "quote": "''"}',
	'{"format": "text", "null": "a;b", "delimiter": ";"}', '{"format": "text", "null": "\""}');
SELECT each(
	'{"quote": "''"}', '{"quote": ""}', '{"quote": "''''"}', '{"quote": "ä"}',
	'{"quote": ","}', '{"quote": ";", "delimiter": ";"}',
	'{"escape": "\\"}', '{"escape": ""}', '{"escape": "\\\\"}');
SELECT each(
	'{"force_quote": true}', '{"force_quote": "*"}', '{"force_quote": ["a"]}',
	'{"force_quote": ["b", "a", "a"]}', '{"force_quote": []}',
	'{"force_quote": ["a", 1]}', '{"force_quote": ["a", null]}',
	'{"force_quote": [["a"]]}', '{"force_quote": ["c"]}',
	'{"force_quote": ["a", "B"]}', '{"force_quote": [""]}');
SELECT each(
	'{"encoding": "UTF8"}', '{"encoding": "latin1"}', '{"encoding": "SJIS"}',
	'{"encoding": "SQL_ASCII"}', '{"encoding": "UTF-9"}', '{"encoding": ""}',
	'{"encoding": "MULE_INTERNAL"}',
	'{"format": "json", "encoding": "UTF8"}',
	'{"format": "json", "encoding": "LATIN1"}',
	'{"format": "jsonl", "encoding": "SJIS"}',
	'{"format": "binary", "encoding": "LATIN1"}');

-- A header line with characters that the encoding does not have

SELECT export('{"encoding": "LATIN1"}', 'SELECT 1 AS "price in €" WHERE false');
SELECT export('{"encoding": "LATIN1", "header": false}', 'SELECT 1 AS "price in €" WHERE false');

-- Options of other formats

SELECT each(
	'{"format": "text", "quote": "''"}', '{"format": "text", "escape": "''"}',
	'{"format": "text", "force_quote": true}',
	'{"format": "binary", "header": true}',
	'{"format": "binary", "header": false}',
	'{"format": "binary", "delimiter": ";"}',
	'{"format": "binary", "null": "x"}', '{"format": "binary", "quote": "''"}',
	'{"format": "jsonl", "header": true}', '{"format": "jsonl", "null": "x"}',
	'{"format": "json", "delimiter": ";"}', '{"format": "json", "escape": "x"}',
	'{"format": "json", "force_quote": ["a"]}');

-- Compression

SELECT each(
	'{"compression": "none"}', '{"compression": "gzip"}',
	'{"compression": "zstd"}', '{"compression": "lz4"}',
	'{"compression": "gz"}', '{"compression": "ZSTD"}', '{"compression": ""}',
	'{"compression_level": 1}', '{"compression": "none", "compression_level": 1}',
	'{"compression": "gzip", "compression_level": 1}',
	'{"compression": "gzip", "compression_level": 9}',
	'{"compression": "gzip", "compression_level": 0}',
	'{"compression": "gzip", "compression_level": 10}',
	'{"compression": "gzip", "compression_level": 1.5}',
	'{"compression": "gzip", "compression_level": 1e10}',
	'{"compression": "zstd", "compression_level": 19}',
	'{"compression": "zstd", "compression_level": 23}',
	'{"compression": "zstd", "compression_level": -100}',
	'{"compression": "lz4", "compression_level": 11}',
	'{"compression": "lz4", "compression_level": 13}');

-- Options of the upload

SELECT each(
	'{"part_size": "16MB"}', '{"part_size": 5242880}', '{"part_size": "5 MB"}',
	'{"part_size": 5242879}', '{"part_size": "4MB"}', '{"part_size": "6GB"}',
	'{"part_size": "5 m"}', '{"part_size": "big"}', '{"part_size": ""}',
	'{"part_size": -1}', '{"part_size": 1e30}', '{"part_size": "NaN"}',
	'{"part_size": 8388608.5}', '{"part_size": "5GB"}');
SELECT each(
	'{"connections": 1}', '{"connections": 64}', '{"connections": 0}',
	'{"connections": 65}', '{"connections": 2.5}', '{"connections": -1}');
SELECT each(
	'{"parallel": "off"}', '{"parallel": "auto"}', '{"parallel": "on"}',
	'{"empty": "skip"}', '{"empty": "maybe"}', '{"empty": ""}',
	'{"overwrite": "replace"}', '{"overwrite": "error"}',
	'{"overwrite": "append"}', '{"server": ""}');

-- Options of the object

SELECT each(
	'{"content_type": "text/csv; charset=utf-8"}', '{"content_type": ""}',
	'{"content_type": "text/csv\nX-Evil: 1"}', '{"content_type": "täxt"}',
	'{"storage_class": "GLACIER_IR"}', '{"storage_class": ""}',
	'{"storage_class": "A\nB"}',
	'{"acl": "bucket-owner-full-control"}', '{"acl": ""}', '{"acl": "a\u0001"}');
SELECT each(
	'{"tags": {}}', '{"tags": {"team": "sales", "größe": "100 €", "x": ""}}',
	'{"tags": {"": "x"}}', '{"tags": {"a": 1}}', '{"tags": {"a": {"b": "c"}}}',
	'{"tags": {"a": null}}', '{"tags": {"a": "b\nc"}}', '{"tags": {"a\u0001": "b"}}',
	'{"tags": {"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":"","10":""}}',
	'{"tags": {"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":"","10":"","11":""}}');
SELECT each(
	format('{"tags": {"%s": "x"}}', repeat('ä', 128)),
	format('{"tags": {"%s": "x"}}', repeat('ä', 129)),
	format('{"tags": {"x": "%s"}}', repeat('ä', 256)),
	format('{"tags": {"x": "%s"}}', repeat('ä', 257)));
SELECT each(
	'{"metadata": {}}', '{"metadata": {"source": "erp", "x-y_z.1": ""}}',
	'{"metadata": {"": "x"}}', '{"metadata": {"a b": "x"}}',
	'{"metadata": {"a:b": "x"}}', '{"metadata": {"ä": "x"}}',
	'{"metadata": {"a": "ä"}}', '{"metadata": {"a": "x\ny"}}',
	'{"metadata": {"a": 1}}', '{"metadata": {"a": ["x"]}}',
	'{"metadata": {"Source": "a", "source": "b"}}',
	'{"metadata": {"onboard-upload": "x"}}',
	'{"metadata": {"ONBOARD-Upload": "x"}}');
SELECT each(
	format('{"metadata": {"a": "%s"}}', repeat('x', 1967)),
	format('{"metadata": {"a": "%s"}}', repeat('x', 1968)),
	(SELECT jsonb_build_object('metadata', jsonb_object_agg(n, '')) FROM generate_series(1, 50) n)::text,
	(SELECT jsonb_build_object('metadata', jsonb_object_agg(n, '')) FROM generate_series(1, 51) n)::text);

-- Encryption, bucket options and checksums

SELECT each(
	'{"sse": "AES256"}', '{"sse": "aws:kms"}', '{"sse": "aws:kms:dsse"}',
	'{"sse": "aes256"}', '{"sse": ""}', '{"sse": true}',
	'{"sse": "aws:kms", "kms_key_id": "arn:aws:kms:eu-central-1:111122223333:key/1"}',
	'{"sse": "aws:kms:dsse", "kms_key_id": "alias/lake"}',
	'{"kms_key_id": "k"}', '{"sse": "AES256", "kms_key_id": "k"}',
	'{"sse": "aws:kms", "kms_key_id": ""}', '{"sse": "aws:kms", "kms_key_id": "a b"}',
	'{"sse": "aws:kms", "kms_key_id": "a\nX-Evil: 1"}',
	'{"sse": "aws:kms", "kms_key_id": 1}',
	'{"sse": "aws:kms", "bucket_key": true}', '{"sse": "aws:kms", "bucket_key": false}',
	'{"sse": "aws:kms", "bucket_key": "true"}', '{"bucket_key": false}',
	'{"sse": "AES256", "bucket_key": true}', '{"sse": "aws:kms:dsse", "bucket_key": true}');
SELECT left(export(format('{"sse": "aws:kms", "kms_key_id": "%s"}', repeat('k', n))), 60)
FROM generate_series(2048, 2049) n;
SELECT each(
	'{"expected_bucket_owner": "011122223333"}', '{"expected_bucket_owner": 111122223333}',
	'{"expected_bucket_owner": "11112222333"}', '{"expected_bucket_owner": "1111222233334"}',
	'{"expected_bucket_owner": "11112222333a"}', '{"expected_bucket_owner": ""}',
	'{"requester_pays": true}', '{"requester_pays": false}', '{"requester_pays": "requester"}');
SELECT each(
	'{"checksum": "auto"}', '{"checksum": "sha256"}', '{"checksum": "crc32"}',
	'{"checksum": "none"}', '{"checksum": "crc32c"}', '{"checksum": ""}', '{"checksum": false}');

-- The date and time in keys

SELECT each(
	'{"timezone": "UTC"}', '{"timezone": "Europe/Berlin"}',
	'{"timezone": "europe/berlin"}', '{"timezone": "Asia/Tokyo"}',
	'{"timezone": "Etc/GMT-1"}', '{"timezone": "etc/gmt-14"}',
	'{"timezone": "Etc/GMT+12"}', '{"timezone": "Etc/GMT0"}',
	'{"timezone": 1}', '{"timezone": null}', '{"timezone": ""}',
	'{"timezone": "Europe/Berln"}', '{"timezone": "CEST"}',
	'{"timezone": "UTC+2"}', '{"timezone": "+02:00"}', '{"timezone": "2"}',
	'{"timezone": "EST5EDT"}', '{"timezone": "default"}',
	'{"timezone": "Etc/UTC+2"}', '{"timezone": "Etc/Berlin5"}',
	'{"timezone": "Etc/GMT+13"}', '{"timezone": "Etc/GMT-05"}',
	'{"timezone": "Etc/GMT5EDT"}', '{"timezone": "Etc/GMT-"}',
	'{"timezone": "../UTC"}', '{"timezone": "Etc/GMT-1 "}');
SELECT each(
	'{"as_of": "2026-01-31"}', '{"as_of": "2024-02-29"}',
	'{"as_of": "2026-01-31 02:03"}', '{"as_of": "2026-01-31T02:03:04.5678-0930"}',
	'{"as_of": 20260131}', '{"as_of": null}', '{"as_of": ""}',
	'{"as_of": "today"}', '{"as_of": "infinity"}', '{"as_of": "2026-1-5"}',
	'{"as_of": "20260131"}', '{"as_of": "31.01.2026"}', '{"as_of": "2026-02-29"}',
	'{"as_of": "2026-13-01"}', '{"as_of": "2026-00-01"}', '{"as_of": "0000-01-01"}',
	'{"as_of": "12026-01-01"}', '{"as_of": " 2026-01-31"}', '{"as_of": "2026-01-31 "}',
	'{"as_of": "2026-01-31T"}', '{"as_of": "2026-01-31T02"}',
	'{"as_of": "2026-01-31T24:00"}', '{"as_of": "2026-01-31T02:60"}',
	'{"as_of": "2026-01-31T02:00:60"}', '{"as_of": "2026-01-31T02:00:00."}',
	'{"as_of": "2026-01-31T02:00+16"}', '{"as_of": "2026-01-31T02:00+1"}',
	'{"as_of": "2026-01-31T02:00+01:"}', '{"as_of": "2026-01-31T02:00z"}',
	'{"as_of": "2026-01-31 02:00 Europe/Berlin"}', '{"as_of": "2026-01-31Z"}');

-- Conflicts between registered options and those of the call

INSERT INTO onboard_tables VALUES ('kms', 'SELECT 1 AS a WHERE false', NULL,
	'{"sse": "aws:kms", "kms_key_id": "k"}');
SELECT export('{}', NULL, 'kms');
SELECT export('{"sse": "aws:kms:dsse"}', NULL, 'kms');
SELECT export('{"sse": "AES256"}', NULL, 'kms');
DELETE FROM onboard_tables;

-- onboard_abort_uploads() accepts only some of them

SELECT outcome(format($$SELECT count(*) FROM onboard_abort_uploads(options => %L)$$, o))
FROM unnest(ARRAY['[]', '{"sse": "AES256"}', '{"server": "s3"}', '{"fromat": "csv"}',
	'{"requester_pays": 1}', '{"on_error": "raise"}',
	'{"requester_pays": true, "expected_bucket_owner": "111122223333"}']) AS o;

-- All options together

SELECT export('{"acl": "private", "as_of": "2026-01-31", "bucket_key": true, "checksum": "sha256", "compression": "zstd", "compression_level": 3,
	"connections": 4, "content_type": "text/csv", "delimiter": ";",
	"empty": "skip", "encoding": "UTF8", "escape": "\\",
	"expected_bucket_owner": "111122223333", "force_quote": ["a"],
	"format": "csv", "header": false, "key": "{name}.{ext}", "kms_key_id": "k",
	"metadata": {"a": "b"}, "null": "NULL", "overwrite": "error",
	"parallel": "off", "part_size": "16MB", "quote": "''",
	"requester_pays": true, "server": "s3", "sse": "aws:kms",
	"storage_class": "STANDARD", "tags": {"a": "b"}, "timezone": "Europe/Berlin"}');

-- The error names the place of the option

SELECT onboard_table('t', 'SELECT 1', 'lake', '{"header": "yes"}');
SELECT onboard_all(options => '{"on_error": "stop"}');
SELECT onboard_all(options => '{"fromat": "csv"}');
SELECT onboard_all(options => '[]');
SELECT count(*) FROM onboard_all(options => '{"on_error": "continue"}');
SELECT count(*) FROM onboard_all(options => '{"on_error": "raise"}');

-- Options of runs and of increments, and the calls that accept them
SELECT each(
	'{"manifest": 1}',
	'{"manifest": null}',
	'{"publish": "together"}',
	'{"watermark": {"column": "a"}}');
SELECT onboard_all(options => '{"publish": true}');
SELECT onboard_all(options => '{"publish": "all"}');
SELECT onboard_all(options => '{"publish": "together", "manifest": false}');
SELECT onboard_all(options => '{"publish": "each", "manifest": false}');
SELECT onboard_all(options => '{"watermark": {"column": "a"}}');
CREATE FUNCTION registered(VARIADIC options text[]) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT o || E'\n    ' || outcome(format(
		'SELECT onboard_register(%L)', json_build_object('Tables', json_build_array(
			json_build_object('table_name', 't', 'options', o::json)))))
	FROM unnest(options) WITH ORDINALITY AS u (o, n) ORDER BY n
$$;
SELECT registered(
	'{"as_of": "2026-01-31"}',
	'{"timezone": "Mars/Phobos"}',
	'{"manifest": true}',
	'{"publish": "together"}',
	'{"watermark": "a"}',
	'{"watermark": []}',
	'{"watermark": {}}',
	'{"watermark": {"overlap": "1 day"}}',
	'{"watermark": {"column": ""}}',
	'{"watermark": {"column": null}}',
	'{"watermark": {"column": ["a"]}}',
	'{"watermark": {"column": "a", "overlap": ""}}',
	'{"watermark": {"column": "a", "overlap": true}}',
	'{"watermark": {"column": "a", "overlap": {"days": 1}}}',
	'{"watermark": {"column": "a", "from": 1}}',
	'{"watermark": {"column": "a", "overlap": "soon"}}',
	'{"watermark": {"column": "a", "overlap": 1.5}}',
	'{"watermark": {"column": "a"}}');
SELECT export('{}', NULL);
SELECT export('{"key": "{name}"}', NULL);
SELECT onboard_reset_watermark(NULL);
SELECT onboard_reset_watermark('t');

-- Lengths of texts, checked before anything is sent

DELETE FROM onboard_tables;
CREATE FUNCTION short(said text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(said, '(.)\1{20,}', '\1..\1', 'g')
$$;
SELECT format('%s, %s bytes: ', option, len) ||
	short(export(format('{"%s": "%s"}', option, repeat('x', len))))
FROM (VALUES
	('content_type', 1024), ('content_type', 1025), ('content_type', 70000),
	('storage_class', 128), ('storage_class', 129),
	('acl', 128), ('acl', 129),
	('server', 63), ('server', 64), ('server', 70000),
	('key', 2049), ('key', 70000),
	('format', 70000), ('null', 8193), ('encoding', 70000),
	('expected_bucket_owner', 70000), ('checksum', 8192)) AS v (option, len);
SELECT export(format('{"sse": "aws:kms", "kms_key_id": "%s"}', repeat('k', 2049)));
SELECT left(short(export(format('{"%s": 1}', repeat('n', 70000)))), 100);
SELECT export(format('{"force_quote": ["%s"]}', repeat('n', 64)));
SELECT short(export(format('{"metadata": {"%s ": "x"}}', repeat('n', 70000))));
SELECT short(export(format('{"connections": 1%s}', repeat('0', 70000))));
SELECT short(export('{}', bucket => repeat('b', 70000)));
SELECT short(registered(format('{"watermark": {"column": "%s"}}', repeat('c', 64))));
SELECT short(registered(format('{"watermark": {"column": "a", "overlap": "%s"}}', repeat('9', 256))));
