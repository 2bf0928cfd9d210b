/*
 * own_query.c
 *		Queries of the extension's own, and whose rights they have.
 *
 * src/pg/base/own_query.c
 *
 * The hook is called for each query of the session; ours is known by the
 * function that its parameters are made with.  It sees what the parser has
 * made of the query, before rules, views and row security come in, which are
 * the affair of the tables' owner.  SPI analyses such a query once: what was
 * looked at is what runs.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "parser/analyze.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/base/compat.h"
#include "pg/base/own_query.h"

typedef struct Running
{
	Oid schema;
	const ObOwnQuery *query;
} Running;

static post_parse_analyze_hook_type previous_hook;

/* ---- what it has become ---- */

static bool
is_foreign_function(Oid function, void *context)
{
	return get_func_namespace(function) != PG_CATALOG_NAMESPACE;
}

static bool
is_foreign_relation(const RangeTblEntry *entry, const Running *running)
{
	Oid schema;

	if (entry->rtekind != RTE_RELATION)
		return false;
	schema = get_rel_namespace(entry->relid);
	return schema != PG_CATALOG_NAMESPACE && schema != running->schema;
}

static bool
has_foreign(Node *node, void *context)
{
	if (!node)
		return false;
	if (IsA(node, RangeTblEntry))
		return is_foreign_relation((RangeTblEntry *) node, context);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_foreign, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return check_functions_in_node(node, is_foreign_function, context) ||
		   expression_tree_walker(node, has_foreign, context);
}

/* ---- the parser's hooks ---- */

static int
count_parameters(const ObOwnQuery *query)
{
	if (query->n > 0 || !query->parameters)
		return query->n;
	return query->parameters->n;
}

static Node *
make_parameter(ParseState *state, ParamRef *ref)
{
	const Running *running = state->p_ref_hook_state;
	int number = ref->number;
	Param *param;

	if (number < 1 || number > count_parameters(running->query))
		return NULL;
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = number;
	param->paramtype = running->query->parameters->types[number - 1];
	param->paramtypmod = -1;
	param->paramcollid = get_typcollation(param->paramtype);
	param->location = ref->location;
	return (Node *) param;
}

static void
set_up_parser(ParseState *state, void *arg)
{
	state->p_ref_hook_state = arg;
	state->p_paramref_hook = make_parameter;
}

static void
check_analysed(ParseState *state, Query *query, ObJumbleState jumble)
{
	if (state->p_paramref_hook == make_parameter &&
		has_foreign((Node *) query, state->p_ref_hook_state))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the schema of the extension onboard was renamed "
						"during the statement"),
				 errdetail("Another schema has its name now.")));
	if (previous_hook)
		previous_hook(state, query, jumble);
}

void
ob_own_query_init(void)
{
	previous_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = check_analysed;
}

/* ---- parameters ---- */

void
ob_parameter_add(ObParameters *parameters, Oid type, Datum value, bool given)
{
	int i = parameters->n++;

	Assert(i < OB_PARAMETERS_MAX);
	parameters->types[i] = type;
	parameters->values[i] = given ? value : (Datum) 0;
	parameters->nulls[i] = !given;
}

void
ob_parameter_text(ObParameters *parameters, const char *text)
{
	ob_parameter_add(parameters, TEXTOID,
					 text ? CStringGetTextDatum(text) : (Datum) 0,
					 text != NULL);
}

void
ob_parameter_uuid(ObParameters *parameters, const pg_uuid_t *uuid)
{
	ob_parameter_add(parameters, UUIDOID, UUIDPGetDatum(uuid), uuid != NULL);
}

void
ob_parameter_oid(ObParameters *parameters, Oid oid)
{
	ob_parameter_add(parameters, OIDOID, ObjectIdGetDatum(oid), true);
}

/* ---- running it ---- */

static ParamListInfo
parameters_of(const ObOwnQuery *query, Running *running)
{
	const ObParameters *given = query->parameters;
	int n = count_parameters(query);
	ParamListInfo parameters = makeParamList(n);

	parameters->parserSetup = set_up_parser;
	parameters->parserSetupArg = running;
	for (int i = 0; i < n; i++)
	{
		ParamExternData *parameter = &parameters->params[i];

		parameter->value = given->values[i];
		parameter->isnull = given->nulls[i];
		parameter->pflags = PARAM_FLAG_CONST;
		parameter->ptype = given->types[i];
	}
	return parameters;
}

uint64
ob_own_query(Oid schema, const ObOwnQuery *query)
{
	Running running = {schema, query};
	SPIExecuteOptions options = {.read_only = !query->writes};
	const char *name;
	int result;

	/* the schema may have another name since the caller's query began */
	AcceptInvalidationMessages();
	name = get_namespace_name(schema);
	if (!name)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
						errmsg("the schema of the extension onboard was "
							   "dropped meanwhile")));
	name = quote_identifier(name);
	options.params = parameters_of(query, &running);
	result = SPI_execute_extended(psprintf(query->sql, name, name), &options);
	if (result != query->result)
		elog(ERROR, "a query of onboard's own ended with %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

Datum
ob_own_column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 number, isnull);
}

char *
ob_own_text(uint64 row, int number)
{
	bool isnull;
	Datum value = ob_own_column(row, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* ---- whose rights they have ---- */

/* A deferred trigger runs when the transaction ends, as the exporter.  Not
 * every exporter trusts the owner. */
static void
refuse_deferrable(const Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgdeferrable)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table \"%s\" has a deferrable trigger or "
							"constraint, \"%s\"",
							RelationGetRelationName(relation),
							triggers->triggers[i].tgname),
					 errdetail("It could run with the rights of the role that "
							   "exports."),
					 errhint("Its owner can drop it.")));
	}
}

static Oid
owner_of(Oid schema, const char *name, LOCKMODE unlock)
{
	Oid table = get_relname_relid(name, schema);
	Relation relation;
	Oid owner;

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name),
				 errhint("Drop the extension onboard, and create it again.")));
	relation = table_open(table, AccessShareLock);
	refuse_deferrable(relation);
	owner = relation->rd_rel->relowner;
	table_close(relation, unlock);
	return owner;
}

static void
fix(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Nothing in the caller's search_path may run with the owner's rights.  With
 * row_security = off, which is meant for exported queries, callers could not
 * look up their own runs.
 */
static int
fix_settings(void)
{
	int level = NewGUCNestLevel();

	fix("search_path", "pg_catalog, pg_temp");
	fix("row_security", "on");
	return level;
}

static void
run_step(Oid schema, void (*step)(Oid schema, void *arg), void *arg)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	step(schema, arg);
	SPI_finish();
}

void
ob_as_caller(Oid schema, void (*step)(Oid schema, void *arg), void *arg)
{
	int settings = fix_settings();

	run_step(schema, step, arg);
	AtEOXact_GUC(true, settings);
}

void
ob_owner_require(Oid schema, const char *table)
{
	/* an export may take hours */
	(void) owner_of(schema, table, AccessShareLock);
}

bool
ob_owner_is_caller(Oid schema, const char *table)
{
	return has_privs_of_role(GetUserId(), owner_of(schema, table, NoLock));
}

/* The owner's code (triggers, rules, expressions of an index) may neither
 * defer anything nor leave a setting behind. */
void
ob_as_owner(Oid schema, const char *table, void (*step)(Oid schema, void *arg),
			void *arg)
{
	Oid user;
	int context;
	int settings = fix_settings();

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner_of(schema, table, NoLock),
						   context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION |
							   SECURITY_NOFORCE_RLS);
	run_step(schema, step, arg);
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(false, settings);
}
