/*
 * parallel.h
 *		One query exported by several processes: the sink under Gather.
 *
 * src/pg/parallel/parallel.h
 *
 * PostgreSQL's parallel workers hand each row to their leader, which is what
 * makes exporting through them slow.  Here the sink is moved below the plan's
 * Gather: each worker encodes, compresses, hashes and uploads its own rows, as
 * parts of one multipart upload, and hands up only its last bytes, too few for
 * a part, as a single row.
 *
 *	   Gather                          Gather
 *	     Parallel Seq Scan    ->         Custom Scan (OnboardSink)
 *	                                       Parallel Seq Scan
 *
 * Parts take their numbers from a counter in shared memory when they are full,
 * and end where rows do, so the object is whole rows in no particular order,
 * as they would have come out of Gather.  A plan whose top is no Gather (one
 * with an ORDER BY, say) is left alone and runs in one process.
 *
 *	   parallel_plan.c	 plans the query, finds the Gather, changes the plan
 *	   parallel_scan.c	 the Custom Scan: what leader and workers do
 *	   parallel_shared.c what they share, in dynamic shared memory
 *	   parallel.c		 the leader's side of an export
 */
#ifndef OB_PARALLEL_H
#define OB_PARALLEL_H

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"

#include "pg/store/export_spec.h"
#include "pg/store/stream.h"

typedef struct ObParallel ObParallel;

/* Called by _PG_init: parallel workers look the Custom Scan up by its name. */
extern void ob_parallel_init(void);

/* Whether one process must write all rows. */
extern bool ob_parallel_unsupported(const ObCopyOptions *copy);

/* Allocates in the current memory context.  stream NULL: only to look at the
 * plan. */
extern ObParallel *ob_parallel_new(const ObOptions *options,
								   const ObExportSpec *export,
								   ObStream *stream);

/*
 * Plans the export's query, or the one that is to be explained, and moves the
 * sink below Gather where that can be.  Such a plan runs only if it was
 * attached; what else runs it gets an error.
 */
extern PlannedStmt *ob_parallel_plan(ObParallel *parallel, const char *query,
									 ParamListInfo parameters);

/*
 * The plan was started: top is its topmost node.  If the sink was moved, it is
 * this export's from now on, and the upload is shared and begun.
 */
extern void ob_parallel_attach(ObParallel *parallel, PlanState *top);

/* What the planner expects of the query's result, in bytes. */
extern double ob_parallel_estimate(const ObParallel *parallel);

/* Whether it was not moved because onboard.upload_memory is too little. */
extern bool ob_parallel_crowded(const ObParallel *parallel);

/* Whether it is never moved, since the server wants parts of one size: those
 * of several processes end where rows do. */
extern bool ob_parallel_equal(const ObParallel *parallel);

/* Whether the sink was moved below Gather, and by how many workers. */
extern bool ob_parallel_is_pushed_down(const ObParallel *parallel);
extern int ob_parallel_workers(const ObParallel *parallel);

/* The columns of the query's result, when it was. */
extern TupleDesc ob_parallel_desc(const ObParallel *parallel);

/* A worker's last bytes, as Gather returns them. */
extern void ob_parallel_tail(ObParallel *parallel, TupleTableSlot *slot);

/* The query has ended: sends what is left and completes the upload. */
extern void ob_parallel_finish(ObParallel *parallel);

/* Ends the workers on an error, so that no part of theirs comes late. */
extern void ob_parallel_end_workers(ObParallel *parallel);

#endif
