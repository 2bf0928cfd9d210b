/*
 * format.c
 *		The format Parquet: encodes rows into row groups, and writes the
 *		footer.
 *
 * src/pg/parquet/format.c
 *
 * The writer (core/parquet) keeps a row group in memory until it is full.  Its
 * bytes then go through the sinks, like those of any other format.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/pg_lsn.h"

#include "pg/base/errors.h"
#include "pg/encode/fast_stored.h"
#include "pg/encode/tuple_walk.h"
#include "pg/parquet/columns.h"
#include "pg/parquet/summary.h"

/* The greatest sizes of a row group's record and of a piece of the footer. */
#define RECORD_MAX ((size_t) 512 * 1024 * 1024)
#define FOOTER_MAX ((size_t) 1024 * 1024 * 1024)
#define TYPES_KEY "onboard.postgresql_types"
#define RUN_KEY "onboard.run_id"
#define LSN_KEY "onboard.lsn"
#define PROPERTIES_MAX 3
/* Readers that cannot parse the version and the build ignore statistics.  They
 * allow no parentheses, such as those of PG_VERSION in Debian. */
#define CREATED_BY \
	"onboard version " ONBOARD_VERSION " (build pg" PG_MAJORVERSION ")"

typedef struct RowGroup
{
	ObBuf record;
	int part;     /* part number; 0: the current part, or no parts */
	int64 offset; /* offset in the part, or in the file */
	struct RowGroup *next;
} RowGroup;

typedef struct Parquet
{
	ObParquetColumns *columns;
	ObParquet *writer;
	int64 written; /* bytes since the beginning of the part, or of the file */
	RowGroup *groups;
	RowGroup **last;
	ObPqFooter *footer;
	ObParquetGroup *placed; /* all row groups of the file, set at its end */
	int nplaced;
	ObBuf bytes;           /* the next bytes of the footer */
	MemoryContext context; /* the encoder's, not reset for each row */
	ObError error;         /* reused: an error that is set is raised at once */
	MemoryContextCallback callback;
} Parquet;

static void
free_core(void *arg)
{
	Parquet *parquet = arg;

	ob_parquet_free(parquet->writer);
	ob_pq_footer_free(parquet->footer);
	ob_buf_free(&parquet->bytes);
	for (RowGroup *group = parquet->groups; group; group = group->next)
		ob_buf_free(&group->record);
}

static void
report_error(const ObError *error)
{
	if (error->code != OB_ELIMIT)
		ob_report(error);
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a row does not fit into the memory of an export"),
			 errdetail("%c%s.", pg_toupper((unsigned char) error->cause[0]),
					   error->cause + 1),
			 errhint("Raise onboard.upload_memory.")));
}

void
ob_parquet_prepare(ObEncoder *encoder)
{
	Parquet *parquet = palloc0(sizeof(Parquet));

	parquet->columns =
		ob_columns_new(encoder->desc, &encoder->options->parquet);
	parquet->context = CurrentMemoryContext;
	ob_error_clear(&parquet->error);
	parquet->last = &parquet->groups;
	ob_buf_init(&parquet->bytes, FOOTER_MAX);
	parquet->callback.func = free_core;
	parquet->callback.arg = parquet;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &parquet->callback);
	encoder->state = parquet;
}

/* Creates the writer at the first row.  An encoder that only writes the
 * beginning or the end of an object needs none. */
static void
make_writer(Parquet *parquet, const ObParquetChoices *choices)
{
	ObParquetOptions options = {
		.codec = choices->codec,
		.level = choices->level,
		.delta = choices->delta,
		.row_group_rows = choices->row_group_rows,
		.row_group_size = choices->row_group_size,
		.page_size = choices->page_size,
		.memory = choices->memory,
	};

	parquet->writer =
		ob_parquet_new(parquet->columns->nodes, parquet->columns->nnodes,
					   &options, &parquet->error);
	if (!parquet->writer)
		report_error(&parquet->error);
	ob_columns_bind(parquet->columns, parquet->writer);
}

/* Does the writer's remaining steps.  A query can only be cancelled between
 * two of them. */
static void
work(Parquet *parquet)
{
	while (ob_parquet_is_busy(parquet->writer))
	{
		CHECK_FOR_INTERRUPTS();
		if (ob_parquet_step(parquet->writer, &parquet->error) != OB_OK)
			report_error(&parquet->error);
	}
}

static void
write_bytes(ObEncoder *encoder, const char *data, size_t len)
{
	Parquet *parquet = encoder->state;

	ob_out_write(encoder->out, data, len);
	parquet->written += len;
}

void
ob_parquet_start(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;

	ob_columns_warn(parquet->columns);
	write_bytes(encoder, OB_PQ_MAGIC, strlen(OB_PQ_MAGIC));
}

static void
end_group(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;
	RowGroup *group =
		MemoryContextAllocZero(parquet->context, sizeof(RowGroup));
	const char *data;
	size_t len;

	ob_buf_init(&group->record, RECORD_MAX);
	group->offset = encoder->part_start + parquet->written;
	*parquet->last = group;
	parquet->last = &group->next;
	if (ob_parquet_end_group(parquet->writer, &group->record,
							 &parquet->error) != OB_OK)
		report_error(&parquet->error);
	work(parquet);
	while (ob_parquet_take(parquet->writer, &data, &len))
		write_bytes(encoder, data, len);
}

/* ---- stored rows ---- */

/* Appends a text that needs no conversion, unless it is compressed or stored
 * out of line. */
static inline bool
add_stored_text(ObParquetColumn *column, const ObWalk *walk, Datum value)
{
	const struct varlena *text =
		(const struct varlena *) DatumGetPointer(value);
	const char *data;
	size_t len;
	char *to;

	if (VARATT_IS_EXTENDED(text) && !ob_stored_short((const char *) text))
		return false;
	data = VARDATA_ANY(text);
	len = VARSIZE_ANY_EXHDR(text);
	to = ob_pq_bytes(column->leaf, len);
	if (!to)
		return true;
	/* a copy of a fixed length is faster; the next value overwrites the
	 * excess */
	if (len <= OB_PQ_BYTES_SLACK &&
		ob_stored_within(walk, data, OB_PQ_BYTES_SLACK))
		memcpy(to, data, OB_PQ_BYTES_SLACK);
	else
		memcpy(to, data, len);
	return true;
}

/* Appends a short decimal from the word that has its header and digits, as
 * ob_stored_fixed() does. */
static inline bool
add_stored_decimal(ObParquetColumn *column, const ObWalk *walk, Datum value)
{
	const char *at = (const char *) DatumGetPointer(value);
	uint32 ndigits;
	uint64 word;
	uint32 header;
	uint32 weight; /* weight of the first digit + 1: 0 to 2 */
	int64 scaled;

	if (!OB_LITTLE_ENDIAN_WORDS || column->scale > 4 || !ob_stored_short(at) ||
		!ob_stored_within(walk, VARDATA_1B(at), OB_NUMERIC_WORD))
		return false;
	ndigits = (VARSIZE_1B(at) - VARHDRSZ_SHORT - 2) / 2;
	memcpy(&word, VARDATA_1B(at), sizeof(word));
	header = (uint32) (word & 0xFFFF);
	weight = (header + 1) & 0x7F;
	if ((header & 0xC000) != 0x8000 || weight > 2 || ndigits > 3 ||
		(int) (header >> 7 & 0x3F) > column->scale)
		return false;
	word = word >> 16 & ~(UINT64_MAX << 16 * ndigits);
	word <<= 16 * (2 - weight);
	scaled = (word & 0xFFFF) * 10000 + (word >> 16 & 0xFFFF);
	scaled = scaled * column->multiplier +
			 (int64) ((word >> 32 & 0xFFFF) * column->reciprocal >> 32);
	if (scaled >= column->limit)
		return false;
	if (header & 0x2000)
		scaled = -scaled;
	if (column->physical == OB_PQ_INT64)
		ob_pq_int64(column->leaf, scaled);
	else
		ob_pq_int32(column->leaf, (int32) scaled);
	return true;
}

/* Appends a value that is not null without a function call, or returns false.
 */
static inline bool
add_stored(ObParquetColumn *column, const ObWalk *walk, Datum value)
{
	switch (column->stored)
	{
		case OB_STORED_TEXT:
			return add_stored_text(column, walk, value);
		case OB_STORED_NUMERIC:
			return add_stored_decimal(column, walk, value);
		case OB_STORED_INT4:
			ob_pq_int32(column->leaf, DatumGetInt32(value));
			return true;
		case OB_STORED_INT8:
			ob_pq_int64(column->leaf, DatumGetInt64(value));
			return true;
		case OB_STORED_DATE:
			if (DATE_NOT_FINITE(DatumGetDateADT(value)))
				return false;
			ob_pq_int32(column->leaf, DatumGetDateADT(value) + OB_EPOCH_DAYS);
			return true;
		default:
			return false;
	}
}

static void
add_stored_row(Parquet *parquet, ObWalk *walk)
{
	ObParquetColumns *columns = parquet->columns;
	ObParquetColumn *column = columns->columns;

	for (int i = 0; i < columns->n; i++, column++)
	{
		bool isnull;
		Datum value = ob_walk_next(walk, i, &isnull);

		if (!isnull && add_stored(column, walk, value))
			continue;
		ob_columns_add(columns, i, value, isnull);
		if (ob_parquet_has_failed(parquet->writer))
			return;
	}
}

void
ob_parquet_row_of(ObEncoder *encoder, TupleTableSlot *slot)
{
	Parquet *parquet = encoder->state;
	ObParquetColumns *columns = parquet->columns;

	if (!parquet->writer)
		make_writer(parquet, &encoder->options->parquet);
	columns->row = ob_parquet_row(parquet->writer);
	if (ob_walk_begin(encoder->walk, slot))
		add_stored_row(parquet, encoder->walk);
	else
	{
		slot_getallattrs(slot);
		for (int i = 0;
			 i < columns->n && !ob_parquet_has_failed(parquet->writer); i++)
			ob_columns_add(columns, i, slot->tts_values[i],
						   slot->tts_isnull[i]);
	}
	columns->rows++;
	if (ob_parquet_end_row(parquet->writer, &parquet->error) != OB_OK)
		report_error(&parquet->error);
	work(parquet);
	if (ob_parquet_is_full(parquet->writer))
		end_group(encoder);
}

/* ---- the footer ---- */

/* Returns PostgreSQL's types by column, as JSON: {"id": "integer", ...}. */
static char *
describe_types(const ObEncoder *encoder)
{
	StringInfoData types;

	initStringInfo(&types);
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		Form_pg_attribute attribute = encoder->columns[i].attribute;

		appendStringInfoString(&types, i ? ", " : "{");
		escape_json(&types, NameStr(attribute->attname));
		appendStringInfoString(&types, ": ");
		escape_json(&types, format_type_with_typemod(attribute->atttypid,
													 attribute->atttypmod));
	}
	appendStringInfoChar(&types, '}');
	return pg_server_to_any(types.data, types.len, PG_UTF8);
}

/* ---- objects that several processes write ---- */

/* The header of each record in an ObDescription. */
typedef struct RecordHeader
{
	int part; /* part number; 0: the process's last, unfinished part */
	int64 offset;
	uint64 len;
} RecordHeader;

void
ob_parquet_flush(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;

	if (parquet->writer && ob_parquet_rows(parquet->writer) > 0)
		end_group(encoder);
	/* free the writer's memory, which the end of the export may need */
	ob_parquet_free(parquet->writer);
	parquet->writer = NULL;
}

void
ob_parquet_part_ended(ObEncoder *encoder, int number)
{
	Parquet *parquet = encoder->state;

	for (RowGroup *group = parquet->groups; group; group = group->next)
	{
		if (group->part == 0)
			group->part = number;
	}
	encoder->part_start = 0;
	parquet->written = 0;
}

void
ob_parquet_describe(ObEncoder *encoder, StringInfo to)
{
	Parquet *parquet = encoder->state;
	size_t len = 0;

	for (RowGroup *group = parquet->groups; group; group = group->next)
		len += sizeof(RecordHeader) + group->record.len;
	/* allocate once, instead of doubling the buffer repeatedly */
	enlargeStringInfo(to, (int) Min(len, MaxAllocSize));
	for (RowGroup *group = parquet->groups; group; group = group->next)
	{
		RecordHeader header = {group->part, group->offset, group->record.len};

		appendBinaryStringInfo(to, (const char *) &header, sizeof(header));
		appendBinaryStringInfo(to, group->record.data, group->record.len);
		ob_buf_free(&group->record);
	}
	parquet->groups = NULL;
}

static int
compare_placed(const void *a, const void *b)
{
	int64 x = ((const ObParquetGroup *) a)->offset;
	int64 y = ((const ObParquetGroup *) b)->offset;

	return (x > y) - (x < y);
}

/* Appends the row groups of a process, with their places in the file. */
static void
read_description(const ObPlaces *places, const ObDescription *description,
				 StringInfo to)
{
	size_t at = 0;

	while (at < description->len)
	{
		RecordHeader header;
		ObParquetGroup placed;
		int part;

		memcpy(&header, description->data + at, sizeof(header));
		at += sizeof(header);
		placed.record = description->data + at;
		placed.len = header.len;
		placed.offset = header.offset;
		part = header.part;
		if (part == 0)
		{
			part = description->part;
			placed.offset += description->offset;
		}
		placed.offset += part > 0 ? places->starts[part - 1] : places->last;
		at += header.len;
		appendBinaryStringInfo(to, (const char *) &placed, sizeof(placed));
	}
}

/* Collects all row groups of the object, in the order of the file. */
static void
place_groups(const ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;
	StringInfoData groups;
	ListCell *cell;

	initStringInfo(&groups);
	for (RowGroup *group = parquet->groups; group; group = group->next)
	{
		ObParquetGroup placed = {group->record.data, group->record.len,
								 group->offset};

		appendBinaryStringInfo(&groups, (const char *) &placed,
							   sizeof(placed));
	}
	if (encoder->places)
	{
		foreach (cell, encoder->places->descriptions)
			read_description(encoder->places, lfirst(cell), &groups);
	}
	parquet->nplaced = groups.len / sizeof(ObParquetGroup);
	parquet->placed = (ObParquetGroup *) groups.data;
	qsort(parquet->placed, parquet->nplaced, sizeof(ObParquetGroup),
		  compare_placed);
}

/* Makes the key-value metadata, and returns the number of properties. */
static int
make_properties(const ObEncoder *encoder, ObPqProperty *properties)
{
	const ObOrigin *origin = encoder->origin;
	int n = 0;

	properties[n++] = (ObPqProperty){TYPES_KEY, describe_types(encoder)};
	properties[n++] = (ObPqProperty){
		RUN_KEY, DatumGetCString(DirectFunctionCall1(
					 uuid_out, UUIDPGetDatum(&origin->run_id)))};
	if (origin->lsn != 0)
		properties[n++] = (ObPqProperty){
			LSN_KEY, DatumGetCString(DirectFunctionCall1(
						 pg_lsn_out, LSNGetDatum(origin->lsn)))};
	return n;
}

static void
write_footer(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;
	const List *order = encoder->origin->order;
	ObPqProperty properties[PROPERTIES_MAX];
	ObPqSorting *sorting = palloc(sizeof(ObPqSorting) * list_length(order));
	ObPqFooterOptions options = {
		.created_by = CREATED_BY,
		.properties = properties,
		.nproperties = make_properties(encoder, properties),
		.sorting = sorting,
		.nsorting = ob_columns_sorting(parquet->columns, encoder->desc, order,
									   sorting),
	};
	const ObParquetGroup *group;
	int64 start = encoder->places ? encoder->places->length : 0;
	ObError error;

	ob_error_clear(&error);
	place_groups(encoder);
	parquet->footer = ob_pq_footer_new(
		parquet->columns->nodes, parquet->columns->nnodes, &options, &error);
	if (!parquet->footer)
		report_error(&error);
	for (int i = 0; i < parquet->nplaced; i++)
	{
		group = &parquet->placed[i];
		if (ob_pq_footer_add(parquet->footer, group->record, group->len,
							 group->offset, &error) != OB_OK)
			report_error(&error);
	}
	for (;;)
	{
		if (ob_pq_footer_next(parquet->footer, start + parquet->written,
							  &parquet->bytes, &error) != OB_OK)
			report_error(&error);
		if (parquet->bytes.len == 0)
			break;
		write_bytes(encoder, parquet->bytes.data, parquet->bytes.len);
	}
}

void
ob_parquet_end(ObEncoder *encoder)
{
	ob_parquet_flush(encoder);
	write_footer(encoder);
}

void
ob_parquet_summarize(const ObEncoder *encoder, StringInfo json, Size max)
{
	const Parquet *parquet = encoder->state;

	ob_parquet_write_summary(parquet->columns, parquet->placed,
							 parquet->nplaced, json, max);
}
