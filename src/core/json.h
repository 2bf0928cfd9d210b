/*
 * json.h
 *		Reading texts out of a JSON object.
 *
 * src/core/json.h
 *
 * What metadata services answer is one object with a few texts in it, and they
 * are secrets.  So this reads just that, strictly (RFC 8259), and leaves no
 * copy of what it read.  (A library would: and the usual ones define the same
 * symbols, so that a backend in which another extension has loaded the other
 * one may crash.)
 */
#ifndef OB_JSON_H
#define OB_JSON_H

#include <stddef.h>

#include "error.h"

#define OB_JSON_DEPTH_MAX 16

typedef struct ObJsonField
{
	const char *name; /* of a member of the outermost object */
	char *value;      /* UTF-8; NULL if it is not there, or null */
} ObJsonField;

/*
 * Sets the values, which ob_json_free() wipes and frees.  OB_EPROTO and a
 * cause for a document that is not a whole and correct object, is nested too
 * deeply, or has a field that is no text, occurs twice, or holds a NUL; the
 * values are NULL then.
 */
extern ObCode ob_json_read(const char *data, size_t len, ObJsonField *fields,
						   int nfields, ObError *error) OB_MUST_CHECK;

extern void ob_json_free(ObJsonField *fields, int nfields);

#endif
