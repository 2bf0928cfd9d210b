/*
 * server_choice.c
 *		The choice of the server, by roles that may act as the current user.
 *
 * src/pg/config/server_choice.c
 *
 * A role may choose the destination of data only if it could read the data.
 * Two ways around that are closed here:
 *
 * The setting onboard.server belongs to the session, and the current user may
 * be another role, in a SECURITY DEFINER function.  PostgreSQL keeps the role
 * that gave a setting its value ("srole"), also for a function's SET clause,
 * and passes it to background workers with the value.
 *
 * A server that no role has named is found by its default name alone, and any
 * role that may create servers can give that name to its own server.
 */
#include "postgres.h"

#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/base/compat.h"
#include "pg/config/options.h"
#include "pg/config/server_choice.h"

#define SETTING "onboard.server"

/* Returns a role's name for an error; the role may have been dropped
 * meanwhile. */
static const char *
role_name(Oid role)
{
	const char *name = GetUserNameFromId(role, true);

	return name ? name : psprintf("%u", role);
}

/*
 * Returns the role that has set the setting.  InvalidOid stands for a value
 * that an administrator has set in a file, on the command line, or for all
 * roles of a database, and for the built-in default.
 */
static Oid
find_setter(const struct config_generic *setting)
{
	switch (setting->source)
	{
		case PGC_S_USER:
		case PGC_S_DATABASE_USER:
			/* the role that has logged in may change it */
			return GetAuthenticatedUserId();
		case PGC_S_CLIENT:
		case PGC_S_INTERACTIVE:
		case PGC_S_TEST:
		case PGC_S_SESSION:
			return setting->srole;
		default:
			return InvalidOid;
	}
}

static void
check_setter(Oid setter)
{
	Oid user = GetUserId();

	if (superuser_arg(setter) || is_member_of_role(setter, user))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("setting " SETTING " of role \"%s\" does not count for "
					"exports of role \"%s\"",
					role_name(setter), role_name(user)),
			 errdetail("Only a role that could act as \"%s\" may say where "
					   "its exports go.",
					   role_name(user)),
			 errhint("Name the server in option \"server\". A SECURITY "
					 "DEFINER function may also SET " SETTING
					 " in its definition.")));
}

const char *
ob_server_choose(const char *given, bool *named)
{
	const struct config_generic *setting = ob_setting(SETTING);
	Oid setter;

	*named = given != NULL;
	if (given != NULL)
		return given;
	if (setting == NULL)
		elog(ERROR, "setting \"%s\" is not there", SETTING);
	setter = find_setter(setting);
	if (OidIsValid(setter))
	{
		check_setter(setter);
		/* a setting for all databases does not mean a server of this one */
		*named = setting->source != PGC_S_USER;
	}
	return onboard_server;
}

void
ob_server_check_default(const ForeignServer *server)
{
	Oid user = GetUserId();
	Oid owner = server->owner;
	const char *quoted = quote_identifier(server->servername);

	/* a superuser counts as a member of every role */
	if (superuser_arg(owner) || is_member_of_role_nosuper(user, owner))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("server \"%s\" of role \"%s\" is not used by default for "
				"exports of role \"%s\"",
				server->servername, role_name(owner), role_name(user)),
		 errdetail("Only its owner has chosen it, and the owner is neither a "
				   "superuser nor a role that \"%s\" is a member of.",
				   role_name(user)),
		 errhint("To export there, name it in option \"server\", "
				 "or SET " SETTING " = '%s', which ALTER ROLE ... IN "
				 "DATABASE can do for good. Or let a superuser own it: ALTER "
				 "SERVER %s OWNER "
				 "TO ...;",
				 server->servername, quoted)));
}
