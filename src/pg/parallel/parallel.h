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

/* Registers the Custom Scan, which parallel workers look up by its name;
 * called by _PG_init. */
extern void ob_parallel_init(void);

/* Whether one process must write all rows of such a format. */
extern bool ob_parallel_unsupported(const ObCopyOptions *copy);

/* Makes the state of an export in the current memory context.  stream is NULL
 * if only the plan is wanted. */
extern ObParallel *ob_parallel_new(const ObOptions *options,
								   const ObExportSpec *export,
								   ObStream *stream);

/*
 * Plans the export's query, or the one to explain, and moves the sink below
 * Gather if possible.  Such a plan runs only after ob_parallel_attach();
 * anything else that runs it gets an error.
 */
extern PlannedStmt *ob_parallel_plan(ObParallel *parallel, const char *query,
									 ParamListInfo parameters);

/*
 * Takes over the plan when it was started.  top is its topmost node.  If the
 * sink was moved, it belongs to this export from now on, and the upload is
 * shared and begun.
 */
extern void ob_parallel_attach(ObParallel *parallel, PlanState *top);

/* Returns the planner's estimate of the result's size, in bytes. */
extern double ob_parallel_estimate(const ObParallel *parallel);

/* Whether the sink was not moved because onboard.upload_memory is too little.
 */
extern bool ob_parallel_crowded(const ObParallel *parallel);

/* Whether the sink is never moved because the server wants parts of one size:
 * those of several processes end where rows do. */
extern bool ob_parallel_equal(const ObParallel *parallel);

/* Whether the sink was moved below Gather, and for how many workers. */
extern bool ob_parallel_is_pushed_down(const ObParallel *parallel);
extern int ob_parallel_workers(const ObParallel *parallel);

/* Returns the columns of the query's result if the sink was moved. */
extern TupleDesc ob_parallel_desc(const ObParallel *parallel);

/* Returns what the object's end may say of its rows. */
extern const ObOrigin *ob_parallel_origin(const ObParallel *parallel);

/* Adds a worker's last bytes, as Gather returns them. */
extern void ob_parallel_tail(ObParallel *parallel, TupleTableSlot *slot);

/* Writes the end of the object after the query's end.  Returns the encoder
 * that has written it. */
extern ObEncoder *ob_parallel_end(ObParallel *parallel);

/* Sends the rest, and completes the upload. */
extern void ob_parallel_finish(ObParallel *parallel);

/* Ends the workers on an error, so that none of their parts comes late. */
extern void ob_parallel_end_workers(ObParallel *parallel);

#endif
