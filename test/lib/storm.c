/*
 * storm.c
 *		Runs SQL at unexpected stages: see ../system/storm.py.
 *
 * test/lib/storm.c
 *
 * storm_act(stage) runs the value of the setting storm.on_STAGE, each time or
 * each storm.every-th time: SQL, or a function that is called without SQL, so
 * that the first query is the function's own.  storm_in() and storm_out() are
 * the input and output functions of a type that do the same.  Parallel workers
 * have these settings, too.  The action can call storm_act() again, but only
 * to a limited depth.
 */

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/regproc.h"

PG_MODULE_MAGIC;

#define DEEPEST 3

static int depth;
static uint64 calls;

static const char *
setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value ? value : "";
}

static void
call(const char *function)
{
#if PG_VERSION_NUM >= 160000
	List *name = stringToQualifiedNameList(function, NULL);
#else
	List *name = stringToQualifiedNameList(function);
#endif

	OidFunctionCall0(LookupFuncName(name, 0, NULL, false));
}

static void
run(const char *what)
{
	depth++;
	PG_TRY();
	{
		if (strncmp(what, "call ", 5) == 0)
			call(what + 5);
		else
		{
			SPI_connect();
			SPI_execute(what, false, 0);
			SPI_finish();
		}
	}
	PG_FINALLY();
	{
		depth--;
	}
	PG_END_TRY();
}

static void
act(const char *stage)
{
	const char *what = setting(psprintf("storm.on_%s", stage));
	int every = atoi(setting("storm.every"));

	if (*what == '\0' || depth >= DEEPEST)
		return;
	if (calls++ % (every > 0 ? every : 1) == 0)
		run(pstrdup(what));
}

PG_FUNCTION_INFO_V1(storm_act);

Datum
storm_act(PG_FUNCTION_ARGS)
{
	act(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_INT32(1);
}

PG_FUNCTION_INFO_V1(storm_in);

Datum
storm_in(PG_FUNCTION_ARGS)
{
	act("input");
	PG_RETURN_TEXT_P(cstring_to_text(PG_GETARG_CSTRING(0)));
}

PG_FUNCTION_INFO_V1(storm_out);

Datum
storm_out(PG_FUNCTION_ARGS)
{
	act("output");
	PG_RETURN_CSTRING(text_to_cstring(PG_GETARG_TEXT_PP(0)));
}
