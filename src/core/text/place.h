/*
 * place.h
 *		Whether two objects would be one.
 *
 * src/core/text/place.h
 */
#ifndef OB_PLACE_H
#define OB_PLACE_H

#include "core/text/uri.h"

/*
 * Appends a text that is the same for two objects if the texts of their
 * endpoints show that they are one object: in upper case or lower, with a dot
 * at the end of the host or without, with the scheme's own port or none, over
 * http or https at one port, as localhost or by an address of loopback, an
 * address in any of its spellings, with the bucket in the endpoint's path or
 * not.  All endpoints of AWS count as one, since a bucket's name is unique
 * there.
 *
 * No host name is resolved, so two names of one machine, or two ports of one
 * store, are two places.  The addressing style makes no difference.
 */
extern void ob_place(const ObEndpoint *endpoint, const char *bucket,
					 const char *key, ObBuf *out);

#endif
