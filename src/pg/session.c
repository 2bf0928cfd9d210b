/*
 * session.c
 *		A session's state, for a background worker that acts in its name.
 *
 * src/pg/session.c
 *
 * Modelled on what parallel.c of PostgreSQL passes to its workers, by the same
 * functions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "pg/session.h"

struct ObSession
{
	Oid database;
	Oid authenticated_user;
	Oid session_user;
	Oid role; /* of SET ROLE; InvalidOid: none */
	Oid current_user;
	int security_context;
	PGPROC *process; /* whose snapshot it is */
	/* offsets from the beginning; 0: none */
	Size libraries;
	Size settings;
	Size snapshot;
};

Size
ob_session_estimate(bool snapshot)
{
	Size size = MAXALIGN(sizeof(ObSession));

	size += MAXALIGN(EstimateLibraryStateSpace());
	size += MAXALIGN(EstimateGUCStateSpace());
	if (snapshot)
		size += MAXALIGN(EstimateSnapshotSpace(GetActiveSnapshot()));
	return size;
}

void
ob_session_save(ObSession *session, Size size, bool snapshot)
{
	char *base = (char *) session;
	Size libraries = EstimateLibraryStateSpace();
	Size snapshot_size =
		snapshot ? EstimateSnapshotSpace(GetActiveSnapshot()) : 0;
	Size end = MAXALIGN(sizeof(ObSession));

	memset(session, 0, sizeof(*session));
	session->database = MyDatabaseId;
	session->authenticated_user = GetAuthenticatedUserId();
	session->session_user = GetSessionUserId();
	session->role = GetCurrentRoleId();
	GetUserIdAndSecContext(&session->current_user, &session->security_context);
	session->process = MyProc;
	session->libraries = end;
	SerializeLibraryState(libraries, base + end);
	end += MAXALIGN(libraries);
	if (snapshot)
	{
		session->snapshot = end;
		SerializeSnapshot(GetActiveSnapshot(), base + end);
		end += MAXALIGN(snapshot_size);
	}
	session->settings = end;
	SerializeGUCState(size - end, base + end);
}

void
ob_session_restore(const ObSession *session)
{
	char *base = unconstify(char *, (const char *) session);

	BackgroundWorkerInitializeConnectionByOid(session->database,
											  session->authenticated_user, 0);
	/* what the caller's client_encoding says is for its client */
	SetClientEncoding(GetDatabaseEncoding());
	StartTransactionCommand();
	RestoreLibraryState(base + session->libraries);
	RestoreGUCState(base + session->settings);
	if (session->session_user != session->authenticated_user)
		SetSessionAuthorization(session->session_user,
								superuser_arg(session->session_user));
	if (OidIsValid(session->role))
		SetCurrentRoleId(session->role, superuser_arg(session->role));
	CommitTransactionCommand();
}

static void
become(const ObSession *session)
{
	SetUserIdAndSecContext(session->current_user, session->security_context);
}

void
ob_session_begin(const ObSession *session)
{
	StartTransactionCommand();
	become(session);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ob_session_begin_for_history(const ObSession *session)
{
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = RecoveryInProgress();
	become(session);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ob_session_begin_with_snapshot(const ObSession *session)
{
	char *base = unconstify(char *, (const char *) session);

	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	RestoreTransactionSnapshot(RestoreSnapshot(base + session->snapshot),
							   session->process);
	become(session);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ob_session_commit(void)
{
	Oid user;
	int context;

	PopActiveSnapshot();
	/* a transaction must not end within a security context */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(user, 0);
	CommitTransactionCommand();
}

void
ob_session_abort(void)
{
	AbortCurrentTransaction();
}
