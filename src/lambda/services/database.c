/*
 * database.c
 *		A connection that runs statements without blocking, over libpq.
 *
 * src/lambda/services/database.c
 *
 * The final NULL of PQgetResult() causes no socket event, so all results that
 * are available are read before the next wait.
 */
#include "lambda/services/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APPLICATION_NAME "onboard/"

OblClass
obl_class_of(const char *sqlstate)
{
	static const struct
	{
		const char *prefix;
		OblClass class;
	} classes[] = {{"28P01", OBL_CLASS_LOGIN},  {"28000", OBL_CLASS_LOGIN},
				   {"57014", OBL_CLASS_CANCEL}, {"57P01", OBL_CLASS_AGAIN},
				   {"57P02", OBL_CLASS_AGAIN},  {"57P03", OBL_CLASS_AGAIN},
				   {"40001", OBL_CLASS_AGAIN},  {"40P01", OBL_CLASS_AGAIN},
				   {"55P03", OBL_CLASS_AGAIN},  {"08007", OBL_CLASS_FINAL},
				   {"08P01", OBL_CLASS_FINAL},  {"08", OBL_CLASS_AGAIN},
				   {"53300", OBL_CLASS_FULL},   {"53400", OBL_CLASS_FULL}};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
	{
		if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) ==
			0)
			return classes[i].class;
	}
	return OBL_CLASS_FINAL;
}

void
obl_copy_line(char *field, size_t size, const char *text)
{
	char *line = text ? strndup(text, strcspn(text, "\n")) : NULL;

	ob_error_text(field, size, line ? line : "");
	free(line);
}

static void
report_detail(OblConnection *connection, OblClass class, const char *sqlstate,
			  const char *message, const char *detail)
{
	PGresult *result = connection->result;

	connection->class = class;
	snprintf(connection->sqlstate, sizeof(connection->sqlstate), "%s",
			 sqlstate ? sqlstate : "");
	obl_copy_line(connection->message, sizeof(connection->message), message);
	obl_copy_line(connection->detail, sizeof(connection->detail), detail);
	connection->result = NULL;
	connection->busy = false;
	connection->connecting = false;
	connection->socket.wake_at = -1;
	connection->done(connection, result);
	/* "done" has copied the rows that it keeps */
	PQclear(result);
}

static void
report(OblConnection *connection, OblClass class, const char *sqlstate,
	   const char *message)
{
	report_detail(connection, class, sqlstate, message, NULL);
}

/* ---- connecting ---- */

/*
 * With verbosity "sqlstate", the text of a failed login contains its code,
 * which is available in no other way.  The rest of the text is not passed on,
 * since it may show parts of the secret.
 */
static void
login_failed(OblConnection *connection)
{
	const char *text = PQerrorMessage(connection->conn);
	char sqlstate[6] = "";

	for (const char *p = text; *p; p++)
	{
		if (strncmp(p, "FATAL:  ", 8) == 0 &&
			strspn(p + 8, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5)
			snprintf(sqlstate, sizeof(sqlstate), "%.5s", p + 8);
	}
	if (sqlstate[0])
		report(connection, obl_class_of(sqlstate), sqlstate,
			   "the database refused the connection");
	else if (strstr(text, "certificate") || strstr(text, "SSL"))
		report(connection, OBL_CLASS_FINAL, "08001",
			   "no trusted TLS connection to the database");
	else
		report(connection, OBL_CLASS_AGAIN, "08001",
			   "no connection to the database");
}

static void
continue_connecting(OblConnection *connection)
{
	switch (PQconnectPoll(connection->conn))
	{
		case PGRES_POLLING_READING:
			connection->socket.events = POLLIN;
			break;
		case PGRES_POLLING_WRITING:
			connection->socket.events = POLLOUT;
			break;
		case PGRES_POLLING_OK:
			connection->socket.events = POLLIN;
			PQsetnonblocking(connection->conn, 1);
			PQsetErrorVerbosity(connection->conn, PQERRORS_DEFAULT);
			report(connection, OBL_CLASS_OK, "", "");
			return;
		default:
			login_failed(connection);
			return;
	}
	/* libpq may have moved on to another address */
	connection->socket.fd = PQsocket(connection->conn);
}

/* ---- statements ---- */

/* Keeps the first error of a statement, or its last result if there is
 * none. */
static void
keep(OblConnection *connection, PGresult *result)
{
	ExecStatusType status = PQresultStatus(connection->result);

	if (connection->result && status != PGRES_COMMAND_OK &&
		status != PGRES_TUPLES_OK)
	{
		PQclear(result);
		return;
	}
	PQclear(connection->result);
	connection->result = result;
}

static void
statement_ended(OblConnection *connection)
{
	PGresult *result = connection->result;
	ExecStatusType status = PQresultStatus(result);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		report(connection, OBL_CLASS_OK, "", "");
	else if (sqlstate)
		report_detail(connection, obl_class_of(sqlstate), sqlstate, message,
					  PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
	else
		report(connection, OBL_CLASS_AGAIN, "08006",
			   "the connection to the database was lost");
}

static void
continue_reading(OblConnection *connection)
{
	PGresult *result;

	if (PQflush(connection->conn) == 0)
		connection->socket.events = POLLIN;
	if (!PQconsumeInput(connection->conn))
	{
		report(connection, OBL_CLASS_AGAIN, "08006",
			   "the connection to the database was lost");
		return;
	}
	while (!PQisBusy(connection->conn))
	{
		result = PQgetResult(connection->conn);
		if (!result)
		{
			statement_ended(connection);
			return;
		}
		keep(connection, result);
	}
}

static void
on_socket(OblSocket *socket, short revents)
{
	OblConnection *connection = socket->arg;

	if (revents == 0)
		report(connection, OBL_CLASS_AGAIN, "08001",
			   "the connection to the database took too long");
	else if (connection->connecting)
		continue_connecting(connection);
	else if (connection->busy)
		continue_reading(connection);
}

/* Drops notices, which libpq would print between our lines of JSON. */
static void
ignore_notice(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

void
obl_connection_open(OblConnection *connection, const OblSecret *secret,
					const char *request_id, int64_t deadline_ms)
{
	int64_t left = deadline_ms - ob_http_now_ms();
	char name[96];
	char options[160];
	const char *names[] = {"host",
						   "port",
						   "user",
						   "password",
						   "dbname",
						   "sslmode",
						   "sslrootcert",
						   "application_name",
						   "options",
						   "tcp_user_timeout",
						   "keepalives_idle",
						   "client_encoding",
						   NULL};
	const char *values[] = {secret->host,
							secret->port ? secret->port : "5432",
							secret->user,
							secret->password,
							secret->dbname,
							secret->sslmode ? secret->sslmode : "verify-full",
							secret->sslrootcert,
							name,
							options,
							"30000",
							"30",
							"UTF8",
							NULL};

	snprintf(name, sizeof(name), APPLICATION_NAME "%s", request_id);
	snprintf(
		options, sizeof(options),
		"-c client_connection_check_interval=1s -c statement_timeout=%lld",
		(long long) (left > 1 ? left : 1));
	connection->socket = (OblSocket){.fd = -1,
									 .wake_at = deadline_ms,
									 .ready = on_socket,
									 .arg = connection};
	connection->connecting = true;
	connection->conn = PQconnectStartParams(names, values, 0);
	if (connection->conn)
	{
		PQsetErrorVerbosity(connection->conn, PQERRORS_SQLSTATE);
		PQsetNoticeProcessor(connection->conn, ignore_notice, NULL);
	}
	/* the failure is reported by the loop, never from here */
	if (connection->conn && PQstatus(connection->conn) != CONNECTION_BAD)
		connection->socket.fd = PQsocket(connection->conn);
	else
		connection->socket.wake_at = 0;
	connection->socket.events = POLLOUT;
	if (!obl_loop_add(connection->loop, &connection->socket))
		abort(); /* more connections than the loop has room for: a bug */
}

void
obl_connection_send(OblConnection *connection, const char *sql, int nparams,
					const char *const *values)
{
	connection->busy = true;
	connection->socket.events = POLLIN;
	if (!PQsendQueryParams(connection->conn, sql, nparams, NULL, values, NULL,
						   NULL, 0))
	{
		/* the loop reports the failure, since the socket is readable, or
		 * dead */
		connection->socket.wake_at = 0;
		return;
	}
	if (PQflush(connection->conn) == 1)
		connection->socket.events = POLLIN | POLLOUT;
}

void
obl_connection_cancel(OblConnection *connection)
{
	PGcancel *cancel = PQgetCancel(connection->conn);
	char text[256];

	if (cancel && connection->busy)
		(void) PQcancel(cancel, text, sizeof(text));
	PQfreeCancel(cancel);
}

void
obl_connection_close(OblConnection *connection)
{
	obl_loop_remove(connection->loop, &connection->socket);
	PQclear(connection->result);
	connection->result = NULL;
	PQfinish(connection->conn);
	connection->conn = NULL;
	connection->busy = false;
	connection->connecting = false;
}
