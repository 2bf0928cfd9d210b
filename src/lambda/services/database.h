/*
 * database.h
 *		A connection that runs statements without blocking, over libpq.
 *
 * src/lambda/services/database.h
 *
 * Statements have parameters: no SQL text is ever built from data.  A session
 * sets application_name=onboard/<request id>, ends when its client is gone
 * (client_connection_check_interval), and has a statement_timeout of the time
 * that is left.
 */
#ifndef OBL_DATABASE_H
#define OBL_DATABASE_H

#include <libpq-fe.h>

#include "lambda/base/loop.h"
#include "lambda/services/secret.h"

#define OBL_TEXT 1024 /* a message's or detail's maximum, with its NUL */

typedef struct OblConnection OblConnection;

typedef enum OblClass
{
	OBL_CLASS_OK,
	OBL_CLASS_LOGIN,  /* 28P01, 28000: the secret may have changed */
	OBL_CLASS_AGAIN,  /* 08*, 57P01-57P03, 40001, 40P01, 55P03 */
	OBL_CLASS_FULL,   /* 53300, 53400: fewer connections, fewer jobs */
	OBL_CLASS_CANCEL, /* 57014 */
	OBL_CLASS_FINAL
} OblClass;

struct OblConnection
{
	/* set by the owner */
	OblLoop *loop;
	/* Called inside obl_loop_step(), with a connection, or the statement's
	 * rows, or an error, which class and texts describe.  It may send the next
	 * statement, or close. */
	void (*done)(OblConnection *connection, PGresult *result);
	void *arg;

	/* the outcome */
	OblClass class;
	char sqlstate[6];
	char message[OBL_TEXT]; /* redacted for failed logins */
	char detail[OBL_TEXT];  /* the DETAIL of a statement's error; or "" */

	int tries; /* a counter for the owner */

	/* private */
	PGconn *conn;
	OblSocket socket;
	bool connecting;
	bool busy;
	PGresult *result;
};

/* Begins to connect, until the deadline.  Failures are reported by "done". */
extern void obl_connection_open(OblConnection *connection,
								const OblSecret *secret,
								const char *request_id, int64_t deadline_ms);
extern void obl_connection_send(OblConnection *connection, const char *sql,
								int nparams, const char *const *values);
/* Asks the server to cancel; "done" is then called with 57014. */
extern void obl_connection_cancel(OblConnection *connection);
extern void obl_connection_close(OblConnection *connection);
extern OblClass obl_class_of(const char *sqlstate);

/* Copies the first line of a server's text, cut and masked as the texts of an
 * ObError; NULL is copied as "". */
extern void obl_copy_line(char *field, size_t size, const char *text);

#endif
