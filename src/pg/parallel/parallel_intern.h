/*
 * parallel_intern.h
 *		What the parallel_*.c files have in common.
 *
 * src/pg/parallel/parallel_intern.h
 */
#ifndef OB_PARALLEL_INTERN_H
#define OB_PARALLEL_INTERN_H

#include "access/parallel.h"
#include "nodes/plannodes.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "core/base/buf.h"
#include "pg/config/image.h"
#include "pg/parallel/parallel.h"

/* What a worker hands up at its end: a bytea that begins with this, and has
 * the bytes that were too few for a part behind it. */
typedef struct ObTail
{
	ObRaw raw;
} ObTail;

/*
 * The state is in dynamic shared memory, or, before there is any, in the
 * leader's.  Fixed fields come first; then, by number, the ObUploadPart and
 * the ObRaw of max_parts parts; then an image of an ObSharedView.  That holds
 * the secrets: the plan, which can end up in a log, must not.
 */
typedef struct ObShared
{
	pg_uuid_t run_id;
	int leader;             /* its pid */
	pg_atomic_uint32 parts; /* numbers given out */
	pg_atomic_uint64 bytes; /* that the workers have written */
	int max_parts;
	/* what workers that have ended have done */
	slock_t mutex;
	ObFigures ended;
	pg_atomic_uint32 wiped; /* not 0: no secrets are left */

	/* each process's part of what the export may use */
	int connections;
	size_t memory;
	Size image; /* offset from the beginning: an ObSharedView */
} ObShared;

struct ObParallel
{
	const ObOptions *options;
	const ObExportSpec *export; /* NULL: only to look at the plan */
	ObStream *stream;
	MemoryContext context;

	/* set when it is planned */
	const Plan *scan; /* the sink; NULL: it was not moved */
	int workers;
	bool crowded;    /* not moved, since memory lacks for the parts */
	bool equal;      /* never moved, since all parts are of one size */
	double estimate; /* of the result, in bytes */
	TupleDesc desc;  /* the columns of the query's result */

	/* while it runs */
	ObShared *shared;
	ParallelContext *pcxt; /* NULL: no workers, or no more */
	Size shared_size;      /* of dynamic shared memory */
	ObUploadShare share;
	ObBuf head; /* what the object begins with, compressed */
	ObBuf raw_head;
	ObSink *making; /* what writes that */
	MemoryContextCallback callback;
};

/* The plan's query is about to run: shares the upload, and begins it. */
extern void ob_parallel_begin(ObParallel *parallel);

/* Callbacks of an ObUploadShare whose arg is an ObShared **. */
extern int ob_shared_take_number(void *arg, const ObRaw *raw);
extern ObCode ob_shared_landed(void *arg, int number, const ObUploadPart *part,
							   ObError *error);

/* The parts that have landed, by number - 1, and what is in them before it is
 * compressed, which is there as soon as a part has its number. */
extern ObUploadPart *ob_shared_parts(const ObShared *shared);
extern ObRaw *ob_shared_raw(const ObShared *shared);

/* A worker has ended. */
extern void ob_shared_add(ObShared *shared, const ObFigures *figures);

/* Callback of an ObStreamShare; arg is an ObShared **. */
extern void ob_shared_add_others(ObFigures *figures, void *arg);

/* The leader's own, palloc'd. */
extern ObShared *ob_shared_new(const ObParallel *parallel);

/* What it takes in dynamic shared memory.  Nothing may be sent between this
 * and ob_shared_fill(): renewed credentials could be longer. */
extern Size ob_shared_estimate(const ObParallel *parallel,
							   const char *upload_id);

/* Fills dynamic shared memory of that size. */
extern void ob_shared_fill(ObShared *shared, const ObParallel *parallel,
						   const char *upload_id, Size size);

/* Wipes the secrets.  A worker that reads it meanwhile finds empty texts. */
extern void ob_shared_wipe(ObShared *shared);
extern bool ob_shared_is_wiped(ObShared *shared);

/* What a worker must know, written by the leader and read as an image. */
typedef struct ObSharedView
{
	/* the secrets: what the leader was given, with which a worker renews, and
	 * what it has got with that */
	ObCredentials keys;
	ObCredentials known;
	int64 known_expires;

	ObServerRow server;
	/* what the store has taught the leader */
	ObEndpoint endpoint;
	const char *region;
	bool content_md5;

	ObStreamOptions stream; /* without what only the leader does */
	const char *upload_id;
	ObCopyOptions copy;
	const char *head; /* what the object begins with, compressed */
	size_t head_len;
} ObSharedView;

/* Reads it in a worker, in the current memory context. */
extern void ob_shared_read(const ObShared *shared, ObSharedView *view);

/* The Custom Scan over a Gather's child: columns are the numbers of the
 * child's columns that make up the result. */
extern Plan *ob_sink_scan_plan(Plan *child, List *columns, TupleDesc desc,
							   const char *what);

#endif
