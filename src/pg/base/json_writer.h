/*
 * json_writer.h
 *		JSON of our own: notifications and manifests.
 *
 * src/pg/base/json_writer.h
 *
 * A document is text in the database's encoding.  Members are written in the
 * order of the calls, without white space; commas are added where they are
 * needed.  The key is NULL for the document itself and in an array.
 *
 * The rows of exports are not written here, but by encode/json.c.
 */
#ifndef OB_JSON_WRITER_H
#define OB_JSON_WRITER_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/uuid.h"

/* Begins and ends an object ('{', '}') or an array ('[', ']'). */
extern void ob_json_open(StringInfo json, const char *key, char bracket);
extern void ob_json_close(StringInfo json, char bracket);

/* NULL is written as null. */
extern void ob_json_put_text(StringInfo json, const char *key,
							 const char *text);

extern void ob_json_put_bool(StringInfo json, const char *key, bool value);
extern void ob_json_put_number(StringInfo json, const char *key,
							   uint64 number);
extern void ob_json_put_uuid(StringInfo json, const char *key,
							 const pg_uuid_t *uuid);

/* A time in ISO format, in the time zone of the session, or in UTC. */
extern void ob_json_put_time(StringInfo json, const char *key,
							 TimestampTz time, bool utc);

/* Returns a document that is complete for human readers: indented, with a
 * newline at its end, in UTF-8; palloc'd. */
extern char *ob_json_lay_out(char *json);

/* The members of an object that was written by these functions. */
extern void ob_json_put_members(StringInfo json, const char *object);

#endif
