/*
 * parallel_intern.h
 *		Declarations that the parallel_*.c files share.
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

/* The beginning of the bytea that a worker hands up at its end.  The bytes
 * that were too few for a part follow. */
typedef struct ObTail
{
	ObRaw raw;
	uint64 described; /* bytes of a description, which come first */
} ObTail;

/*
 * The state of an export in dynamic shared memory, or, before there is any, in
 * the leader's memory.  Fixed fields come first; then, by number, the
 * ObUploadPart and the ObRaw of max_parts parts; then an image of an
 * ObSharedView.  The view has the secrets, because the plan, which can end up
 * in a log, must not have them.
 */
typedef struct ObShared
{
	pg_uuid_t run_id;
	int leader;             /* pid of the leader */
	pg_atomic_uint32 parts; /* numbers given out */
	pg_atomic_uint64 bytes; /* bytes that the workers have written */
	int max_parts;
	/* sum over the workers that have ended */
	slock_t mutex;
	ObFigures ended;
	pg_atomic_uint32 wiped; /* not 0: no secrets are left */

	/* the part of connections and memory that each process may use */
	int connections;
	size_t memory;
	Size image; /* offset of the image of an ObSharedView */
} ObShared;

struct ObParallel
{
	const ObOptions *options;
	ObCopyOptions copy;         /* of one process */
	const ObExportSpec *export; /* NULL: only the plan is wanted */
	ObStream *stream;
	MemoryContext context;

	/* set by planning */
	const Plan *scan; /* the sink; NULL: it was not moved */
	int workers;
	bool crowded; /* not moved because memory does not suffice for the parts */
	bool equal;   /* never moved because all parts have one size */
	double estimate; /* size of the result, in bytes */
	TupleDesc desc;  /* columns of the query's result */
	ObOrigin origin;

	/* set while the query runs */
	ObShared *shared;
	ParallelContext *pcxt; /* NULL: no workers, or they have ended */
	Size shared_size;      /* size in dynamic shared memory */
	ObUploadShare share;
	List *descriptions; /* of ObDescription *, of all processes */
	ObBuf head;         /* beginning of the object, compressed */
	ObBuf raw_head;
	ObSink *making; /* the sink that makes the head */
	MemoryContextCallback callback;
};

/* Shares the upload and begins it, when the plan's query is about to run. */
extern void ob_parallel_begin(ObParallel *parallel);

/* Callbacks of an ObUploadShare.  arg is an ObShared **. */
extern int ob_shared_take_number(void *arg, const ObRaw *raw);
extern ObCode ob_shared_landed(void *arg, int number, const ObUploadPart *part,
							   ObError *error);

/* The parts that have landed, by number - 1, and their sums before
 * compression, which are set as soon as a part has its number. */
extern ObUploadPart *ob_shared_parts(const ObShared *shared);
extern ObRaw *ob_shared_raw(const ObShared *shared);

/* Adds the figures of a worker that has ended. */
extern void ob_shared_add(ObShared *shared, const ObFigures *figures);

/* Callback of an ObStreamShare.  arg is an ObShared **. */
extern void ob_shared_add_others(ObFigures *figures, void *arg);

/* Called when the leader's stream has ended a part. */
extern void ob_parallel_part_ended(ObParallel *parallel, int number);

/* Keeps the description of what a process has written, for the end of the
 * object.  The data is borrowed until then; offset is where the process's last
 * bytes begin among those that are pending. */
extern void ob_parallel_describe(ObParallel *parallel, const char *data,
								 size_t len, uint64 offset);

/* Makes the state in the leader's memory; palloc'd. */
extern ObShared *ob_shared_new(const ObParallel *parallel);

/* Returns its size in dynamic shared memory.  Nothing may be sent between this
 * call and ob_shared_fill(), since renewed credentials could be longer. */
extern Size ob_shared_estimate(const ObParallel *parallel,
							   const char *upload_id);

/* Fills dynamic shared memory of that size. */
extern void ob_shared_fill(ObShared *shared, const ObParallel *parallel,
						   const char *upload_id, Size size);

/* Wipes the secrets.  A worker that reads them at that moment finds empty
 * texts. */
extern void ob_shared_wipe(ObShared *shared);
extern bool ob_shared_is_wiped(ObShared *shared);

/* The data that a worker needs, written by the leader and read as an image. */
typedef struct ObSharedView
{
	/* the secrets: the keys that the leader was given, with which a worker
	 * renews its credentials, and the credentials that it has got with them */
	ObCredentials keys;
	ObCredentials known;
	int64 known_expires;

	ObServerRow server;
	/* the properties that the leader has learnt from the store */
	ObEndpoint endpoint;
	const char *region;
	bool content_md5;

	ObStreamOptions stream; /* lacks the leader's own options */
	const char *upload_id;
	ObCopyOptions copy;
	const char *head; /* beginning of the object, compressed */
	size_t head_len;
} ObSharedView;

/* Reads the view in a worker, in the current memory context. */
extern void ob_shared_read(const ObShared *shared, ObSharedView *view);

/* Makes the Custom Scan over a Gather's child.  columns are the numbers of the
 * child's columns that make up the result. */
extern Plan *ob_sink_scan_plan(Plan *child, List *columns, TupleDesc desc,
							   const char *what);

#endif
