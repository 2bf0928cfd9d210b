/*
 * wait.h
 *		How a backend waits for the network.
 *
 * src/pg/base/wait.h
 */
#ifndef OB_WAIT_H
#define OB_WAIT_H

#include "storage/proc.h"

#include "core/http/http.h"

/* Moves transfers as far as they go at once; raises only if that breaks. */
extern void ob_wait_pump(ObHttp *http);

/*
 * Waits until something moves, and pumps.  Answers interrupts (cancel,
 * statement_timeout, terminate), so it may raise.
 */
extern void ob_wait(ObHttp *http);

/*
 * Pumps, for clean-up, until done(arg) or for at most bound_ms.  Raises
 * nothing, answers no interrupts, allocates nothing with palloc.  False when
 * the time was not enough.
 */
extern bool ob_wait_bounded(ObHttp *http, bool (*done)(const void *arg),
							const void *arg, int bound_ms);

/* Waits until this process's latch is set, which it then resets, or for at
 * most so long: then it is false.  Answers no interrupts. */
extern bool ob_wait_latch(int timeout_ms);

/* Sets the latch of another process, for which it may be waiting. */
extern void ob_wait_wake(PGPROC *process);

#endif
