/*
 * fate.c
 *		The fate of an object whose export was given up.
 *
 * src/pg/catalog/fate.c
 */
#include "postgres.h"

#include "pg/catalog/fate.h"
#include "pg/base/errors.h"

ObFate
ob_fate_of(const ObUpload *upload)
{
	if (ob_upload_exists(upload))
		return OB_FATE_WRITTEN;
	return ob_upload_may_exist(upload) ? OB_FATE_UNKNOWN : OB_FATE_NONE;
}

const char *
ob_fate_error(ObFate fate, const char *error)
{
	switch (fate)
	{
		case OB_FATE_NONE:
			break;
		case OB_FATE_EARLIER:
			return psprintf(
				"%s (an object of an earlier attempt may be there)", error);
		case OB_FATE_UNKNOWN:
			return psprintf("%s (the object may have been written)", error);
		case OB_FATE_WRITTEN:
			return psprintf("%s (the object was written)", error);
	}
	return error;
}

void
ob_fate_warn(ObFate fate, const char *place)
{
	place = ob_report_plain_text(place);
	if (fate == OB_FATE_WRITTEN)
		ereport(WARNING,
				(errmsg("the object \"%s\" was written nevertheless", place),
				 errdetail("S3 was completing it when the export ended, and "
						   "has done so.")));
	else if (fate == OB_FATE_UNKNOWN)
		ereport(WARNING,
				(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
				 errmsg("the object \"%s\" may have been written", place),
				 errdetail("The export ended while S3 was completing it.")));
}
