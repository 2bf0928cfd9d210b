/*
 * thrift.h
 *		Thrift's compact protocol, as far as Parquet's metadata needs it.
 *
 * src/core/parquet/thrift.h
 *
 * Fields must be written in the order of their ids.  The functions return no
 * errors; the caller checks the buffer with ob_buf_check() at the end.
 *
 * Format: github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
 */
#ifndef OB_THRIFT_H
#define OB_THRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"

#define OB_THRIFT_DEPTH 8

typedef enum ObThriftType
{
	OB_THRIFT_TRUE = 1,
	OB_THRIFT_FALSE = 2,
	OB_THRIFT_I8 = 3,
	OB_THRIFT_I32 = 5,
	OB_THRIFT_I64 = 6,
	OB_THRIFT_BINARY = 8,
	OB_THRIFT_LIST = 9,
	OB_THRIFT_STRUCT = 12
} ObThriftType;

typedef struct ObThrift
{
	ObBuf *out;
	int depth;
	int last[OB_THRIFT_DEPTH]; /* last field id of each open struct */
} ObThrift;

/* Begin the outermost struct, and end the innermost one. */
extern void ob_thrift_begin(ObThrift *thrift, ObBuf *out);
extern void ob_thrift_end(ObThrift *thrift);

/* Write a field of the innermost open struct. */
extern void ob_thrift_bool(ObThrift *thrift, int id, bool value);
extern void ob_thrift_i8(ObThrift *thrift, int id, int8_t value);
extern void ob_thrift_i32(ObThrift *thrift, int id, int32_t value);
extern void ob_thrift_i64(ObThrift *thrift, int id, int64_t value);
extern void ob_thrift_binary(ObThrift *thrift, int id, const void *data,
							 size_t len);
extern void ob_thrift_text(ObThrift *thrift, int id, const char *text);

/* Begins a field that is a struct, which ob_thrift_end() ends. */
extern void ob_thrift_struct(ObThrift *thrift, int id);

/* Begins a field that is a list.  The caller then writes its n elements. */
extern void ob_thrift_list(ObThrift *thrift, int id, ObThriftType type,
						   int64_t n);

/* Write an element of a list. */
extern void ob_thrift_element_bool(ObThrift *thrift, bool value);
extern void ob_thrift_element_int(ObThrift *thrift, int64_t value);
extern void ob_thrift_element_binary(ObThrift *thrift, const void *data,
									 size_t len);
/* Begins an element that is a struct, which ob_thrift_end() ends. */
extern void ob_thrift_element_struct(ObThrift *thrift);

#endif
