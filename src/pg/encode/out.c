/*
 * out.c
 *		Writes that need more than the current window.
 *
 * src/pg/encode/out.c
 */
#include "postgres.h"

#include "pg/encode/encode.h"

void
ob_out_write_long(ObOut *out, const char *data, size_t len)
{
	while (len > 0)
	{
		ptrdiff_t room = out->end - out->ptr;
		size_t now = Min((size_t) room, len);

		if (room <= 0)
		{
			out->refill(out);
			continue;
		}
		memcpy(out->ptr, data, now);
		out->ptr += now;
		data += now;
		len -= now;
	}
}
