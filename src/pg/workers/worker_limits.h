/*
 * worker_limits.h
 *		The limits of how many background workers roles may use.
 *
 * src/pg/workers/worker_limits.h
 *
 * All roles share max_worker_processes, with parallel queries and replication
 * as well.  So the jobs of a role at a time are limited
 * (onboard.max_jobs_per_role), and all roles together leave some places free
 * (onboard.reserved_workers).  The role that counts is the one that has logged
 * in.  As with max_connections, superusers are not bound.
 *
 * A process that counts holds one of as many locks as there are places; the
 * lock goes when the process does.
 */
#ifndef OB_WORKER_LIMITS_H
#define OB_WORKER_LIMITS_H

typedef enum ObBound
{
	OB_BOUND_NONE,
	OB_BOUND_JOBS,   /* the limit of the role */
	OB_BOUND_WORKERS /* the limit of all roles */
} ObBound;

/* The settings. */
extern int onboard_max_jobs_per_role; /* -1: half of max_worker_processes */
extern int onboard_reserved_workers;

/* Enclose the start of a job, so that each role starts one at a time.
 * ob_bounds_enter() waits, and raises if the role may have no other job. */
extern void ob_bounds_enter(void);
extern void ob_bounds_leave(void);

/* Count this process, a job or a worker of onboard_all(), until it ends, and
 * return OB_BOUND_NONE; or return the limit that is reached. */
extern ObBound ob_bounds_take_job(void);
extern ObBound ob_bounds_take_worker(void);

/* Returns how many of the wanted workers of onboard_all() may be started. */
extern int ob_bounds_workers(int wanted);

/* Raises the error that a limit is reached. */
extern _Noreturn void ob_bounds_refuse(ObBound bound);

#endif
