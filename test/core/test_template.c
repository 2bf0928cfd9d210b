/*
 * test_template.c
 *		Key templates: text with fields in braces.
 *
 * test/core/test_template.c
 */
#include "testing.h"

#include "core/text/template.h"

/* Prints the pieces as "text", <field>, and "!" or "?" for the errors. */
static void
spell(const char *template, char *out)
{
	const char *rest = template;

	for (;;)
	{
		ObTemplatePiece piece = ob_template_next(&rest);
		int len = (int) piece.len;

		assert_true(piece.text >= template);
		assert_true(piece.text + piece.len <= template + strlen(template));
		switch (piece.kind)
		{
			case OB_TEMPLATE_END:
				return;
			case OB_TEMPLATE_TEXT:
				out += sprintf(out, "\"%.*s\"", len, piece.text);
				break;
			case OB_TEMPLATE_FIELD:
				out += sprintf(out, "<%.*s>", len, piece.text);
				break;
			case OB_TEMPLATE_UNMATCHED:
				strcpy(out, "!");
				return;
			case OB_TEMPLATE_UNCLOSED:
				strcpy(out, "?");
				return;
		}
	}
}

static void
pieces(void **state)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"a", "\"a\""},
		{"{a}", "<a>"},
		{"{}", "<>"},
		{"{ a }", "< a >"},
		{"x{a}y{b}z", "\"x\"<a>\"y\"<b>\"z\""},
		{"{a}{b}", "<a><b>"},
		{"{{", "\"{\""},
		{"}}", "\"}\""},
		{"{{}}", "\"{\"\"}\""},
		{"{{a}}", "\"{\"\"a\"\"}\""},
		{"{{{a}}}", "\"{\"<a>\"}\""},
		{"{a{b}", "<a{b>"},
		{"{", "?"},
		{"{a", "?"},
		{"a{b{c", "\"a\"?"},
		{"}", "!"},
		{"a}", "\"a\"!"},
		{"{a}}", "<a>!"},
		{"{{a}", "\"{\"\"a\"!"},
		{"gr\xc3\xb6\xc3\x9f"
		 "e",
		 "\"gr\xc3\xb6\xc3\x9f"
		 "e\""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char out[100] = "";

		spell(rows[i][0], out);
		assert_string_equal(out, rows[i][1]);
	}
}

/* Repeated calls at the end do not go beyond it. */
static void
the_end_stays(void **state)
{
	static const char *const templates[] = {"", "}", "{"};

	for (size_t i = 0; i < COUNT_OF(templates); i++)
	{
		const char *rest = templates[i];
		ObTemplateKind kind = ob_template_next(&rest).kind;

		assert_int_equal(ob_template_next(&rest).kind, kind);
		assert_ptr_equal(rest, templates[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(the_end_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
