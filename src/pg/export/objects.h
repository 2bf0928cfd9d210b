/*
 * objects.h
 *		What the history says of the objects of an export.
 *
 * src/pg/export/objects.h
 */
#ifndef OB_OBJECTS_H
#define OB_OBJECTS_H

#include "core/s3/upload.h"

/*
 * Returns the column "objects" of the history for an export that has landed at
 * that URI: a JSON array, palloc'd.  object and rows describe it; with object
 * NULL, only the URI is known.
 */
extern char *ob_objects_text(const char *uri, const ObUploadObject *object,
							 uint64 rows);

#endif
