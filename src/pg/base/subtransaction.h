/*
 * subtransaction.h
 *		A step whose failure is not the whole statement's.
 *
 * src/pg/base/subtransaction.h
 */
#ifndef OB_SUBTRANSACTION_H
#define OB_SUBTRANSACTION_H

/*
 * Runs step(arg) in a subtransaction; returns its error, copied into the
 * current memory context, or NULL.  An interrupt is raised.
 */
extern ErrorData *ob_attempt(void (*step)(void *arg), void *arg);

/*
 * Whether this process was asked to end what it does (a cancel, a time-out of
 * its statement, a conflict with recovery), so that the error concerns all of
 * it.  The same SQLSTATE alone says nothing: a query may raise what it likes,
 * and another server or a parallel worker may have been cancelled.
 */
extern bool ob_attempt_interrupted(const ErrorData *error);

#endif
