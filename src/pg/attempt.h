/*
 * attempt.h
 *		A step whose failure is not the whole statement's.
 *
 * src/pg/attempt.h
 */
#ifndef OB_ATTEMPT_H
#define OB_ATTEMPT_H

/*
 * Runs step(arg) in a subtransaction; returns its error, copied into the
 * current memory context, or NULL.  What concerns the whole statement (cancel,
 * time-outs, shutdown) is raised.
 */
extern ErrorData *ob_attempt(void (*step)(void *arg), void *arg);

#endif
