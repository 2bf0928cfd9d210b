/*
 * put_object.h
 *		Small objects of our own, beside those that are exported.
 *
 * src/pg/store/put_object.h
 */
#ifndef OB_PUT_OBJECT_H
#define OB_PUT_OBJECT_H

#include "pg/store/export_spec.h"

/*
 * Writes an object to the server and bucket of an export, with its options of
 * requests, its encryption and its ACL.  key is UTF-8.  A store that has
 * served the run is waited for if it is away.  Raises if it cannot; answers
 * interrupts.
 */
extern void ob_put_object(const ObExportSpec *like, const char *key,
						  const char *type, const char *data, size_t len,
						  bool served);

#endif
