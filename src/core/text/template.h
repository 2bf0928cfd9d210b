/*
 * template.h
 *		Key templates: text with fields in braces.
 *
 * src/core/text/template.h
 *
 * "{prefix}{name}.{ext}": what the fields mean is the host's business.  "{{"
 * and "}}" stand for the braces themselves.  Pure: the pieces are parts of the
 * template.
 */
#ifndef OB_TEMPLATE_H
#define OB_TEMPLATE_H

#include <stddef.h>

typedef enum ObTemplateKind
{
	OB_TEMPLATE_END,
	OB_TEMPLATE_TEXT,  /* literal text of the key */
	OB_TEMPLATE_FIELD, /* the name between the braces, which may be empty */
	OB_TEMPLATE_UNMATCHED, /* a "}" that closes nothing; there is no more */
	OB_TEMPLATE_UNCLOSED   /* a "{" without its "}"; there is no more */
} ObTemplateKind;

typedef struct ObTemplatePiece
{
	ObTemplateKind kind;
	const char *text; /* not NUL-terminated */
	size_t len;
} ObTemplatePiece;

/* Returns the next piece; *rest is the template at first, and moves on.  After
 * a fault or the end, the same piece is returned again. */
extern ObTemplatePiece ob_template_next(const char **rest);

#endif
