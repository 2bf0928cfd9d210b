/*
 * workers_shared.c
 *		Several tables at a time: what leader and workers share.
 *
 * src/pg/workers/workers_shared.c
 */
#include "postgres.h"

#include "storage/dsm.h"

#include "pg/base/errors.h"
#include "pg/workers/workers_intern.h"

Size
ob_crew_estimate(const ObCrewJob *job, Size *session)
{
	Size size = MAXALIGN(offsetof(ObCrewShared, slots) +
						 sizeof(ObCrewSlot) * job->ntables);

	for (int i = 0; i < job->ntables; i++)
	{
		const ObServer *server = job->tables[i].task->export.server;

		size += MAXALIGN(strlen(job->tables[i].name) + 1);
		size += MAXALIGN(ob_server_image_size(server));
	}
	if (job->options)
		size += MAXALIGN(VARSIZE(job->options));
	size += MAXALIGN(strlen(job->source) + 1);
	*session = ob_session_estimate(true);
	return size + *session;
}

void
ob_crew_fill(ObCrewShared *shared, const ObCrewJob *job, Size session)
{
	Size end = MAXALIGN(offsetof(ObCrewShared, slots) +
						sizeof(ObCrewSlot) * job->ntables);

	memset(shared, 0, end);
	shared->magic = OB_CREW_MAGIC;
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u32(&shared->stop, 0);
	shared->leader = MyProc;
	shared->schema = job->schema;
	shared->run_id = job->run_id;
	shared->when = job->when;
	shared->lsn = job->lsn;
	shared->nslots = job->ntables;
	shared->together = job->settle != NULL;
	shared->given_id = job->given_id;
	shared->area = DSM_HANDLE_INVALID;
	pg_atomic_init_u32(&shared->verdict, OB_CREW_NO_VERDICT);
	for (int i = 0; i < job->ntables; i++)
	{
		const char *name = job->tables[i].name;
		const ObServer *server = job->tables[i].task->export.server;

		pg_atomic_init_u32(&shared->slots[i].state, OB_CREW_WAITING);
		shared->slots[i].name = end;
		strcpy(ob_crew_at(shared, end), name);
		end += MAXALIGN(strlen(name) + 1);
		shared->slots[i].server = end;
		ob_server_image_save(server, ob_crew_at(shared, end));
		end += MAXALIGN(ob_server_image_size(server));
	}
	if (job->options)
	{
		shared->options = end;
		memcpy(ob_crew_at(shared, end), job->options, VARSIZE(job->options));
		end += MAXALIGN(VARSIZE(job->options));
	}
	shared->source = end;
	strcpy(ob_crew_at(shared, end), job->source);
	end += MAXALIGN(strlen(job->source) + 1);
	shared->session = end;
	ob_session_save(ob_crew_at(shared, end), session, true);
}

char *
ob_crew_text(const char *text)
{
	return text[0] ? pstrdup(text) : NULL;
}

void
ob_crew_write_outcome(ObCrewSlot *slot, const ObRun *run)
{
	ob_report_copy(slot->status, sizeof(slot->status), run->status);
	slot->figures = run->figures;
	slot->sqlstate = run->sqlstate;
	ob_report_copy(slot->uri, sizeof(slot->uri), run->uri);
	ob_report_copy(slot->error, sizeof(slot->error), run->error);
}

void
ob_crew_read_outcome(const ObCrewSlot *slot, ObRun *run)
{
	run->status = pstrdup(slot->status);
	run->figures = slot->figures;
	run->sqlstate = slot->sqlstate;
	run->uri = ob_crew_text(slot->uri);
	run->error = ob_crew_text(slot->error);
}

int
ob_crew_take(ObCrewShared *shared)
{
	uint32 next;

	if (pg_atomic_read_u32(&shared->stop))
		return -1;
	next = pg_atomic_fetch_add_u32(&shared->next, 1);
	return next < (uint32) shared->nslots ? (int) next : -1;
}
