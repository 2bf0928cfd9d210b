/*
 * encode.c
 *		The format table, and the life of an encoder.
 *
 * src/pg/encode/encode.c
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "pg/encode/encode.h"
#include "pg/encode/tuple_walk.h"

static const ObFormat formats[] = {
	{OB_FORMAT_CSV, "csv", "csv", "text/csv", .prepare = ob_csv_prepare,
	 .start = ob_csv_start, .row = ob_csv_row},
	{OB_FORMAT_TEXT, "text", "txt", "text/plain", .prepare = ob_text_prepare,
	 .start = ob_text_start, .row = ob_text_row},
	{OB_FORMAT_BINARY, "binary", "bin", "application/octet-stream",
	 .prepare = ob_binary_prepare, .start = ob_binary_start,
	 .row = ob_binary_row, .end = ob_binary_end},
	{OB_FORMAT_JSONL, "jsonl", "jsonl", "application/x-ndjson",
	 .prepare = ob_json_prepare, .row = ob_jsonl_row},
	{OB_FORMAT_JSON, "json", "json", "application/json",
	 .prepare = ob_json_prepare, .start = ob_json_start, .row = ob_json_row,
	 .end = ob_json_end},
	{OB_FORMAT_PARQUET, "parquet", "parquet", "application/vnd.apache.parquet",
	 .prepare = ob_parquet_prepare, .start = ob_parquet_start,
	 .row = ob_parquet_row_of, .end = ob_parquet_end,
	 .flush = ob_parquet_flush, .part_ended = ob_parquet_part_ended,
	 .describe = ob_parquet_describe, .summarize = ob_parquet_summarize},
	{.name = NULL},
};

const ObFormat *
ob_format_lookup(const char *name)
{
	for (const ObFormat *format = formats; format->name != NULL; format++)
	{
		if (strcmp(format->name, name) == 0)
			return format;
	}
	return NULL;
}

const ObFormat *
ob_formats(void)
{
	return formats;
}

/* COPY writes all types that have an output function.  Most pseudo-types have
 * none, and that of void writes nothing. */
static void
check_type(Form_pg_attribute attribute)
{
	Oid type = attribute->atttypid;

	if (type == RECORDOID || type == RECORDARRAYOID || type == ANYARRAYOID ||
		get_typtype(type) != TYPTYPE_PSEUDO)
		return;

	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("column \"%s\" has pseudo-type %s",
						   NameStr(attribute->attname), format_type_be(type)),
					errhint("Cast it to a type that can be stored, or leave "
							"it out.")));
}

static void
add_columns(ObEncoder *encoder)
{
	encoder->columns = palloc0(sizeof(ObColumn) * encoder->desc->natts);
	for (int i = 0; i < encoder->desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(encoder->desc, i);

		if (attribute->attisdropped)
			continue;
		check_type(attribute);
		encoder->columns[encoder->ncolumns++].attribute = attribute;
	}
}

/* Finds the first column of that name, as COPY does. */
static ObColumn *
find_column(ObEncoder *encoder, const char *name)
{
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		if (namestrcmp(&encoder->columns[i].attribute->attname, name) == 0)
			return &encoder->columns[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of option \"force_quote\" does not exist",
					name),
			 errhint("Name columns of the query's result.")));
}

static void
mark_forced_quotes(ObEncoder *encoder)
{
	ListCell *cell;

	foreach (cell, encoder->options->force_quote)
		find_column(encoder, lfirst(cell))->force_quote = true;

	if (encoder->options->force_quote_all)
	{
		for (int i = 0; i < encoder->ncolumns; i++)
			encoder->columns[i].force_quote = true;
	}
}

/* Only csv and text have a null text. */
static void
set_encoding(ObEncoder *encoder)
{
	const ObCopyOptions *options = encoder->options;

	encoder->transcode = options->encoding != GetDatabaseEncoding() &&
						 options->encoding != PG_SQL_ASCII;
	encoder->embeds_ascii = PG_ENCODING_IS_CLIENT_ONLY(options->encoding);

	if (options->format->kind != OB_FORMAT_CSV &&
		options->format->kind != OB_FORMAT_TEXT)
		return;
	encoder->null_client = options->null_text;
	if (encoder->transcode)
		encoder->null_client = pg_server_to_any(
			options->null_text, strlen(options->null_text), options->encoding);
	encoder->null_client_len = strlen(encoder->null_client);
}

ObEncoder *
ob_encoder_new(const ObCopyOptions *options, TupleDesc desc, ObOut *out)
{
	ObEncoder *encoder = palloc0(sizeof(ObEncoder));

	encoder->options = options;
	encoder->out = out;
	encoder->desc = desc;
	encoder->row_context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard row", ALLOCSET_DEFAULT_SIZES);

	add_columns(encoder);
	mark_forced_quotes(encoder);
	set_encoding(encoder);
	encoder->walk = ob_walk_new(desc);
	options->format->prepare(encoder);
	return encoder;
}

void
ob_encoder_start(ObEncoder *encoder)
{
	MemoryContext old;

	if (encoder->options->format->start == NULL)
		return;

	old = MemoryContextSwitchTo(encoder->row_context);
	encoder->options->format->start(encoder);
	MemoryContextSwitchTo(old);
}

void
ob_encoder_end(ObEncoder *encoder)
{
	if (encoder->options->format->end != NULL)
		encoder->options->format->end(encoder);
}

void
ob_encoder_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	MemoryContext row_context = encoder->row_context;
	MemoryContext old;

	/* most rows leave the context empty; MemoryContextReset() would need two
	 * calls to find that out */
	if (!row_context->isReset || row_context->firstchild)
		MemoryContextReset(row_context);
	old = MemoryContextSwitchTo(row_context);
	encoder->options->format->row(encoder, slot);
	MemoryContextSwitchTo(old);
	encoder->rows++;
}

void
ob_out_write_long(ObOut *out, const char *data, size_t len)
{
	while (len > 0)
	{
		ptrdiff_t room = out->end - out->ptr;
		size_t now = Min((size_t) room, len);

		if (room <= 0)
		{
			out->refill(out);
			continue;
		}
		memcpy(out->ptr, data, now);
		out->ptr += now;
		data += now;
		len -= now;
	}
}
