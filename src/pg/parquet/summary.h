/*
 * summary.h
 *		The summary of a Parquet file in the manifest.
 *
 * src/pg/parquet/summary.h
 */
#ifndef OB_SUMMARY_H
#define OB_SUMMARY_H

#include "lib/stringinfo.h"

#include "pg/parquet/columns.h"

/* A row group's record, and its place in the file. */
typedef struct ObParquetGroup
{
	const char *record;
	size_t len;
	int64 offset;
} ObParquetGroup;

/*
 * Adds a member "parquet" of at most max bytes to a JSON object.  It has the n
 * row groups, which must be in the order of the file, unless they take more
 * than half of the bytes, and the statistics of as many leaves as fit.
 */
extern void ob_parquet_write_summary(const ObParquetColumns *columns,
									 const ObParquetGroup *groups, int n,
									 StringInfo json, Size max);

#endif
