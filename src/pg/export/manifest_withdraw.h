/*
 * manifest_withdraw.h
 *		The removal of the manifest of an earlier attempt of a run.
 *
 * src/pg/export/manifest_withdraw.h
 *
 * A run id that the caller has given may have run before.  Its _SUCCESS must
 * not stand beside objects of which only some were replaced, nor may its
 * manifest name objects that do not exist any more.
 */
#ifndef OB_MANIFEST_WITHDRAW_H
#define OB_MANIFEST_WITHDRAW_H

#include "pg/store/export_spec.h"

/*
 * Deletes _SUCCESS and the manifest of the run where->run_id, if they exist,
 * in that order.  names are those of the tables that the run has now.  Raises
 * if the history or the manifest has others, since the new manifest would not
 * name them, and if it cannot make sure that there is no _SUCCESS.  Answers
 * interrupts.  schema is the extension's.
 */
extern void ob_withdraw(Oid schema, const ObExportSpec *where,
						const char *const *names, int n);

#endif
