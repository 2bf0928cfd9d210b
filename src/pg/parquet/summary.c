/*
 * summary.c
 *		The summary of a Parquet file in the manifest.
 *
 * src/pg/parquet/summary.c
 *
 * The statistics of all row groups are merged into one of the file, so that
 * their size does not depend on the number of row groups.  Bounds are strings,
 * in the form in which the JSON formats write values: many readers would round
 * a JSON number, and miss rows because of a rounded bound.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/base/json_writer.h"
#include "pg/parquet/summary.h"

/* The least size of a leaf's statistics. */
#define LEAF_MIN 64
/* Room for the brackets at the end. */
#define END_SIZE 64
#define INT128_DIGITS 40

/* ---- row groups ---- */

static const char *const lists[] = {"offsets", "bytes", "rows"};

static void
put_groups(StringInfo json, const ObParquetGroup *groups, int n, Size max)
{
	int begin = json->len;

	ob_json_open(json, "row_groups", '{');
	for (int list = 0; list < lengthof(lists); list++)
	{
		ob_json_open(json, lists[list], '[');
		for (int i = 0; i < n && json->len <= max; i++)
		{
			ObPqGroupStats stats;
			int64 numbers[lengthof(lists)];

			if (!ob_pq_record_group(groups[i].record, groups[i].len, &stats))
				elog(ERROR, "invalid record of a row group");
			numbers[0] = groups[i].offset;
			numbers[1] = stats.bytes;
			numbers[2] = stats.rows;
			ob_json_put_number(json, NULL, numbers[list]);
		}
		ob_json_close(json, ']');
	}
	ob_json_close(json, '}');
	if (json->len <= max)
		return;
	json->len = begin;
	ob_json_put_text(json, "row_groups", NULL);
}

/* ---- bounds as texts ---- */

/* Converts a bound from UTF-8 into the database's encoding.  Returns NULL if
 * the encoding lacks a character, as is possible for a maximum whose last
 * character was incremented. */
static char *
text_of_utf8(const ObPqBound *bound)
{
	int encoding = GetDatabaseEncoding();
	int size = bound->len * MAX_CONVERSION_GROWTH + 1;
	unsigned char data[OB_PQ_STAT_MAX + 1];
	char *text;
	Oid function;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pnstrdup((const char *) bound->data, bound->len);
	function = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(function))
		return NULL;
	memcpy(data, bound->data, bound->len);
	data[bound->len] = '\0';
	text = palloc0(size);
	if (pg_do_encoding_conversion_buf(function, PG_UTF8, encoding, data,
									  bound->len, (unsigned char *) text, size,
									  true) != bound->len)
		return NULL;
	return text;
}

static char *
text_of_bytes(const ObPqBound *bound)
{
	char *text = palloc(2 + 2 * bound->len + 1);
	uint64 len;

	memcpy(text, "\\x", 2);
	len = hex_encode((const char *) bound->data, bound->len, text + 2);
	text[2 + len] = '\0';
	return text;
}

static char *
text_of_decimal(__int128 value, int scale)
{
	char digits[INT128_DIGITS + 1];
	int n = 0;
	StringInfoData text;
	bool negative = value < 0;

	/* negate digits, not the value: the least value has no positive form */
	while (n <= scale || value != 0)
	{
		int digit = (int) (value % 10);

		digits[n++] = (char) ('0' + (digit < 0 ? -digit : digit));
		value /= 10;
	}
	initStringInfo(&text);
	if (negative)
		appendStringInfoChar(&text, '-');
	while (n-- > 0)
	{
		appendStringInfoChar(&text, digits[n]);
		if (n == scale && scale > 0)
			appendStringInfoChar(&text, '.');
	}
	return text.data;
}

static __int128
read_big_endian(const ObPqBound *bound)
{
	unsigned __int128 value = bound->len > 0 && bound->data[0] & 0x80 ? -1 : 0;

	for (int i = 0; i < bound->len; i++)
		value = value << 8 | bound->data[i];
	return (__int128) value;
}

static int64
read_integer(const ObPqNode *node, const ObPqBound *bound)
{
	int64 wide;
	int32 narrow;

	if (node->type == OB_PQ_INT64)
	{
		memcpy(&wide, bound->data, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, bound->data, sizeof(narrow));
	return narrow;
}

/* Returns a date or time in ISO 8601; a timestamptz is in UTC. */
static char *
text_of_time(const ObPqNode *node, int64 value)
{
	static const int utc = 0;
	char *text = palloc(MAXDATELEN + 1);
	Timestamp timestamp = value - OB_EPOCH_USECS;

	switch (node->logical_type)
	{
		case OB_PQ_DATE:
			return JsonEncodeDateTime(
				text, DateADTGetDatum((DateADT) value - OB_EPOCH_DAYS),
				DATEOID, NULL);
		case OB_PQ_TIME:
			return JsonEncodeDateTime(text, TimeADTGetDatum(value), TIMEOID,
									  NULL);
		case OB_PQ_TIMESTAMPTZ:
			return JsonEncodeDateTime(text, TimestampTzGetDatum(timestamp),
									  TIMESTAMPTZOID, &utc);
		default:
			return JsonEncodeDateTime(text, TimestampGetDatum(timestamp),
									  TIMESTAMPOID, NULL);
	}
}

static char *
text_of_integer(const ObPqNode *node, int64 value)
{
	switch (node->logical_type)
	{
		case OB_PQ_DATE:
		case OB_PQ_TIME:
		case OB_PQ_TIMESTAMP:
		case OB_PQ_TIMESTAMPTZ:
			return text_of_time(node, value);
		case OB_PQ_DECIMAL:
			return text_of_decimal(value, node->scale);
		default:
			return psprintf(INT64_FORMAT, value);
	}
}

static char *
text_of_fixed(const ObPqNode *node, const ObPqBound *bound)
{
	pg_uuid_t uuid;

	if (node->logical_type != OB_PQ_UUID)
		return text_of_decimal(read_big_endian(bound), node->scale);
	memcpy(uuid.data, bound->data, UUID_LEN);
	return DatumGetCString(
		DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid)));
}

static char *
text_of_bound(const ObPqNode *node, const ObPqBound *bound)
{
	char *text;
	float f;
	double d;

	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
			return pstrdup(bound->data[0] ? "true" : "false");
		case OB_PQ_INT32:
		case OB_PQ_INT64:
			return text_of_integer(node, read_integer(node, bound));
		case OB_PQ_FLOAT:
			memcpy(&f, bound->data, sizeof(f));
			text = palloc(FLOAT_SHORTEST_DECIMAL_LEN);
			float_to_shortest_decimal_buf(f, text);
			return text;
		case OB_PQ_DOUBLE:
			memcpy(&d, bound->data, sizeof(d));
			text = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);
			double_to_shortest_decimal_buf(d, text);
			return text;
		case OB_PQ_FIXED:
			return text_of_fixed(node, bound);
		default:
			return node->logical_type == OB_PQ_UNANNOTATED
					   ? text_of_bytes(bound)
					   : text_of_utf8(bound);
	}
}

/* ---- leaves ---- */

typedef struct Leaves
{
	const ObParquetColumns *columns;
	const ObPqLeafStats *stats; /* statistics of the first n leaves */
	int n;
	int next;
	List *path; /* list of char *, the current node's path in UTF-8 */
	StringInfo json;
	Size max;
	bool full;
} Leaves;

static void
put_bound(StringInfo json, const char *key, const char *exact_key,
		  const ObPqNode *node, const ObPqBound *bound)
{
	const char *text = text_of_bound(node, bound);

	if (!text)
		return;
	ob_json_put_text(json, key, text);
	ob_json_put_bool(json, exact_key, !bound->truncated);
}

static void
put_leaf(Leaves *leaves, const ObPqNode *node)
{
	const ObPqLeafStats *stats = &leaves->stats[leaves->next++];
	StringInfo json = leaves->json;
	int begin = json->len;
	ListCell *cell;

	ob_json_open(json, NULL, '{');
	ob_json_put_number(json, "field_id", node->field_id);
	ob_json_open(json, "path", '[');
	foreach (cell, leaves->path)
		ob_json_put_text(
			json, NULL,
			pg_any_to_server(lfirst(cell), strlen(lfirst(cell)), PG_UTF8));
	ob_json_close(json, ']');
	ob_json_put_number(json, "values", stats->values);
	ob_json_put_number(json, "nulls", stats->nulls);
	ob_json_put_number(json, "bytes", stats->bytes);
	if (stats->bounds.valid)
	{
		put_bound(json, "min", "min_exact", node, &stats->bounds.min);
		put_bound(json, "max", "max_exact", node, &stats->bounds.max);
	}
	ob_json_close(json, '}');
	if (json->len <= leaves->max)
		return;
	json->len = begin;
	leaves->full = true;
}

/* Writes the leaves below a node.  Returns the node after that subtree. */
static int
put_leaves(Leaves *leaves, int at)
{
	const ObPqNode *node = &leaves->columns->nodes[at++];

	check_stack_depth();
	leaves->path = lappend(leaves->path, unconstify(char *, node->name));
	for (int i = 0; i < node->nchildren; i++)
		at = put_leaves(leaves, at);
	if (leaves->next == leaves->n)
		leaves->full = true;
	if (node->nchildren == 0 && !leaves->full)
		put_leaf(leaves, node);
	leaves->path = list_delete_last(leaves->path);
	return at;
}

/* Merges the statistics of all row groups. */
static ObPqLeafStats *
sum_leaves(const ObParquetColumns *columns, const ObParquetGroup *groups,
		   int ngroups, int nleaves)
{
	ObPqLeafStats *stats = palloc0(sizeof(ObPqLeafStats) * nleaves);

	for (int i = 0; i < ngroups; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!ob_pq_record_leaves(groups[i].record, groups[i].len,
								 columns->nodes, columns->nnodes, stats,
								 nleaves))
			elog(ERROR, "invalid record of a row group");
	}
	return stats;
}

void
ob_parquet_write_summary(const ObParquetColumns *columns,
						 const ObParquetGroup *groups, int n, StringInfo json,
						 Size max)
{
	Leaves leaves = {.columns = columns, .json = json, .max = max - END_SIZE};

	for (int i = 0; i < columns->nnodes; i++)
		leaves.n += columns->nodes[i].nchildren == 0;
	leaves.n = Min(leaves.n, max / LEAF_MIN);
	leaves.stats = sum_leaves(columns, groups, n, leaves.n);
	ob_json_open(json, "parquet", '{');
	put_groups(json, groups, n, max / 2);
	ob_json_open(json, "columns", '[');
	for (int at = 0; at < columns->nnodes && !leaves.full;)
		at = put_leaves(&leaves, at);
	ob_json_close(json, ']');
	ob_json_close(json, '}');
}
