/*
 * template.c
 *		Key templates: text with fields in braces.
 *
 * src/core/text/template.c
 *
 * The parser works on bytes: templates are in UTF-8, or in another encoding in
 * which a brace is never part of another character.
 */
#include "core/text/template.h"

#include <string.h>

ObTemplatePiece
ob_template_next(const char **rest)
{
	const char *start = *rest;
	const char *close;

	if (*start == '\0')
		return (ObTemplatePiece){OB_TEMPLATE_END, start, 0};
	if (*start != '{' && *start != '}')
	{
		*rest += strcspn(start, "{}");
		return (ObTemplatePiece){OB_TEMPLATE_TEXT, start,
								 (size_t) (*rest - start)};
	}
	if (start[1] == *start)
	{
		*rest += 2;
		return (ObTemplatePiece){OB_TEMPLATE_TEXT, start, 1};
	}
	if (*start == '}')
		return (ObTemplatePiece){OB_TEMPLATE_UNMATCHED, start, 1};
	close = strchr(start, '}');
	if (close == NULL)
		return (ObTemplatePiece){OB_TEMPLATE_UNCLOSED, start, 1};
	*rest = close + 1;
	return (ObTemplatePiece){OB_TEMPLATE_FIELD, start + 1,
							 (size_t) (close - start - 1)};
}
