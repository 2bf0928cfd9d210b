/*
 * format.c
 *		The format Parquet: rows into row groups, and the footer.
 *
 * src/pg/parquet/format.c
 *
 * The writer (core/parquet) keeps a row group until it is full.  Its bytes
 * then go through the encoder's windows like those of any other format.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "pg/base/errors.h"
#include "pg/encode/tuple_walk.h"
#include "pg/parquet/columns.h"

/* Of a record, which describes one row group. */
#define RECORD_MAX ((size_t) 512 * 1024 * 1024)
#define FOOTER_MAX ((size_t) 1024 * 1024 * 1024)
#define TYPES_KEY "onboard.postgresql_types"
/* Readers that find no version and build in it ignore statistics; Debian has
 * parentheses in PG_VERSION. */
#define CREATED_BY \
	"onboard version " ONBOARD_VERSION " (build pg" PG_MAJORVERSION ")"

typedef struct Group
{
	ObBuf record;
	int64 offset;
	struct Group *next;
} Group;

typedef struct Parquet
{
	ObParquetColumns *columns;
	ObParquet *writer;
	int64 offset; /* in the file */
	Group *groups;
	Group **last;
	ObPqFooter *footer;
	ObBuf bytes;           /* of the footer */
	MemoryContext context; /* outlives rows */
	MemoryContextCallback callback;
} Parquet;

static void
free_core(void *arg)
{
	Parquet *parquet = arg;

	ob_parquet_free(parquet->writer);
	ob_pq_footer_free(parquet->footer);
	ob_buf_free(&parquet->bytes);
	for (Group *group = parquet->groups; group; group = group->next)
		ob_buf_free(&group->record);
}

static void
report(const ObError *error)
{
	if (error->code != OB_ELIMIT)
		ob_report(error);
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("a row does not fit into the memory of an export"),
					errdetail("%s.", error->cause),
					errhint("Raise onboard.upload_memory.")));
}

void
ob_parquet_prepare(ObEncoder *encoder)
{
	const ObParquetChoices *choices = &encoder->options->parquet;
	Parquet *parquet = palloc0(sizeof(Parquet));
	ObParquetOptions options = {
		.codec = choices->codec,
		.level = choices->level,
		.delta = choices->delta,
		.row_group_rows = choices->row_group_rows,
		.row_group_size = choices->row_group_size,
		.page_size = choices->page_size,
		.memory = choices->memory,
	};
	ObError error;

	parquet->columns = ob_columns_new(encoder->desc, choices, true);
	parquet->context = CurrentMemoryContext;
	parquet->last = &parquet->groups;
	ob_buf_init(&parquet->bytes, FOOTER_MAX);
	parquet->callback.func = free_core;
	parquet->callback.arg = parquet;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &parquet->callback);
	ob_error_clear(&error);
	parquet->writer = ob_parquet_new(
		parquet->columns->nodes, parquet->columns->nnodes, &options, &error);
	if (!parquet->writer)
		report(&error);
	ob_columns_bind(parquet->columns, parquet->writer);
	encoder->state = parquet;
}

static void
write_bytes(ObEncoder *encoder, const char *data, size_t len)
{
	Parquet *parquet = encoder->state;

	ob_out_write(encoder->out, data, len);
	parquet->offset += len;
}

void
ob_parquet_start(ObEncoder *encoder)
{
	write_bytes(encoder, OB_PQ_MAGIC, strlen(OB_PQ_MAGIC));
}

static void
end_group(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;
	Group *group = MemoryContextAllocZero(parquet->context, sizeof(Group));
	const char *data;
	size_t len;
	ObError error;

	ob_buf_init(&group->record, RECORD_MAX);
	group->offset = parquet->offset;
	*parquet->last = group;
	parquet->last = &group->next;
	ob_error_clear(&error);
	if (ob_parquet_end_group(parquet->writer, &group->record, &error) != OB_OK)
		report(&error);
	while (ob_parquet_take(parquet->writer, &data, &len))
		write_bytes(encoder, data, len);
}

void
ob_parquet_row_of(ObEncoder *encoder, TupleTableSlot *slot)
{
	Parquet *parquet = encoder->state;
	ObParquetColumns *columns = parquet->columns;
	ObError error;

	columns->row = ob_parquet_row(parquet->writer);
	if (ob_walk_begin(encoder->walk, slot))
	{
		for (int i = 0; i < columns->n; i++)
		{
			bool isnull;
			Datum value = ob_walk_next(encoder->walk, i, &isnull);

			ob_columns_add(columns, i, value, isnull);
		}
	}
	else
	{
		slot_getallattrs(slot);
		for (int i = 0; i < columns->n; i++)
			ob_columns_add(columns, i, slot->tts_values[i],
						   slot->tts_isnull[i]);
	}
	columns->rows++;
	ob_error_clear(&error);
	if (ob_parquet_end_row(parquet->writer, &error) != OB_OK)
		report(&error);
	if (ob_parquet_is_full(parquet->writer))
		end_group(encoder);
}

/* ---- the footer ---- */

/* PostgreSQL's types, by column: {"id": "integer", ...}. */
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

static void
write_footer(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;
	ObPqProperty types = {TYPES_KEY, describe_types(encoder)};
	ObPqFooterOptions options = {
		.created_by = CREATED_BY,
		.properties = &types,
		.nproperties = 1,
	};
	ObError error;

	ob_error_clear(&error);
	parquet->footer = ob_pq_footer_new(
		parquet->columns->nodes, parquet->columns->nnodes, &options, &error);
	if (!parquet->footer)
		report(&error);
	for (Group *group = parquet->groups; group; group = group->next)
	{
		if (ob_pq_footer_add(parquet->footer, group->record.data,
							 group->record.len, group->offset,
							 &error) != OB_OK)
			report(&error);
	}
	for (;;)
	{
		if (ob_pq_footer_next(parquet->footer, parquet->offset,
							  &parquet->bytes, &error) != OB_OK)
			report(&error);
		if (parquet->bytes.len == 0)
			break;
		write_bytes(encoder, parquet->bytes.data, parquet->bytes.len);
	}
}

void
ob_parquet_end(ObEncoder *encoder)
{
	Parquet *parquet = encoder->state;

	if (ob_parquet_rows(parquet->writer) > 0)
		end_group(encoder);
	write_footer(encoder);
}
