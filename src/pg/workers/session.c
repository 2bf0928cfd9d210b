/*
 * session.c
 *		A session's state, for a background worker that acts in its name.
 *
 * src/pg/workers/session.c
 *
 * Modelled on what parallel.c of PostgreSQL passes to its workers, by the same
 * functions.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/catalog/kept_lock.h"
#include "pg/workers/session.h"

struct ObSession
{
	Oid database;
	Oid authenticated_user;
	Oid session_user;
	Oid role; /* role of SET ROLE; InvalidOid: none */
	Oid current_user;
	int security_context;
	/* values of now() and statement_timestamp() */
	TimestampTz transaction_start;
	TimestampTz statement_start;
	PGPROC *process; /* owner of the snapshot */
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
	session->transaction_start = session->statement_start =
		GetCurrentTimestamp();
	if (snapshot)
	{
		session->transaction_start = GetCurrentTransactionStartTimestamp();
		session->statement_start = GetCurrentStatementStartTimestamp();
	}
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

TimestampTz
ob_session_now(const ObSession *session)
{
	return session->transaction_start;
}

void
ob_session_init_worker(BackgroundWorker *worker, dsm_segment *segment)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker->bgw_notify_pid = MyProcPid;
	strcpy(worker->bgw_library_name, "onboard");
}

void
ob_session_restore(const ObSession *session)
{
	char *base = unconstify(char *, (const char *) session);

	BackgroundWorkerInitializeConnectionByOid(session->database,
											  session->authenticated_user, 0);
	/* the caller's client_encoding is meant for its client */
	SetClientEncoding(GetDatabaseEncoding());
	StartTransactionCommand();
	RestoreLibraryState(base + session->libraries);
	/*
	 * On a standby every transaction is read-only.  While the session's
	 * settings are restored, they have their defaults for a moment, and "off"
	 * would be refused in a read-only transaction.
	 */
	XactReadOnly = false;
	RestoreGUCState(base + session->settings);
	if (session->session_user != session->authenticated_user)
		SetSessionAuthorization(session->session_user,
								superuser_arg(session->session_user));
	if (OidIsValid(session->role))
		SetCurrentRoleId(session->role, superuser_arg(session->role));
	CommitTransactionCommand();
}

/* A deferrable snapshot is waited for until the transactions of others have
 * ended, which may take long, and a worker is not free for others meanwhile.
 */
static void
begin(const ObSession *session)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactDeferrable = false;
	ob_kept_lock_begin();
	SetUserIdAndSecContext(session->current_user, session->security_context);
}

/* All tables of a run show one instant, so they have one time.  PostgreSQL's
 * setter is for its parallel workers, and asserts that this is one. */
static void
set_time(const ObSession *session)
{
	int number = ParallelWorkerNumber;

	ParallelWorkerNumber = 0;
	SetParallelStartTimestamps(session->transaction_start,
							   session->statement_start);
	ParallelWorkerNumber = number;
	pgstat_report_xact_timestamp(session->transaction_start);
}

void
ob_session_begin(const ObSession *session)
{
	begin(session);
	set_time(session);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ob_session_begin_for_history(const ObSession *session)
{
	begin(session);
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = RecoveryInProgress();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ob_session_begin_with_snapshot(const ObSession *session)
{
	char *base = unconstify(char *, (const char *) session);

	begin(session);
	set_time(session);
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	RestoreTransactionSnapshot(RestoreSnapshot(base + session->snapshot),
							   session->process);
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
