/*
 * summary.h
 *		What a manifest says of a Parquet file.
 *
 * src/pg/parquet/summary.h
 */
#ifndef OB_SUMMARY_H
#define OB_SUMMARY_H

#include "lib/stringinfo.h"

#include "pg/parquet/columns.h"

/* A row group, and where it is in the file. */
typedef struct ObParquetGroup
{
	const char *record;
	size_t len;
	int64 offset;
} ObParquetGroup;

/*
 * Adds a member "parquet" to a JSON object, of at most max bytes: the n row
 * groups, which are in the order of the file, unless they are too many, and
 * the statistics of as many leaves as there is room for.
 */
extern void ob_parquet_write_summary(const ObParquetColumns *columns,
									 const ObParquetGroup *groups, int n,
									 StringInfo json, Size max);

#endif
