/*
 * thrift.c
 *		Thrift's compact protocol, as far as Parquet's metadata needs it.
 *
 * src/core/parquet/thrift.c
 */
#include <string.h>

#include "core/parquet/thrift.h"

/* A list's header has its length up to this one; a greater length follows the
 * header as a varint. */
#define SHORT_LIST 14

static void
put_varint(ObThrift *thrift, uint64_t value)
{
	char bytes[10];
	int n = 0;

	while (value >= 0x80)
	{
		bytes[n++] = (char) (value | 0x80);
		value >>= 7;
	}
	bytes[n++] = (char) value;
	ob_buf_add(thrift->out, bytes, n);
}

static void
put_zigzag(ObThrift *thrift, int64_t value)
{
	put_varint(thrift, (uint64_t) value << 1 ^ -(uint64_t) (value < 0));
}

static void
put_field(ObThrift *thrift, int id, ObThriftType type)
{
	int *last = &thrift->last[thrift->depth - 1];
	int delta = id - *last;

	if (delta > 0 && delta <= 15)
		ob_buf_addc(thrift->out, (char) (delta << 4 | type));
	else
	{
		ob_buf_addc(thrift->out, (char) type);
		put_zigzag(thrift, id);
	}
	*last = id;
}

static void
open_struct(ObThrift *thrift)
{
	thrift->last[thrift->depth++] = 0;
}

void
ob_thrift_begin(ObThrift *thrift, ObBuf *out)
{
	thrift->out = out;
	thrift->depth = 0;
	open_struct(thrift);
}

void
ob_thrift_end(ObThrift *thrift)
{
	ob_buf_addc(thrift->out, 0);
	thrift->depth--;
}

void
ob_thrift_bool(ObThrift *thrift, int id, bool value)
{
	put_field(thrift, id, value ? OB_THRIFT_TRUE : OB_THRIFT_FALSE);
}

void
ob_thrift_i8(ObThrift *thrift, int id, int8_t value)
{
	put_field(thrift, id, OB_THRIFT_I8);
	ob_buf_addc(thrift->out, (char) value);
}

void
ob_thrift_i32(ObThrift *thrift, int id, int32_t value)
{
	put_field(thrift, id, OB_THRIFT_I32);
	put_zigzag(thrift, value);
}

void
ob_thrift_i64(ObThrift *thrift, int id, int64_t value)
{
	put_field(thrift, id, OB_THRIFT_I64);
	put_zigzag(thrift, value);
}

void
ob_thrift_binary(ObThrift *thrift, int id, const void *data, size_t len)
{
	put_field(thrift, id, OB_THRIFT_BINARY);
	ob_thrift_element_binary(thrift, data, len);
}

void
ob_thrift_text(ObThrift *thrift, int id, const char *text)
{
	ob_thrift_binary(thrift, id, text, strlen(text));
}

void
ob_thrift_struct(ObThrift *thrift, int id)
{
	put_field(thrift, id, OB_THRIFT_STRUCT);
	open_struct(thrift);
}

void
ob_thrift_list(ObThrift *thrift, int id, ObThriftType type, int64_t n)
{
	put_field(thrift, id, OB_THRIFT_LIST);
	if (n <= SHORT_LIST)
		ob_buf_addc(thrift->out, (char) (n << 4 | type));
	else
	{
		ob_buf_addc(thrift->out, (char) (0xF0 | type));
		put_varint(thrift, n);
	}
}

void
ob_thrift_element_bool(ObThrift *thrift, bool value)
{
	ob_buf_addc(thrift->out, value ? OB_THRIFT_TRUE : OB_THRIFT_FALSE);
}

void
ob_thrift_element_int(ObThrift *thrift, int64_t value)
{
	put_zigzag(thrift, value);
}

void
ob_thrift_element_binary(ObThrift *thrift, const void *data, size_t len)
{
	put_varint(thrift, len);
	ob_buf_add(thrift->out, data, len);
}

void
ob_thrift_element_struct(ObThrift *thrift)
{
	open_struct(thrift);
}
