/*
 * verify.h
 *		Objects that have landed are looked at again.
 *
 * src/pg/verify/verify.h
 */
#ifndef OB_VERIFY_H
#define OB_VERIFY_H

#include "pg/config/options.h"
#include "pg/verify/landed.h"

typedef struct ObVerified
{
	const ObLanded *object;
	bool known; /* false: there was nothing to compare it with */
	bool ok;
	const char *detail; /* NULL: nothing is to be said */
} ObVerified;

typedef struct ObVerification
{
	Oid schema; /* of the extension */
	bool deep;  /* read the objects */
	const ObOptions *options;
	void (*found)(const ObVerified *verified, void *arg);
	void *arg;
} ObVerification;

/*
 * Each of these looks at each object of a run, or of the manifest at that URI,
 * and then calls "found" for each, in their order.  What is wrong with an
 * object is in its ObVerified; what prevents all of it is raised.  All is
 * allocated in the current memory context, which also holds the client.
 */
extern void ob_verify_run(const ObVerification *verification,
						  const pg_uuid_t *run_id);
extern void ob_verify_manifest(const ObVerification *verification,
							   const char *uri);

#endif
