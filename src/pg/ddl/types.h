/*
 * types.h
 *		The types of a result's columns, as the readers of its object see them.
 *
 * src/pg/ddl/types.h
 *
 * A type is the same for all readers; what each of them calls it is in its
 * ObTypeNames.
 */
#ifndef OB_DDL_TYPES_H
#define OB_DDL_TYPES_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"

#include "pg/encode/encode.h"

typedef enum ObTypeKind
{
	OB_TYPE_BOOL,
	OB_TYPE_INT2,
	OB_TYPE_INT4,
	OB_TYPE_INT8,
	OB_TYPE_FLOAT4,
	OB_TYPE_FLOAT8,
	OB_TYPE_DECIMAL,
	OB_TYPE_NUMERIC, /* of csv and JSON: no precision, or too many digits */
	OB_TYPE_TEXT,
	OB_TYPE_BYTES, /* of Parquet; elsewhere bytea is a text */
	OB_TYPE_DATE,
	OB_TYPE_TIME,
	OB_TYPE_TIMESTAMP,
	OB_TYPE_TIMESTAMPTZ,
	OB_TYPE_UUID,
	OB_TYPE_JSON,
	OB_TYPE_LIST, /* these three: of Parquet and JSON */
	OB_TYPE_STRUCT,
	OB_TYPE_MAP
} ObTypeKind;

#define OB_TYPE_KINDS (OB_TYPE_MAP + 1)

typedef struct ObType ObType;
struct ObType
{
	const char *name; /* of the column or field; NULL: an element */
	ObTypeKind kind;
	int precision; /* of a decimal */
	int scale;
	int nchildren; /* a list has one, a map two */
	ObType *children;
};

/*
 * Returns the types of the columns, palloc'd, and their number.  Raises for a
 * result that the format cannot have, for two columns of one name, and for one
 * without a name.
 */
extern ObType *ob_types_of(TupleDesc desc, const ObCopyOptions *copy, int *n);

/* What a reader calls the types. */
typedef struct ObTypeNames
{
	/* By kind; NULL: the reader has none.  Of a decimal, it is followed by
	 * (precision,scale), unless decimal_plain. */
	const char *names[OB_TYPE_KINDS];
	bool decimal_plain;
	const char *comma;   /* between fields; NULL: one with a blank */
	const char *list[2]; /* what stands around the element's type */
	const char *structure[2];
	const char *between; /* a field's name and its type */
	const char *map[2];
	/* of a type that can be null; NULL: each can */
	const char *nullable[2];
	void (*identifier)(StringInfo to, const char *name); /* of a field */
} ObTypeNames;

/* Appends the reader's name of the type, with those of its parts.  Returns
 * NULL, or the part of which the reader has none. */
extern const ObType *ob_type_put(StringInfo to, const ObTypeNames *names,
								 const ObType *type);

/* Returns the type's name in messages. */
extern const char *ob_type_say(const ObType *type);

#endif
