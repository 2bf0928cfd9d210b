/*
 * watermark_origin.c
 *		Increments: the origin of a watermark.
 *
 * src/pg/increment/watermark_origin.c
 *
 * Views and policies are stored as SQL, because OIDs and node trees do not
 * survive pg_dump and pg_upgrade.  SQL that was dumped and restored can come
 * out with other casts between string types than before (status IN ('a', 'b')
 * on a varchar column does), so these casts are removed first.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_authid.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"

#include "pg/base/compat.h"
#include "pg/increment/watermark_intern.h"

/* ---- comparing ---- */

static _Noreturn void
refuse(const ObWatermark *mark, const char *message)
{
	const char *name = quote_literal_cstr(mark->name);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s", message),
			 errdetail("Rows below the watermark may never have landed, and "
					   "later increments would not include them."),
			 errhint("onboard_reset_watermark(%s) forgets the watermark, and "
					 "the next increment has all rows. If no row was missed, "
					 "onboard_reset_watermark(%s, keep => true) goes on from "
					 "there.",
					 name, name)));
}

static bool
differs(const char *kept, const char *now)
{
	return kept && now && strcmp(kept, now) != 0;
}

void
ob_watermark_check_origin(const ObWatermark *mark)
{
	const ObWatermarkKept *kept = mark->kept;
	const ObWatermarkOrigin *now = &mark->origin;
	const char *id = DatumGetCString(
		DirectFunctionCall1(uuid_out, UUIDPGetDatum(&now->table_id)));

	if (!kept)
		return;
	if (differs(kept->table_id, id))
		refuse(mark, psprintf("the watermark of \"%s\" is that of another "
							  "registered table of this name",
							  mark->name));
	if (differs(kept->query, now->query))
		refuse(mark, psprintf("the query of \"%s\" has changed since its last "
							  "increment",
							  mark->name));
	if (differs(kept->destination, now->destination))
		refuse(mark,
			   psprintf("the increments of \"%s\" have landed in %s, "
						"not in %s",
						mark->name, kept->destination, now->destination));
	if (differs(kept->ordering, now->ordering))
		refuse(mark, psprintf("the order of column \"%s\" of \"%s\" has "
							  "changed since its last increment",
							  mark->column, mark->name));
	if (differs(kept->relations, now->relations))
		refuse(mark, psprintf("what the query of \"%s\" reads has changed "
							  "since its last increment",
							  mark->name));
	if (differs(kept->row_security, now->row_security))
		refuse(mark, psprintf("row security for \"%s\" has changed since its "
							  "last increment",
							  mark->name));
	if (differs(kept->system, now->system))
		refuse(mark, psprintf("the watermark of \"%s\" is a transaction id of "
							  "another cluster",
							  mark->name));
}

/* ---- SQL out of nodes ---- */

static Node *
without_casts(Node *node, void *context)
{
	if (!node)
		return NULL;
	if (IsA(node, RelabelType))
		return without_casts((Node *) ((RelabelType *) node)->arg, context);
	if (IsA(node, ArrayCoerceExpr) &&
		IsA(((ArrayCoerceExpr *) node)->elemexpr, RelabelType))
		return without_casts((Node *) ((ArrayCoerceExpr *) node)->arg,
							 context);
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, without_casts,
										   context, 0);
	return expression_tree_mutator(node, without_casts, context);
}

static char *
name_of(Oid relation)
{
	return DatumGetCString(
		DirectFunctionCall1(regclassout, ObjectIdGetDatum(relation)));
}

/* ---- what is read ---- */

/* The search_path decides which relation a name means, so the name is stored
 * with its schema. */
static char *
text_of_relations(const ObWatermarkQuery *query)
{
	StringInfoData text;
	ListCell *relation;
	ListCell *cell;

	initStringInfo(&text);
	forboth(relation, query->relations, cell, query->views)
	{
		Node *view = lfirst(cell);

		appendStringInfo(&text, "%s%s", text.len ? "\n" : "",
						 name_of(lfirst_oid(relation)));
		if (view)
			appendStringInfo(
				&text, ":%s",
				pg_get_querydef((Query *) without_casts(view, NULL), false));
	}
	return text.data;
}

/* ---- row security ---- */

typedef struct Policies
{
	List *lines; /* char * */
} Policies;

static bool
is_for(const RowSecurityPolicy *policy, Oid user)
{
	const Oid *roles = (Oid *) ARR_DATA_PTR(policy->roles);

	if (policy->polcmd != '*' && policy->polcmd != ACL_SELECT_CHR)
		return false;
	for (int i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
	{
		if (roles[i] == ACL_ID_PUBLIC || has_privs_of_role(user, roles[i]))
			return true;
	}
	return false;
}

static void
add_line(Policies *policies, char *line)
{
	ListCell *cell;

	foreach (cell, policies->lines)
	{
		if (strcmp(lfirst(cell), line) == 0)
			return;
	}
	policies->lines = lappend(policies->lines, line);
}

static void
add_policies(Policies *policies, Oid relid, Oid user)
{
	Relation relation = table_open(relid, AccessShareLock);
	const RowSecurityDesc *desc = relation->rd_rsdesc;
	const char *name = name_of(relid);
	List *context =
		deparse_context_for(RelationGetRelationName(relation), relid);
	ListCell *cell;

	/* This line distinguishes an enabled table without policies from a table
	 * whose row security does not apply. */
	add_line(policies, psprintf("%s:\n", name));
	foreach (cell, desc ? desc->policies : NIL)
	{
		const RowSecurityPolicy *policy = lfirst(cell);
		Node *qual = (Node *) policy->qual;

		if (!is_for(policy, user))
			continue;
		add_line(policies,
				 psprintf("%s: %s %s\n", name,
						  policy->permissive ? "permissive" : "restrictive",
						  qual ? deparse_expression(without_casts(qual, NULL),
													context, false, false)
							   : "true"));
	}
	table_close(relation, NoLock);
}

static bool walk_policies(Node *node, void *context);

static void
look_at_entries(const Query *query, Policies *policies)
{
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		const RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);
		Oid user;

		if (entry->rtekind != RTE_RELATION)
			continue;
		user = ob_rte_user(query, entry);
		if (!OidIsValid(user))
			user = GetUserId();
		if (check_enable_rls(entry->relid, user, true) == RLS_ENABLED)
			add_policies(policies, entry->relid, user);
	}
}

/* The rewritten query has views as subqueries, and the subqueries of policies
 * as conditions, so the walk reaches all relations that are read. */
static bool
walk_policies(Node *node, void *context)
{
	if (!node)
		return false;
	if (IsA(node, Query))
	{
		look_at_entries((Query *) node, context);
		return query_tree_walker((Query *) node, walk_policies, context, 0);
	}
	return expression_tree_walker(node, walk_policies, context);
}

static int
compare_lines(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* The order of policies must not depend on their names, since renaming one
 * changes nothing. */
static char *
text_of_policies(Policies *policies)
{
	StringInfoData text;
	ListCell *cell;

	list_sort(policies->lines, compare_lines);
	initStringInfo(&text);
	foreach (cell, policies->lines)
		appendStringInfoString(&text, lfirst(cell));
	return text.data;
}

/* ---- both ---- */

void
ob_watermark_find_origin(ObWatermark *mark, const ObWatermarkQuery *query)
{
	Policies policies = {NIL};
	int level = ob_watermark_fix_settings();

	(void) walk_policies((Node *) query->rewritten, &policies);
	mark->origin.relations = text_of_relations(query);
	mark->origin.row_security = text_of_policies(&policies);
	AtEOXact_GUC(true, level);
}
