/*
 * json.h
 *		Reading texts out of a JSON object.
 *
 * src/core/text/json.h
 *
 * Documents are not kept, so memory is bounded by their length, whatever they
 * contain.
 *
 * The response of a metadata service is one object with a few texts in it,
 * which are secrets.  This reader accepts just that, strictly (RFC 8259), and
 * leaves no copy behind.
 *
 * jansson, which the orchestrator uses, is no choice for a backend, where a
 * crash restarts the whole cluster.  If memory runs out while it reads a long
 * text, it continues with the buffer that it has (its issue 362), and
 * truncates the text or crashes; it does not wipe what it frees; and json-c
 * before 0.15, which another extension may have loaded, defines symbols of the
 * same names, which the dynamic linker prefers to jansson's, versioned or not.
 */
#ifndef OB_JSON_H
#define OB_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#define OB_JSON_DEPTH_MAX 16

typedef struct ObJsonField
{
	const char *name; /* a member of the outermost object */
	char *value;      /* UTF-8; NULL if the member is missing or null */
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

/*
 * The members that are read of a manifest: {"flag": true, "list": [{"name":
 * "..."}, ...]}.  "found" gets each name, in UTF-8, until it returns false; it
 * must not raise.  A member of another type is skipped.
 */
typedef struct ObJsonList
{
	const char *flag;
	const char *list;
	const char *name;
	bool (*found)(void *arg, const char *name);
	void *arg;

	/* the outcome */
	bool has_flag;
	bool flag_value;
} ObJsonList;

/* OB_EPROTO as above. */
extern ObCode ob_json_read_list(const char *data, size_t len, ObJsonList *list,
								ObError *error) OB_MUST_CHECK;

#endif
