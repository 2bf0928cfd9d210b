/*
 * fuzz_template.c
 *		Key templates.
 *
 * test/fuzz/fuzz_template.c
 *
 * The pieces of a valid template are equal to the template.
 */
#include "fuzz.h"

#include "core/text/template.h"

typedef struct Writer
{
	char *text;
	size_t len;
	size_t max;
} Writer;

static void
add(Writer *writer, const char *text, size_t len)
{
	promise(len <= writer->max - writer->len);
	memcpy(writer->text + writer->len, text, len);
	writer->len += len;
}

/* Adds a piece in the template's syntax. */
static void
add_piece(Writer *writer, const ObTemplatePiece *piece)
{
	bool brace = piece->text[0] == '{' || piece->text[0] == '}';

	if (piece->kind == OB_TEMPLATE_FIELD)
	{
		add(writer, "{", 1);
		add(writer, piece->text, piece->len);
		add(writer, "}", 1);
		return;
	}
	promise(piece->len > 0);
	promise(!brace || piece->len == 1);
	add(writer, piece->text, piece->len);
	if (brace)
		add(writer, piece->text, piece->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *template = fuzz_text(data, size);
	const char *rest = template;
	Writer writer = {malloc(size + 1), 0, strlen(template)};
	ObTemplatePiece piece;

	promise(writer.text != NULL);
	for (;;)
	{
		piece = ob_template_next(&rest);
		if (piece.kind != OB_TEMPLATE_TEXT && piece.kind != OB_TEMPLATE_FIELD)
			break;
		add_piece(&writer, &piece);
	}
	if (piece.kind == OB_TEMPLATE_END)
		promise(writer.len == strlen(template));
	promise(memcmp(writer.text, template, writer.len) == 0);
	free(writer.text);
	free(template);
	return 0;
}
