/*
 * figures.h
 *		The amounts that a process, an export or a run has exported.
 *
 * src/pg/base/figures.h
 *
 * The history, the progress, the results of SQL functions and the shared
 * memory of workers all embed this struct, and copy it whole.
 */
#ifndef OB_FIGURES_H
#define OB_FIGURES_H

typedef struct ObFigures
{
	int64 files; /* objects that exist */
	uint64 rows;
	uint64 raw_bytes; /* size before compression */
	uint64 bytes; /* size of the objects, as far as S3 has acknowledged it */
	int64 parts;  /* parts that S3 has acknowledged; 1 for a single request */
	int64 retries;
} ObFigures;

static inline void
ob_figures_add(ObFigures *sum, const ObFigures *figures)
{
	sum->files += figures->files;
	sum->rows += figures->rows;
	sum->raw_bytes += figures->raw_bytes;
	sum->bytes += figures->bytes;
	sum->parts += figures->parts;
	sum->retries += figures->retries;
}

#endif
