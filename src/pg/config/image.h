/*
 * image.h
 *		Structs in shared memory, for other processes of ours.
 *
 * src/pg/config/image.h
 *
 * An image is a row of pieces.  One function describes those of a struct: it
 * is called to count them, to write them, and, in another process, to read
 * them. So what is written is what is read, in the same order.
 *
 *	   static void
 *	   image_of_thing(ObImage *image, Thing *thing)
 *	   {
 *	       ob_image_struct(image, thing, sizeof(*thing));
 *	       ob_image_text(image, &thing->name);
 *	   }
 *
 * ob_image_struct() copies every field that has no pointer in it.  A pointer
 * is only valid where it comes from, so each needs a piece of its own, which
 * sets it when the image is read.  OB_IMAGE_KNOWS() stops the build when a
 * field was added, since it may be one.
 */
#ifndef OB_IMAGE_H
#define OB_IMAGE_H

#include "utils/jsonb.h"

#include "core/aws/sigv4.h"
#include "pg/config/server.h"

typedef struct ObImage
{
	bool reading;
	char *at;  /* the next piece; NULL while pieces are counted */
	Size size; /* size of the pieces so far */
} ObImage;

#define OB_IMAGE_KNOWS(type, size)                                  \
	StaticAssertDecl(sizeof(void *) != 8 || sizeof(type) == (size), \
					 "the image of " #type " has all of its pointers")

extern ObImage ob_image_count(void);
extern ObImage ob_image_write(void *at);
extern ObImage ob_image_read(const void *at);

/* The fields that are read are borrowed from the image, except lists and
 * arrays, which are palloc'd.  A field that is NULL stays NULL. */
extern void ob_image_struct(ObImage *image, void *data, Size size);
extern void ob_image_bytes(ObImage *image, const char **data, size_t *len);
extern void ob_image_text(ObImage *image, const char **text);
extern void ob_image_texts(ObImage *image,
						   List **texts); /* a list of char * */
extern void ob_image_pairs(ObImage *image, const ObPair **pairs, int n);
extern void ob_image_jsonb(ObImage *image, Jsonb **jsonb);

/* The image of a server as this process has read it.  A run has one
 * destination, even if ALTER SERVER changes the server meanwhile. */
extern void ob_image_server(ObImage *image, ObServerRow *row);

#endif
