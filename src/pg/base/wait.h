/*
 * wait.h
 *		Waits of a backend for the network.
 *
 * src/pg/base/wait.h
 */
#ifndef OB_WAIT_H
#define OB_WAIT_H

#include "storage/proc.h"

#include "core/http/http.h"

/* Moves transfers as far as possible without a wait.  Raises only if that
 * itself fails. */
extern void ob_wait_pump(ObHttp *http);

/* Waits for network events, and moves transfers.  Answers interrupts (cancel,
 * statement_timeout, terminate), so it may raise. */
extern void ob_wait(ObHttp *http);

/*
 * Moves transfers, for a clean-up, until done(arg) or for at most bound_ms.
 * Raises nothing, answers no interrupts, and does not palloc.  Returns false
 * if the time was not enough.
 */
extern bool ob_wait_bounded(ObHttp *http, bool (*done)(const void *arg),
							const void *arg, int bound_ms);

/* Waits until this process's latch is set, and resets it.  Returns false if
 * that took longer than the timeout.  Answers no interrupts. */
extern bool ob_wait_latch(int timeout_ms);

/* Sets the latch of another process, which may be waiting for it. */
extern void ob_wait_wake(PGPROC *process);

#endif
