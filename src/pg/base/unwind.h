/*
 * unwind.h
 *		Steps that leave something behind elsewhere, unless they are ended.
 *
 * src/pg/base/unwind.h
 */
#ifndef OB_UNWIND_H
#define OB_UNWIND_H

/*
 * Calls step(arg).  If that raises, or the backend is terminated within it,
 * give_up(arg) is called once: it must not raise, must come to an end, and may
 * free what the step has made.
 */
extern void ob_unwind(void (*step)(void *arg), void (*give_up)(void *arg),
					  void *arg);

/*
 * Whether a step with arg is under way, for the reset callback of the memory
 * context that has arg.  The step's give_up() is not called any more after
 * that, so the callback does its work.  This happens only when a backend
 * exits, whose abort frees the memory of queries before it calls any callback.
 */
extern bool ob_unwind_forget(const void *arg);

/* Whether give_up() was called while a transaction aborts on the way to the
 * backend's end.  Its parallel workers have ended by then. */
extern bool ob_unwind_aborting(void);

#endif
