/*
 * workers_shared.c
 *		Several tables at a time: what leader and workers share.
 *
 * src/pg/workers/workers_shared.c
 */
#include "postgres.h"

#include "storage/dsm.h"

#include "pg/base/errors.h"
#include "pg/config/image.h"
#include "pg/workers/workers_intern.h"

/* ---- requests ---- */

OB_IMAGE_KNOWS(ObRequest, 120);

static void
image_of_common(ObImage *image, ObRequest *common)
{
	ob_image_struct(image, common, sizeof(*common));
	ob_image_text(image, &common->source);
	ob_image_jsonb(image, &common->options);
}

static void
image_of_table(ObImage *image, const char **name, ObServerRow *server)
{
	ob_image_text(image, name);
	ob_image_server(image, server);
}

ObRequest
ob_crew_request(const ObCrewShared *shared, const ObCrewSlot *slot)
{
	ObImage common = ob_image_read((const char *) shared + shared->common);
	ObImage table = ob_image_read((const char *) shared + slot->request);
	ObServerRow *server = palloc(sizeof(ObServerRow));
	ObRequest request;

	image_of_common(&common, &request);
	image_of_table(&table, &request.name, server);
	request.server = server;
	request.query = NULL;
	request.bucket = NULL;
	request.entry = NULL;
	request.servers = NULL;
	return request;
}

/* ---- laying it out ---- */

/* Writes all images behind the slots, whose offsets are noted; with shared
 * NULL, only counts.  Returns where they end. */
static Size
lay_out(ObCrewShared *shared, const ObCrewJob *job)
{
	Size begin = MAXALIGN(offsetof(ObCrewShared, slots) +
						  sizeof(ObCrewSlot) * job->ntables);
	ObImage image =
		shared ? ob_image_write((char *) shared + begin) : ob_image_count();
	ObRequest common = *job->common;

	if (shared)
		shared->common = begin;
	image_of_common(&image, &common);
	for (int i = 0; i < job->ntables; i++)
	{
		const char *name = job->tables[i].name;
		ObServerRow server = ob_server_row(job->tables[i].task->export.server);

		if (shared)
			shared->slots[i].request = begin + image.size;
		image_of_table(&image, &name, &server);
	}
	return begin + image.size;
}

Size
ob_crew_estimate(const ObCrewJob *job, Size *session)
{
	*session = ob_session_estimate(true);
	return lay_out(NULL, job) + *session;
}

void
ob_crew_fill(ObCrewShared *shared, const ObCrewJob *job, Size session)
{
	memset(shared, 0,
		   offsetof(ObCrewShared, slots) + sizeof(ObCrewSlot) * job->ntables);
	shared->magic = OB_CREW_MAGIC;
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u32(&shared->stop, 0);
	pg_atomic_init_u32(&shared->verdict, OB_CREW_NO_VERDICT);
	shared->together = job->settle != NULL;
	shared->area = DSM_HANDLE_INVALID;
	shared->leader = MyProc;
	shared->nslots = job->ntables;
	for (int i = 0; i < job->ntables; i++)
		pg_atomic_init_u32(&shared->slots[i].state, OB_CREW_WAITING);
	shared->session = lay_out(shared, job);
	ob_session_save((ObSession *) ((char *) shared + shared->session), session,
					true);
}

/* ---- slots ---- */

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
