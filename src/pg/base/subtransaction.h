/*
 * subtransaction.h
 *		A step whose failure is not the whole statement's.
 *
 * src/pg/base/subtransaction.h
 */
#ifndef OB_SUBTRANSACTION_H
#define OB_SUBTRANSACTION_H

/* Calls step(arg) in a subtransaction.  Returns its error, copied into the
 * current memory context, or NULL.  An interrupt is raised. */
extern ErrorData *ob_attempt(void (*step)(void *arg), void *arg);

/*
 * Whether this process was asked to end its work (by a cancel, a timeout of
 * its statement, a conflict with recovery), so that the error concerns all of
 * that work.  The SQLSTATE alone does not say so: a query may raise any, and
 * another server or a parallel worker may have been cancelled.
 */
extern bool ob_attempt_interrupted(const ErrorData *error);

#endif
